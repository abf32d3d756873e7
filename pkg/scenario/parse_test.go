package scenario

import (
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

func TestParseErrorsNameTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"\nflows 0s":                                   `line 2: "flows" is no line`,
		"flow x eni tcp 1.1.1.1 -> 2.2.2.2":            `"x" is no time`,
		"flow 0s eni tcp 1.1.1.1 2.2.2.2":              "write a protocol",
		"flow 0s eni tcp 1.1.1.1:1 -> 2.2.2.2 q 1":     `"q" is no option`,
		"flow 0s eni tcp 1.1.1.1:1 -> 2.2.2.2 path 99": "path",
		"expect close out":                             "out has no value",
		"again":                                        "no record before",
		"repeat 2 every 1s clock 0s x":                 "repeat: write a count",
		"clock":                                        "write one time",
		"flow 0s e udp 1.1.1.1:{1-2} -> 2.2.2.2:1":     "no endpoint",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestRepeatAndTalk(t *testing.T) {
	s, err := Parse("repeat 3 every 10s talk 5s eni udp 10.0.0.{1+1}:{500+1} -> 10.9.9.9:53 out 2/150 in 1 ours client")
	if err != nil || len(s.Steps) != 6 {
		t.Fatalf("%d steps, %v", len(s.Steps), err)
	}
	r := s.Steps[5].Record
	if r.Dst.String() != "10.0.0.3:502" || r.Start != s.Start+25 || r.Packets != 1 || r.Bytes != 100 ||
		r.Direction != flow.Ingress || r.Owned != flow.OwnDst {
		t.Fatalf("got %+v", r)
	}
}

func TestExpectationsFail(t *testing.T) {
	s, err := Parse(`flow 0s eni udp 10.0.0.1:1 -> 10.0.0.2:53
clock end
expect close out 2/100 id $x
flow 0s eni udp 10.0.0.1:1 -> 10.0.0.2:53
expect nothing
expect some late outcome x
expect no late`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Run(NewSessions())
	if err != nil || len(got) != 3 {
		t.Fatalf("got %v, %v", got, err)
	}
	for i, line := range []int{3, 5, 6} {
		if got[i].Line != line {
			t.Errorf("failure %d is %v, want line %d", i, got[i], line)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("title x\nset idle-tcp 9s\nflow 0s eni tcp 1.1.1.1:1 -> [::2]:2 flags SYN+ACK pkt 1.1.1.1 -> 2.2.2.2\nclock end\nexpect close out >1")
	f.Add("repeat 3 every 10s talk 5s eni udp 10.0.0.{1+1}:{500+1} -> 10.9.9.9:53")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 || strings.Count(text, "repeat") > 1 {
			t.Skip()
		}
		s, err := Parse(text)
		if err != nil || len(s.Steps) > 1000 {
			return
		}
		if _, err := s.Run(NewSessions()); err != nil && !strings.Contains(err.Error(), "line ") && !strings.Contains(err.Error(), "session") {
			t.Errorf("error without a line: %v", err)
		}
	})
}
