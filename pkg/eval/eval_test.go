package eval

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/internal/alerttest/encoded"
	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// labelled finds the sets that lie beside the project, or skips the test.
func labelled(t *testing.T) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
	}
	data := filepath.Join(dir, "..", "shared", "data", "labelled")
	if _, err := os.Stat(data); err != nil {
		t.Skip("no labelled traffic in ../shared/data/labelled")
	}
	return data
}

// TestEvaluation holds what the project promises of its detectors on the
// labelled sets, with flags and without. With FLOWSTITCH_EVAL_WRITE=1 it writes
// the table into docs/evaluation.md (make eval).
func TestEvaluation(t *testing.T) {
	set := detect.DefaultSettings()
	results, err := Run(labelled(t), &set)
	if err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + Table(results) + "\n" + Slow(results))
	if os.Getenv("FLOWSTITCH_EVAL_WRITE") == "1" {
		write(t, results)
	}
	valid := encoded.Validator(t)
	for i := range results {
		r := &results[i]
		for j := range r.Scores {
			checkScore(t, r, &r.Scores[j])
		}
		validate(t, r.Name, r.Pipeline.Statements, valid)
		if strings.HasPrefix(r.Name, "cic2017_tue") || strings.HasPrefix(r.Name, "zeek_sshguess") {
			checkGuessing(t, r)
			checkTime(t, r)
		}
	}
}

func checkScore(t *testing.T, r *Result, s *Score) {
	total := s.Found + s.Missed
	if total > 0 && float64(s.Found) < 0.95*float64(total) && aimsAlone(r, s.Detector) {
		t.Errorf("%s %s: found %d of %d; missed %v", r.Name, s.Detector, s.Found, total, s.Lost[:min(len(s.Lost), 5)])
	}
	scanning := s.Detector == "port-scan" || s.Detector == "host-sweep" || s.Detector == "crafted-probe"
	switch {
	case scanning && len(s.False) > 1:
		t.Errorf("%s %s: false sources %v", r.Name, s.Detector, s.False)
	case scanning && s.Findings > 0 && strings.HasPrefix(r.Name, "bss_backscatter"):
		t.Errorf("%s: %d findings of %s", r.Name, s.Findings, s.Detector)
	case strings.HasPrefix(r.Name, "cic2017_mon") && s.Highest > alert.Low:
		t.Errorf("%s %s: severity %s on a benign day", r.Name, s.Detector, s.Highest)
	case strings.HasPrefix(r.Name, "sdt011") && s.Detector == "" && s.Findings > 40:
		t.Errorf("%s: %d findings", r.Name, s.Findings)
	case s.Detector == "port-scan" && s.Delays > 0 && s.Delay > 1800:
		t.Errorf("%s: median delay of port-scan %d s", r.Name, s.Delay)
	}
}

// aimsAlone reports whether the detector is the only one that a truth of the
// set is meant for, so that missing it is a miss.
func aimsAlone(r *Result, id string) bool {
	if id == "" {
		return true
	}
	for i := range r.Truth {
		if a := aims(r.Truth[i].Kind); len(a) > 1 {
			return false
		}
	}
	return true
}

// checkGuessing holds that guessing is told within 60 s of the tenth attempt.
func checkGuessing(t *testing.T, r *Result) {
	for i := range r.Truth {
		truth := &r.Truth[i]
		at, found := firstNamed("brute-force", truth, r.Pipeline.Statements)
		tenth := r.Pipeline.tenth(truth)
		if !found || at > tenth.Add(60) {
			t.Errorf("%s: %s told at %v, the tenth attempt began at %v", r.Name, truth.Kind, at, tenth)
		}
	}
}

// TestTold holds that roll-ups still name everyone once they are encoded.
func TestTold(t *testing.T) {
	for _, v := range []string{"v2", "v3"} {
		told(t, v)
	}
}

func told(t *testing.T, version string) {
	set := detect.DefaultSettings()
	r, err := runOne(filepath.Join(labelled(t), "sdt011_internet_24h."+version+".log.gz"), &set)
	if err != nil {
		t.Fatal(err)
	}
	enc := alert.NewEncoder(alert.Options{})
	named := map[flow.Addr]bool{}
	for i := range r.Pipeline.Statements {
		s := &r.Pipeline.Statements[i]
		b, err := enc.Append(nil, &s.Alert)
		if err != nil {
			t.Fatal(err)
		}
		a, err := alert.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		named[a.Entity.Addr] = true
		for _, p := range a.Peers {
			named[p.Addr] = true
		}
	}
	missing := 0
	for i := range r.Truth {
		if !named[r.Truth[i].Attacker] {
			missing++
			if missing < 5 {
				t.Logf("%s: not named: %+v", version, r.Truth[i])
			}
		}
	}
	if missing*20 > len(r.Truth) {
		t.Errorf("%d of %d attackers are named nowhere", missing, len(r.Truth))
	}
}

// marker ends what people wrote in docs/evaluation.md; the tables follow.
const marker = "<!-- written by make eval -->\n"

func write(t *testing.T, results []Result) {
	writeSection(t, marker, Table(results)+"\n"+Slow(results)+"\n"+Volumes(results))
}

// validate holds every statement against the standards in every form; outside
// make eval, of a roll-up that is said hundreds of times, the last one.
func validate(t *testing.T, name string, said []Statement, valid func(*alert.Alert) error) {
	last := map[alert.UID]int{}
	for i := range said {
		last[said[i].UID] = i
	}
	for i := range said {
		s := &said[i]
		if len(s.Peers) > 100 && last[s.UID] != i && os.Getenv("FLOWSTITCH_EVAL_WRITE") != "1" {
			continue
		}
		if err := valid(&s.Alert); err != nil {
			t.Errorf("%s: %s: %v", name, s.Sentence, err)
		}
	}
}

// checkTime holds that the first alert carries the time at which the tenth
// attempt was made, within a minute, however late it was judged.
func checkTime(t *testing.T, r *Result) {
	for i := range r.Truth {
		tenth := r.Pipeline.tenth(&r.Truth[i])
		for j := range r.Pipeline.Statements {
			s := &r.Pipeline.Statements[j]
			if s.Detector.ID != "brute-force" || !mentions(s, &r.Truth[i]) {
				continue
			}
			if s.Time > tenth.Add(60) || s.Time < r.Truth[i].Start {
				t.Errorf("%s: the first alert carries %v, the tenth attempt began at %v", r.Name, s.Time, tenth)
			}
			break
		}
	}
}
