package query

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"go.uber.org/goleak"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/rule"
	"github.com/flowstitch/flowstitch/pkg/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, kafkatest.Leaks()...) }

const base flow.Time = 1772323200 // 2026-03-01T00:00:00Z

func engine(t testing.TB, s Spec) *Engine {
	t.Helper()
	l, err := rule.NewLanguage(rule.Sessions())
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(l, s)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// event makes one event of the n-th session: a total, and what is new.
func event(kind session.Kind, n int, at flow.Time, total, fresh int64) *session.Event {
	c := flow.Endpoint{Addr: flow.MustAddr(fmt.Sprintf("10.0.0.%d", n)), Port: 40000}
	s := flow.Endpoint{Addr: flow.MustAddr("203.0.113.1"), Port: 443}
	key, _ := flow.NewKey(0, 6, c, s)
	e := &session.Event{
		Kind: kind, Key: key, Client: c, Server: s, First: base.Add(int64(n)), Last: at, Direction: session.Outbound,
		Out: session.Traffic{Packets: 1, Bytes: total}, OutFinal: session.Traffic{Bytes: fresh}, DeltaFirst: at,
	}
	if kind.Final() {
		e.ID[0] = byte(n)
	}
	return e
}

func feed(t testing.TB, f *Folder, events ...*session.Event) {
	t.Helper()
	for _, e := range events {
		if err := f.Event(e, Position{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Finish(); err != nil {
		t.Fatal(err)
	}
}

func table(t testing.TB, r *Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b, "csv"); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// TestSessionsCountOnce: whatever events a session had, it is one row with its
// totals.
func TestSessionsCountOnce(t *testing.T) {
	e := engine(t, Spec{GroupBy: []string{"client"}, Aggregates: []string{"count", "sum(bytes)", "max(bytes)"}})
	feed(t, NewFolder(e),
		event(session.KindUpdate, 1, base+1, 50, 0),
		event(session.KindProgress, 1, base+300, 100, 100),
		event(session.KindProgress, 1, base+600, 250, 150),
		event(session.KindClose, 1, base+700, 300, 50),
		event(session.KindCorrect, 1, base+650, 310, 10),
		event(session.KindProgress, 2, base+300, 70, 70), // still open
		event(session.KindUpdate, 3, base+300, 5, 0),     // provisional only
	)
	want := "client,count,sum(bytes),max(bytes)\n10.0.0.1,1,310,300\n10.0.0.2,1,70,70"
	if got := table(t, e.Result()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	e = engine(t, Spec{Aggregates: []string{"count"}})
	f := NewFolder(e)
	f.Provisional = true
	feed(t, f, event(session.KindUpdate, 3, base+300, 5, 0), event(session.KindUpdate, 3, base+310, 6, 0))
	if got := table(t, e.Result()); got != "count\n1" {
		t.Errorf("provisional: got %q", got)
	}
}

func manyClosed(n int) (events []*session.Event) {
	for i := range n {
		events = append(events, event(session.KindClose, i%5, base+flow.Time(i), int64(i), int64(i)))
	}
	return events
}

func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		spec Spec
		want string
	}{
		"order and top":  {Spec{GroupBy: []string{"client"}, Aggregates: []string{"sum(bytes)"}, Top: 2}, "client,sum(bytes)\n10.0.0.4,1030\n10.0.0.3,1010"},
		"ascending":      {Spec{GroupBy: []string{"client"}, Aggregates: []string{"sum(bytes)"}, OrderBy: "sum(bytes)", Ascending: true, Top: 1}, "client,sum(bytes)\n10.0.0.0,950"},
		"order by group": {Spec{GroupBy: []string{"client"}, Aggregates: []string{"count"}, OrderBy: "client", Top: 1}, "client,count\n10.0.0.4,20"},
		"filter":         {Spec{Filter: `client == "10.0.0.2" && bytes > 50`, Aggregates: []string{"count", "distinct(client)", "min(bytes)"}}, "count,distinct(client),min(bytes)\n10,1,52"},
		"nothing":        {Spec{Filter: `client == "10.9.9.9"`, Aggregates: []string{"count"}}, "count\n0"},
		"quantile":       {Spec{Aggregates: []string{"p50(bytes)"}}, "p50(bytes)\n48.915"},
		"buckets":        {Spec{Every: 2 * time.Second, Aggregates: []string{"count"}}, "time,count\n2026-03-01T00:00:00Z,40\n2026-03-01T00:00:02Z,40\n2026-03-01T00:00:04Z,20"},
		"range":          {Spec{From: base + 1, To: base + 3, Aggregates: []string{"count"}}, "count\n40"},
		"compare":        {Spec{From: base + 3, To: base + 5, Compare: 3 * time.Second, Aggregates: []string{"count"}}, "count,count before,count change\n40,40,0"},
		"list":           {Spec{Select: []string{"client", "bytes"}, OrderBy: "bytes", Top: 2}, "client,bytes\n10.0.0.4,99\n10.0.0.3,98"},
		"first rows":     {Spec{Select: []string{"client"}, Top: 1}, "client\n10.0.0.0"},
		"change": {Spec{From: base + 2, To: base + 5, Compare: 2 * time.Second, GroupBy: []string{"client"}, Aggregates: []string{"count"}, Top: 4},
			"client,count,count before,count change\n10.0.0.3,20,0,20\n10.0.0.4,20,0,20\n10.0.0.0,0,20,-20\n10.0.0.1,0,20,-20"},
		"by time": {Spec{Select: []string{"first"}, Top: 50, Filter: `client != "10.0.0.0"`}, "first" + strings.Repeat("\n2026-03-01T00:00:01Z", 13) + strings.Repeat("\n2026-03-01T00:00:02Z", 13) + strings.Repeat("\n2026-03-01T00:00:03Z", 12) + strings.Repeat("\n2026-03-01T00:00:04Z", 12)},
		"a time":  {Spec{GroupBy: []string{"server_port"}, Aggregates: []string{"min(first)", "max(last)"}}, "server_port,min(first),max(last)\n443,2026-03-01T00:00:00Z,2026-03-01T00:01:39Z"},
		"network": {Spec{GroupBy: []string{"client/24"}, Aggregates: []string{"count"}}, "client/24,count\n10.0.0.0/24,100"},
		"bounded": {Spec{GroupBy: []string{"client"}, Aggregates: []string{"count"}, MaxGroups: 2, OrderBy: "count"}, "client,count\n(other),60\n10.0.0.0,20\n10.0.0.1,20"},
	} {
		e := engine(t, c.spec)
		f := NewFolder(e)
		for _, ev := range manyClosed(100) {
			if err := f.Event(ev, Position{}); err != nil && !errors.Is(err, ErrEnough) {
				t.Fatal(err)
			}
		}
		if got := table(t, e.Result()); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

func TestMistakes(t *testing.T) {
	l, err := rule.NewLanguage(rule.Sessions())
	if err != nil {
		t.Fatal(err)
	}
	for want, s := range map[string]Spec{
		"did you mean client":   {GroupBy: []string{"clinet"}},
		"is no aggregate":       {Aggregates: []string{"avg(bytes)"}},
		"needs a number":        {Aggregates: []string{"sum(client)"}},
		"there is no column":    {Aggregates: []string{"count"}, OrderBy: "bytes"},
		"only sums":             {Compare: time.Hour},
		"did you mean bytes":    {Filter: "byts > 1"},
		"are not whole seconds": {Every: time.Millisecond},
	} {
		if _, err := New(l, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v lacks %q", s, err, want)
		}
	}
}

func TestOutputs(t *testing.T) {
	e := engine(t, Spec{GroupBy: []string{"client"}, Every: time.Minute, Aggregates: []string{"sum(bytes)", "count"}, Top: 2})
	feed(t, NewFolder(e), manyClosed(100)...)
	res := e.Result()
	for format, want := range map[string]string{
		"table": "TIME                  CLIENT    SUM(BYTES)  COUNT\n2026-03-01T00:00:00Z  10.0.0.0       950 B     20\n2026-03-01T00:00:00Z  10.0.0.1       970 B     20\n(3 more)\n",
		"json":  `{"time":"2026-03-01T00:00:00Z","client":"10.0.0.0","sum(bytes)":950,"count":20}` + "\n" + `{"time":"2026-03-01T00:00:00Z","client":"10.0.0.1","sum(bytes)":970,"count":20}` + "\n",
		"csv":   "time,client,sum(bytes),count\n2026-03-01T00:00:00Z,10.0.0.0,950,20\n2026-03-01T00:00:00Z,10.0.0.1,970,20\n",
	} {
		var b bytes.Buffer
		if err := res.Write(&b, format); err != nil || b.String() != want {
			t.Errorf("%s: %v, got\n%s\nwant\n%s", format, err, b.String(), want)
		}
	}
	var b bytes.Buffer
	e = engine(t, Spec{GroupBy: []string{"server_port"}, From: base + 3, To: base + 5, Compare: 3 * time.Second, Aggregates: []string{"sum(bytes)", "sum(duration)"}})
	feed(t, NewFolder(e), manyClosed(100)...)
	if err := e.Result().Write(&b, "table"); err != nil || !strings.Contains(b.String(), "\n        443      2.0 kB             1.9 kB             +120 B ") {
		t.Errorf("%v\n%s", err, b.String())
	}
	b.Reset()
	if err := e.Result().Write(&b, "json"); err != nil || !strings.HasPrefix(b.String(), `{"server_port":443,"sum(bytes)":2040,`) {
		t.Errorf("%v\n%s", err, b.String())
	}
	b.Reset()
	if err := res.Write(&b, "parquet"); err != nil {
		t.Fatal(err)
	}
	type row struct {
		Time   time.Time `parquet:"time,timestamp"`
		Client string    `parquet:"client"`
		Sum    int64     `parquet:"sum_bytes,optional"`
		Count  int64     `parquet:"count,optional"`
	}
	rows, err := parquet.Read[row](bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil || len(rows) != 2 || rows[1].Client != "10.0.0.1" || rows[1].Sum != 970 || rows[1].Count != 20 || rows[1].Time.Unix() != int64(base) {
		t.Errorf("parquet: %v %+v", err, rows)
	}
}

// TestStream: a list that is handed on while it is read is the list that is
// kept, with what -top says, in every format.
func TestStream(t *testing.T) {
	for _, top := range []int{0, 20_000} {
		spec := Spec{Select: []string{"first", "client", "bytes", "duration"}, Top: top}
		whole, parts := engine(t, spec), engine(t, spec)
		var out bytes.Buffer
		w, err := NewWriter(&out, "csv", parts.Columns())
		if err != nil || !parts.Stream(w.Rows) {
			t.Fatal(err)
		}
		for _, e := range []*Engine{whole, parts} {
			f := NewFolder(e)
			for i, ev := range manyClosed(30_000) {
				ev.First = base.Add(int64(i))
				if err := f.Event(ev, Position{}); err != nil && !errors.Is(err, ErrEnough) {
					t.Fatal(err)
				}
			}
		}
		if n := len(parts.Result().Rows); n > handOn {
			t.Errorf("%d rows were kept", n)
		}
		if err := errors.Join(w.Rows(parts.Result().Rows), w.Close()); err != nil {
			t.Fatal(err)
		}
		if got, want := strings.TrimSpace(out.String()), table(t, whole.Result()); got != want {
			t.Errorf("top %d: %d bytes were handed on, %d kept", top, len(got), len(want))
		}
		if whole.Result().Stopped != parts.Result().Stopped {
			t.Errorf("top %d: stopped", top)
		}
	}
	full := errors.New("the disk is full")
	e := engine(t, Spec{Select: []string{"first"}})
	e.Stream(func([][]Value) error { return full })
	var err error
	for _, ev := range manyClosed(handOn) {
		err = NewFolder(e).Event(ev, Position{})
	}
	if !errors.Is(err, full) {
		t.Errorf("a writer that fails: %v", err)
	}
	if engine(t, Spec{Select: []string{"bytes"}, OrderBy: "bytes"}).Stream(nil) || engine(t, Spec{Aggregates: []string{"count"}}).Stream(nil) {
		t.Error("what has to be known as a whole was streamed")
	}
}

func TestCharts(t *testing.T) {
	var b bytes.Buffer
	e := engine(t, Spec{GroupBy: []string{"client"}, Aggregates: []string{"sum(bytes)"}, Top: 2})
	feed(t, NewFolder(e), manyClosed(10)...)
	if err := e.Result().Chart(&b, 40); err != nil || b.String() != "10.0.0.4 13 B █████████████████████████\n10.0.0.3 11 B █████████████████████▏\n" {
		t.Errorf("%v %q", err, b.String())
	}
	b.Reset()
	e = engine(t, Spec{GroupBy: []string{"server_port", "hour"}, Aggregates: []string{"count"}, OrderBy: "hour", Ascending: true})
	feed(t, NewFolder(e), manyClosed(10)...)
	if err := e.Result().Chart(&b, 40); err != nil || b.String() != "443 0 10 "+strings.Repeat("█", 30)+"\n" {
		t.Errorf("%v %q", err, b.String())
	}
	b.Reset()
	e = engine(t, Spec{Every: time.Second, Aggregates: []string{"sum(bytes)"}})
	feed(t, NewFolder(e), manyClosed(10)...)
	if err := e.Result().Chart(&b, 60); err != nil || !strings.HasPrefix(b.String(), "all ▄▅▆▇█ peak 13 B\n") {
		t.Errorf("%v %q", err, b.String())
	}
}

// lines writes a flow log of n requests of three clients to one server.
func lines(t testing.TB, n int, shift int64) string {
	t.Helper()
	var b strings.Builder
	for i := range n {
		start := int64(base) + shift + int64(i)*2
		fmt.Fprintf(&b, "2 123456789012 eni-1 10.0.0.%d 203.0.113.1 %d 443 6 5 %d %d %d ACCEPT OK\n", i%3, 20000+i, 100+i, start, start+1)
		fmt.Fprintf(&b, "2 123456789012 eni-1 203.0.113.1 10.0.0.%d 443 %d 6 4 1000 %d %d ACCEPT OK\n", i%3, 20000+i, start, start+1)
	}
	b.WriteString("2 123456789012 eni-1 - - - - - - - 1772323200 1772323260 - NODATA\nnot a flow log line at all\n")
	path := filepath.Join(t.TempDir(), "flows.log")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFiles(t *testing.T) {
	one, two := lines(t, 300, 0), lines(t, 300, 1)
	e := engine(t, Spec{GroupBy: []string{"client"}, Aggregates: []string{"count", "sum(bytes_in)"}})
	f := &Files{Paths: []string{one}, Sessions: true}
	folder := NewFolder(e)
	if err := f.Run(context.Background(), folder); err != nil {
		t.Fatal(err)
	}
	if err := folder.Finish(); err != nil {
		t.Fatal(err)
	}
	want := "client,count,sum(bytes_in)\n10.0.0.0,100,100000\n10.0.0.1,100,100000\n10.0.0.2,100,100000"
	if got := table(t, e.Result()); got != want || f.Rejects != 1 || f.Records != 601 {
		t.Errorf("%d records, %d rejects, got\n%s", f.Records, f.Rejects, got)
	}
	l, err := rule.NewLanguage(rule.Flows())
	if err != nil {
		t.Fatal(err)
	}
	fe, err := New(l, Spec{Aggregates: []string{"count"}, Filter: "dst_port == 443"})
	if err != nil {
		t.Fatal(err)
	}
	if err := (&Files{Paths: []string{one, two}}).Run(context.Background(), NewFlows(fe)); err != nil {
		t.Fatal(err)
	}
	if got := table(t, fe.Result()); got != "count\n600" {
		t.Errorf("flows of two files: %q", got)
	}
}

func TestFilesStop(t *testing.T) {
	path := lines(t, 3000, 0)
	e := engine(t, Spec{Select: []string{"client"}, Top: 3})
	if err := (&Files{Paths: []string{path}, Sessions: true}).Run(context.Background(), NewFolder(e)); err != nil {
		t.Errorf("a full list is no error: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := (&Files{Paths: []string{path}, Sessions: true}).Run(ctx, NewFolder(e)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	silent, say := io.Pipe()
	defer say.Close()
	go func() {
		_, _ = say.Write([]byte("2 123456789012 eni-1 10.0.0.1 203.0.113.1 20000 443 6 5 100 1772323200 1772323201 ACCEPT OK\n"))
		cancel()
	}()
	if err := (&Files{Paths: []string{"-"}, Stdin: silent, Sessions: true}).Run(ctx, NewFolder(e)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while standard input is silent: %v", err)
	}
	if err := (&Files{Paths: []string{path + ".gone"}}).Run(context.Background(), NewFolder(e)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}
