package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"

	"github.com/google/pprof/profile"

	"github.com/flowstitch/flowstitch/internal/pipeline"
)

// Owners of code, as costs are shared out.
const (
	OwnerOurs    = "flowstitch"
	OwnerClient  = "kafka client"
	OwnerBroker  = "embedded broker"
	OwnerLibs    = "libraries"
	OwnerRuntime = "runtime and kernel"
	OwnerProcess = "broker's process"
)

// share is a cost by stage and by owner.
type share struct {
	byStage, byOwner map[string]float64
	byBoth           map[[2]string]float64
	total            float64
}

// readProfile sums the values of a profile whose sample type has this name.
func readProfile(raw []byte, sampleType string) (*share, error) {
	p, err := profile.ParseData(raw)
	if err != nil {
		return nil, fmt.Errorf("bench: reading a profile: %w", err)
	}
	at := -1
	for i, t := range p.SampleType {
		if t.Type == sampleType {
			at = i
		}
	}
	if at < 0 {
		return nil, fmt.Errorf("bench: the profile has no %s", sampleType)
	}
	s := &share{byStage: map[string]float64{}, byOwner: map[string]float64{}, byBoth: map[[2]string]float64{}}
	for _, sample := range p.Sample {
		v := float64(sample.Value[at])
		stage, owner := stageOf(sample), ownerOf(sample)
		s.byStage[stage] += v
		s.byOwner[owner] += v
		s.byBoth[[2]string{stage, owner}] += v
		s.total += v
	}
	return s, nil
}

// stageOf is the stage that a sample belongs to: by its label, which samples of
// allocations do not have, or by the stage's own code on the stack.
func stageOf(s *profile.Sample) string {
	if l := s.Label[pipeline.StageLabel]; len(l) > 0 {
		return l[0]
	}
	for _, loc := range s.Location {
		for _, l := range loc.Line {
			for code, stage := range map[string]string{
				"/services/ingest/": "ingest", "/services/sessionize/": "sessionize", "/internal/bench.(*source)": "generator",
				"/detector.(*combineBucket)": "detect.combine", "/detector.(*evaluateBucket)": "detect.evaluate",
			} {
				if strings.Contains(l.Function.Name, code) {
					return stage
				}
			}
		}
	}
	return "other"
}

// ownerOf is the owner of the innermost frame that is no standard library.
func ownerOf(s *profile.Sample) string {
	for _, loc := range s.Location {
		for _, l := range loc.Line {
			if o := owner(l.Function.Name); o != "" {
				return o
			}
		}
	}
	return OwnerRuntime
}

func owner(function string) string {
	switch {
	case strings.HasPrefix(function, "github.com/twmb/franz-go/pkg/kfake"):
		return OwnerBroker
	case strings.HasPrefix(function, "github.com/twmb/franz-go"):
		return OwnerClient
	case strings.HasPrefix(function, "github.com/flowstitch/flowstitch/internal/bench"), strings.HasPrefix(function, "github.com/flowstitch/flowstitch/pkg/gen"):
		return "" // the generator is told apart by its label
	case strings.HasPrefix(function, "github.com/flowstitch/"):
		return OwnerOurs
	case strings.Contains(strings.SplitN(function, "/", 2)[0], "."):
		if strings.Contains(function, "/") {
			return OwnerLibs
		}
	}
	return "" // the standard library: its caller pays
}

// cpuProfile runs f under the CPU profiler.
func cpuProfile(f func() error) (raw []byte, err error) {
	var b bytes.Buffer
	if err := pprof.StartCPUProfile(&b); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	err = f()
	pprof.StopCPUProfile()
	return b.Bytes(), err
}

// allocProfile is everything allocated so far, by the heap profiler's samples.
func allocProfile() (*share, error) {
	runtime.GC()
	var b bytes.Buffer
	if err := pprof.Lookup("allocs").WriteTo(&b, 0); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	return readProfile(b.Bytes(), "alloc_space")
}

// forCompiler is a CPU profile as `go build -pgo` reads it: functions and calls,
// without labels, and without the paths of the machine that it was taken on.
func forCompiler(cpu []byte) ([]byte, error) {
	p, err := profile.ParseData(cpu)
	if err != nil {
		return nil, fmt.Errorf("bench: reading a profile: %w", err)
	}
	for _, s := range p.Sample {
		s.Label, s.NumLabel, s.NumUnit = nil, nil, nil
	}
	for _, m := range p.Mapping {
		m.File, m.BuildID = "", ""
	}
	for _, f := range p.Function {
		f.Filename = ""
	}
	p.TimeNanos, p.Comments = 0, nil
	var b bytes.Buffer
	if err := p.Compact().Write(&b); err != nil {
		return nil, fmt.Errorf("bench: writing a profile: %w", err)
	}
	return b.Bytes(), nil
}

// keepProfiles writes the run's profiles for go tool pprof and the compiler.
// Allocations are those since the process began.
func (o *Options) keepProfiles(cpu []byte) error {
	if o.Profiles == "" {
		return nil
	}
	pgo, err := forCompiler(cpu)
	err = errors.Join(err,
		o.keepAllocs("allocs.pprof"),
		os.WriteFile(filepath.Join(o.Profiles, "cpu.pprof"), cpu, 0o644),
		os.WriteFile(filepath.Join(o.Profiles, "pipeline.pgo"), pgo, 0o644),
	)
	if err != nil {
		return fmt.Errorf("bench: keeping the profiles: %w", err)
	}
	return nil
}

// keepAllocs writes what has been allocated since the process began.
func (o *Options) keepAllocs(name string) error {
	if o.Profiles == "" {
		return nil
	}
	var b bytes.Buffer
	if err := pprof.Lookup("allocs").WriteTo(&b, 0); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	err := errors.Join(os.MkdirAll(o.Profiles, 0o755), os.WriteFile(filepath.Join(o.Profiles, name), b.Bytes(), 0o644))
	if err != nil {
		return fmt.Errorf("bench: keeping a profile: %w", err)
	}
	return nil
}
