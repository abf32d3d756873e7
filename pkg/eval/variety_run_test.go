package eval

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/internal/alerttest/encoded"
	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/detect"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// form is how a flow log shows the same traffic.
type form struct {
	interval  int64
	flags, v6 bool
}

func (f form) String() string {
	version, family := 2, "IPv4"
	if f.flags {
		version = 5
	}
	if f.v6 {
		family = "IPv6"
	}
	return fmt.Sprintf("v%d %s %d s", version, family, f.interval)
}

// forms are the four that the tables show.
var forms = [...]form{{60, false, false}, {60, true, true}, {600, true, false}, {600, false, true}}

// played is what was said of a case, when it began and who took part.
type played struct {
	v     *variety
	p     *Pipeline
	begin flow.Time
	part  map[flow.Addr]bool
}

func playVaried(t *testing.T, c *varied, f form) *played {
	v := newVariety(c.name, f.interval, f.flags, f.v6)
	c.play(v)
	out := &played{v: v, begin: flow.MaxTime, part: map[flow.Addr]bool{}}
	for i := range v.talks {
		x := &v.talks[i]
		out.part[flow.MustAddr(x.client)], out.part[flow.MustAddr(x.server)] = true, true
		if c.who != nil && x.at >= h1-60 && (x.client == c.who(v) || x.server == c.who(v)) {
			out.begin = min(out.begin, varietyStart.Add(x.at))
		}
	}
	v.background(c.hours * h1)
	list, err := v.records()
	if err != nil {
		t.Fatal(err)
	}
	set, cfg := detect.DefaultSettings(), session.Default()
	cfg.Interval = f.interval
	// Global addresses of ours are learned as they talk; those that never did are
	// known by the configuration only, own_networks (docs/tuning.md).
	set.Own = []netip.Prefix{netip.MustParsePrefix("2001:db8:1::/48")}
	out.p = NewPipeline(&set)
	out.p.Lateness, out.p.table = f.interval+300, session.NewTable(cfg)
	for i := range list {
		out.p.Record(&list[i])
	}
	if err := out.p.Finish(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestVariety plays traffic that no threshold was chosen by: attacks must be
// told in time and nobody else accused above Low, and of what only looks like
// an attack nobody at all. Plain tests play what once failed, in one form each;
// FLOWSTITCH_LONG=1 everything in four forms, make eval writes the table.
func TestVariety(t *testing.T) {
	write := os.Getenv("FLOWSTITCH_EVAL_WRITE") == "1"
	all := write || os.Getenv("FLOWSTITCH_LONG") == "1"
	valid := encoded.Validator(t)
	var table strings.Builder
	for _, list := range [][]varied{attacksVaried, alikesVaried} {
		for i := range list {
			c := &list[i]
			if !all && !slices.Contains(oncePlain, c.name) {
				continue
			}
			row := "| " + c.name + " |"
			for k, f := range forms {
				if !all && k != i%len(forms) {
					continue
				}
				t.Run(c.name+"/"+f.String(), func(t *testing.T) {
					x := playVaried(t, c, f)
					row += " " + checkVaried(t, c, f, x) + " |"
					validate(t, c.name, x.p.Statements, valid)
				})
			}
			table.WriteString(row + "\n")
		}
	}
	if write {
		head := "| traffic |"
		for _, f := range forms {
			head += " " + f.String() + " |"
		}
		writeSection(t, varietyMarker, head+"\n|---|---|---|---|---|\n"+table.String())
	}
}

// varietyMarker begins the table of this test in docs/evaluation.md.
const varietyMarker = "<!-- variety, written by make eval -->\n"

// oncePlain are the cases that failed when they were first played.
var oncePlain = []string{
	"lateral WinRM, a neighbour in 10 min", "spraying, 30 hosts, a login each minute", "UDP reflection", "PostgreSQL guessing from within",
	"crawler", "VPN to another site",
	"happy eyeballs: every first try fails", "QUIC is blocked", "a marketing mail brings visitors", "mail server delivers outward",
}

// checkVaried holds what was said against what a case wants, and says it in a
// few words.
func checkVaried(t *testing.T, c *varied, f form, x *played) string {
	text := "-"
	if len(c.want) > 0 {
		text = "MISSED"
		who := flow.MustAddr(c.who(x.v))
		i := slices.IndexFunc(x.p.Statements, func(s Statement) bool {
			return slices.Contains(c.want, s.Detector.ID) && s.Verdict != alert.Withdrawn && names(&s.Alert, who)
		})
		if i < 0 {
			t.Error("missed")
		} else {
			s := &x.p.Statements[i]
			wait := int64(s.Said - x.begin)
			text = fmt.Sprintf("%s, %d s", s.Detector.ID, wait)
			t.Logf("told after %d s: %s %s", wait, s.Severity, s.Sentence)
			if wait > c.within+f.interval-60 {
				t.Errorf("told after %d s, wanted within %d s", wait, c.within)
			}
		}
	}
	for _, s := range x.p.Confirmed() {
		t.Logf("%s %s: %s", s.Severity, s.Detector.ID, s.Sentence)
		if s.Severity <= alert.Low || s.First < varietyStart.Add(c.from) || len(c.want) > 0 && x.part[s.Entity.Addr] {
			continue
		}
		text += ", false: " + s.Detector.ID
		t.Errorf("false: %s %s: %s", s.Severity, s.Detector.ID, s.Sentence)
	}
	return text
}
