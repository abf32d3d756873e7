package sessionizer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	gometrics "runtime/metrics"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// memberConfig is a member with eight slots of a partition each.
func memberConfig(brokers []string, prefix string) Config {
	cfg := Default()
	cfg.Kafka.Brokers = brokers
	cfg.Pipeline.Prefix, cfg.Pipeline.Partitions, cfg.Pipeline.Slots = prefix, 8, 8
	return cfg
}

// memberSpec is what the process of a member is told in the environment variable
// envMember.
type memberSpec struct {
	Brokers  []string
	Prefix   string
	Handover time.Duration
	Profile  string // where a heap profile of the end goes
}

const envMember = "FLOWSTITCH_TEST_MEMBER"

// memberReport is what it tells, in one line of JSON for each line that it reads.
type memberReport struct {
	Values map[string]float64 // metrics of the stage, by name without its prefix
	CPU    time.Duration      // processor time of the process so far
	Peak   float64            // most resident memory so far, in bytes, of which
	AtPeak memoryParts        // so much was of each kind
	Live   float64            // heap after a collection
	Spans  float64            // memory of the heap's spans then
}

// memoryParts are the parts of resident memory, in bytes.
type memoryParts struct {
	Resident                 float64 // when the parts were looked at
	File                     float64 // pages of the program's file
	Heap, Dead, Unused, Free float64 // objects that the last collection found alive, made or dead since, gaps of spans, spans kept
	Stacks, Runtime          float64 // and what the runtime keeps for itself
}

func (p *memoryParts) String() string {
	return fmt.Sprintf("%.0f MB when looked at: program file %.0f, objects live at the last collection %.0f, newer or dead %.0f, gaps in spans %.0f, spans kept free %.0f, stacks %.0f, runtime %.0f",
		p.Resident/1e6, p.File/1e6, p.Heap/1e6, p.Dead/1e6, p.Unused/1e6, p.Free/1e6, p.Stacks/1e6, p.Runtime/1e6)
}

// TestMember is one member of sessionize as a process, for TestMeasureTakeOver:
// what else runs in a test's process, and what a member before left behind, would
// count as its memory.
func TestMember(t *testing.T) {
	text := os.Getenv(envMember)
	if text == "" {
		t.Skip("the process that TestMeasureTakeOver starts")
	}
	var spec memberSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		t.Fatal(err)
	}
	cfg := memberConfig(spec.Brokers, spec.Prefix)
	tel := telemetry.Quiet()
	sc, err := cfg.stage(tel)
	if err != nil {
		t.Fatal(err)
	}
	sc.HandoverTimeout = spec.Handover
	canonical, err := json.Marshal(foldConfig{Version: foldVersion, Session: cfg.table()})
	if err != nil {
		t.Fatal(err)
	}
	counts := newMetrics(tel.Registry)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := watchMemory()
	KeepHeadroom(context.WithoutCancel(ctx)) // for the life of the process, as its main does
	done := make(chan error, 1)
	go func() {
		done <- stage.Run(ctx, sc, stage.Spec{
			Input: stage.FlowsTopic, Outputs: []stage.OutputTopic{{Name: stage.SessionsTopic, Marks: stage.PerPartition}}, Config: canonical,
			Fold: func(config []byte) (stage.Fold, error) { return parseFold(config, counts) },
		})
	}()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var r memberReport
		switch in.Text() {
		case "values":
		case "memory":
			w.tell(&r)
		case "end":
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			w.tell(&r)
		}
		r.Values, r.CPU = stageValues(t, tel), processorTime()
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("%s\n", line)
		if spec.Profile != "" && in.Text() == "memory" {
			writeHeap(t, spec.Profile)
		}
	}
}

func writeHeap(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := pprof.WriteHeapProfile(f); err != nil {
		t.Fatal(err)
	}
}

// stageValues sums the metrics of the stage.
func stageValues(t *testing.T, tel *telemetry.Telemetry) map[string]float64 {
	t.Helper()
	families, err := tel.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		name, ok := strings.CutPrefix(f.GetName(), "flowstitch_stage_")
		if !ok {
			continue
		}
		for _, s := range f.GetMetric() {
			out[name] += s.GetCounter().GetValue() + s.GetGauge().GetValue() + float64(s.GetHistogram().GetSampleCount())
		}
	}
	return out
}

func processorTime() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// memoryWatch looks every few milliseconds what the process has resident, and of
// what kinds it is when it is more than before, as long as the process lives.
type memoryWatch struct {
	mu   sync.Mutex
	peak memoryParts
}

