package bench

import (
	"bufio"
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// processCPU is the processor time of this process so far, in seconds.
func processCPU() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// peakMemory is the largest resident size of a process so far, in bytes; 0
// where the kernel does not tell.
func peakMemory(process string) int64 {
	b, err := os.ReadFile(filepath.Join("/proc", process, "status"))
	if err != nil {
		return 0
	}
	return kilobytes(b, "VmHWM:")
}

// kilobytes is the value of a line "NAME  n kB", in bytes.
func kilobytes(b []byte, name string) int64 {
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			f := strings.Fields(rest)
			if len(f) == 0 {
				return 0
			}
			kb, _ := strconv.ParseInt(f[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// ticks is the unit of processor time in /proc: USER_HZ, which is 100 on every
// architecture that Go runs on.
const ticks = 100

// cpuOf is the processor time of another process so far, in seconds, from
// fields 14 and 15 of proc(5).
func cpuOf(pid int) float64 {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // the name may hold anything
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	return (user + system) / ticks
}

// localBroker is the process on this machine that listens at one of the given
// addresses, if they are of the loopback interface and it can be seen; 0 is
// none. Its processor time belongs to what a pipeline costs.
func localBroker(brokers []string) int {
	for _, b := range brokers {
		if a, err := netip.ParseAddrPort(b); err == nil && a.Addr().IsLoopback() {
			if pid := listener(a.Port()); pid != 0 && pid != os.Getpid() {
				return pid
			}
		}
	}
	return 0
}

// listener finds the process that listens on a TCP port, by the socket's inode.
func listener(port uint16) int {
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
			f := strings.Fields(line)
			const listening = "0A"
			if len(f) < 10 || f[3] != listening {
				continue
			}
			_, at, _ := strings.Cut(f[1], ":")
			if p, err := strconv.ParseUint(at, 16, 16); err == nil && uint16(p) == port {
				inodes["socket:["+f[9]+"]"] = true
			}
		}
	}
	if len(inodes) == 0 {
		return 0
	}
	descriptors, _ := filepath.Glob("/proc/[0-9]*/fd/*") // a malformed pattern is the only error
	for _, d := range descriptors {
		if to, err := os.Readlink(d); err == nil && inodes[to] {
			pid, _ := strconv.Atoi(strings.Split(d, "/")[2])
			return pid
		}
	}
	return 0
}

// machine says what this is running on, as far as the kernel tells.
func machine() (model, kernel string, memory int64) {
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for sc := bufio.NewScanner(f); sc.Scan() && model == ""; {
			if name, value, ok := strings.Cut(sc.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
			}
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = runtime.GOOS + " " + strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		memory = kilobytes(b, "MemTotal:")
	}
	return model, kernel, memory
}
