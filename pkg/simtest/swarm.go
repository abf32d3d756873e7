package simtest

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Swarm keeps processes running and does them harm: SIGKILL at random
// instants, SIGSTOP until others have taken over (a zombie that wakes up and
// still believes), SIGTERM. Each is started again at once.
type Swarm struct {
	// Make returns the command of a process that is not started yet.
	Make func(i int) *exec.Cmd
	// Line, where set, is told each line that a process prints.
	Line func(i int, line string)

	procs []*proc

	Kills, Zombies, Terms int
	BadExits              []string // SIGTERMs that did not end with status 0
}

type proc struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	done  chan struct{}
	state error
}

// Start starts n processes.
func (s *Swarm) Start(n int) error {
	s.procs = make([]*proc, n)
	for i := range n {
		if err := s.start(i); err != nil {
			return err
		}
	}
	return nil
}

func (s *Swarm) start(i int) error {
	cmd := s.Make(i)
	// The process ends itself when its standard input closes: so it never
	// outlives a test that is killed.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting process %d: %w", i, err)
	}
	p := &proc{cmd: cmd, stdin: stdin, done: make(chan struct{})}
	go func() {
		sc := bufio.NewScanner(out)
		for sc.Scan() {
			if s.Line != nil {
				s.Line(i, sc.Text())
			}
		}
	}()
	go func() {
		p.state = cmd.Wait()
		_ = w.Close()
		close(p.done)
	}()
	s.procs[i] = p
	return nil
}

// Kill ends one process with SIGKILL and starts it again.
func (s *Swarm) Kill(i int) error {
	s.Kills++
	return s.signal(i, syscall.SIGKILL)
}

// Term ends one process with SIGTERM, expects status 0, and starts it again.
func (s *Swarm) Term(i int) error {
	s.Terms++
	p := s.procs[i]
	err := s.signal(i, syscall.SIGTERM)
	if p.state != nil {
		s.BadExits = append(s.BadExits, fmt.Sprintf("process %d: %v", i, p.state))
	}
	return err
}

func (s *Swarm) signal(i int, sig syscall.Signal) error {
	p := s.procs[i]
	if err := p.cmd.Process.Signal(sig); err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	return s.start(i)
}

// Pause stops one process for d and lets it go on: a zombie.
func (s *Swarm) Pause(i int, d time.Duration) error {
	s.Zombies++
	p := s.procs[i].cmd.Process
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	t := time.NewTimer(d)
	<-t.C
	return p.Signal(syscall.SIGCONT)
}

// Harm does one random thing to a random process.
func (s *Swarm) Harm(rng *rand.Rand, zombie time.Duration) error {
	i := rng.IntN(len(s.procs))
	switch rng.IntN(20) {
	case 0:
		return s.Pause(i, zombie)
	case 1:
		return s.Term(i)
	default:
		return s.Kill(i)
	}
}

// Close ends all processes with SIGTERM and waits for them.
func (s *Swarm) Close() {
	for _, p := range s.procs {
		if p != nil {
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	for i, p := range s.procs {
		if p == nil {
			continue
		}
		select {
		case <-p.done:
			if p.state != nil {
				s.BadExits = append(s.BadExits, fmt.Sprintf("process %d: %v", i, p.state))
			}
		case <-time.After(time.Minute):
			_ = p.cmd.Process.Kill()
			<-p.done
			s.BadExits = append(s.BadExits, fmt.Sprintf("process %d: did not end within a minute of SIGTERM", i))
		}
	}
}

// String is the table of what was done.
func (s *Swarm) String() string {
	return fmt.Sprintf("%d kills, %d zombies, %d SIGTERMs, bad exits: [%s]", s.Kills, s.Zombies, s.Terms, strings.Join(s.BadExits, "; "))
}