func watchMemory() *memoryWatch {
	w := &memoryWatch{}
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if p := lookAtMemory(); p.Resident > w.peak.Resident {
				w.mu.Lock()
				w.peak = p
				w.mu.Unlock()
			}
		}
	}()
	return w
}

func lookAtMemory() (p memoryParts) {
	b, _ := os.ReadFile("/proc/self/statm") // Linux only
	var size, resident, shared float64
	_, _ = fmt.Sscan(string(b), &size, &resident, &shared)
	page := float64(os.Getpagesize())
	p.Resident, p.File = resident*page, shared*page
	s := []gometrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/memory/classes/metadata/other:bytes"},
		{Name: "/memory/classes/metadata/mspan/inuse:bytes"}, {Name: "/memory/classes/metadata/mspan/free:bytes"}, {Name: "/memory/classes/other:bytes"},
		{Name: "/memory/classes/profiling/buckets:bytes"},
	}
	gometrics.Read(s)
	at := func(i int) float64 { return float64(s[i].Value.Uint64()) }
	p.Heap = min(at(0), at(1))
	p.Dead, p.Unused, p.Free, p.Stacks = at(1)-p.Heap, at(2), at(3), at(4)
	for i := 5; i < len(s); i++ {
		p.Runtime += at(i)
	}
	return p
}

func (w *memoryWatch) tell(r *memberReport) {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 64)
			r.Peak = kb * 1024
		}
	}
	w.mu.Lock()
	r.AtPeak = w.peak
	w.mu.Unlock()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	r.Live, r.Spans = float64(s.HeapAlloc), float64(s.HeapInuse)
}

// member is the process of a member, as the test sees it.
type member struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	began time.Time
	took  time.Duration
}

func startMember(t *testing.T, cfg *Config, handover time.Duration) *member {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec, err := json.Marshal(memberSpec{Brokers: cfg.Kafka.Brokers, Prefix: cfg.Pipeline.Prefix, Handover: handover, Profile: os.Getenv("FLOWSTITCH_HEAP")})
	if err != nil {
		t.Fatal(err)
	}
	m := &member{t: t, cmd: exec.Command(self, "-test.run", "^TestMember$"), began: time.Now()}
	m.cmd.Env = append(os.Environ(), envMember+"="+string(spec))
	m.cmd.Stderr = os.Stderr
	out, err := m.cmd.StdoutPipe()
	if err == nil {
		m.in, err = m.cmd.StdinPipe()
	}
	if err == nil {
		err = m.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	m.out = bufio.NewScanner(out)
	t.Cleanup(func() { _ = m.cmd.Process.Kill() })
	return m
}

// ask has the member report.
func (m *member) ask(what string) (r memberReport) {
	m.t.Helper()
	if _, err := io.WriteString(m.in, what+"\n"); err != nil {
		m.t.Fatal(err)
	}
	if !m.out.Scan() {
		m.t.Fatalf("the member has ended: %v", m.out.Err())
	}
	if err := json.Unmarshal(m.out.Bytes(), &r); err != nil {
		m.t.Fatalf("%v: %s", err, m.out.Bytes())
	}
	return r
}

// await waits until a metric of the stage has reached a value.
func (m *member) await(name string, value float64) {
	m.t.Helper()
	limit := time.Now().Add(10 * time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for m.ask("values").Values[name] < value {
		if time.Now().After(limit) {
			m.t.Fatalf("waited ten minutes for %s to reach %v", name, value)
		}
		<-tick.C
	}
	m.took = time.Since(m.began)
}

// log tells the memory of a member of n sessions.
func (m *member) log(what string, n int) memberReport {
	m.t.Helper()
	r := m.ask("memory")
	m.tell(what, n, &r)
	return r
}

func (m *member) tell(what string, n int, r *memberReport) {
	m.t.Helper()
	per := func(b float64) float64 { return b / float64(n) }
	m.t.Logf("%s: peak of the process %.0f bytes a session (%.1f MB), %.0f without the program's file; live heap %.0f, its spans %.0f; %v of processor time",
		what, per(r.Peak), r.Peak/1e6, per(r.Peak-r.AtPeak.File), per(r.Live), per(r.Spans), r.CPU.Round(10*time.Millisecond))
	m.t.Logf("%s: %s", what, &r.AtPeak)
}

// end hands over in order.
func (m *member) end() memberReport {
	m.t.Helper()
	r := m.ask("end")
	_ = m.in.Close()
	if err := m.cmd.Wait(); err != nil {
		m.t.Error(err)
	}
	return r
}
