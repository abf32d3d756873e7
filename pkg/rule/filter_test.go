package rule

import (
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

func language(t testing.TB, s *Schema) *Language {
	t.Helper()
	l, err := NewLanguage(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func compile(t testing.TB, l *Language, text string) *Filter {
	t.Helper()
	f, err := l.Compile(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return f
}

func sshEvent() *session.Event {
	return &session.Event{
		Kind:   session.KindClose,
		Key:    flow.Key{Protocol: 6},
		Client: flow.Endpoint{Addr: flow.MustAddr("203.0.113.9"), Port: 40001},
		Server: flow.Endpoint{Addr: flow.MustAddr("10.0.0.5"), Port: 22},
		Owned:  flow.OwnDst, Direction: session.Inbound, Outcome: session.OutcomeRejected,
		First: 1772323200, Last: 1772323260,
		Out:    session.Traffic{RejectPackets: 2, RejectBytes: 80, Flags: flow.SYN},
		Points: []session.Point{{ID: "eni-1", AccountID: "111122223333", NearServer: true, Tags: []flow.Attr{{Name: "role", Value: "bastion"}}}},
	}
}

func TestFilters(t *testing.T) {
	l := language(t, Sessions())
	r := &Row{Session: sshEvent()}
	for text, want := range map[string]bool{
		``:                                        true,
		`server_port == 22`:                       true,
		`22 == server_port`:                       true,
		`server_port != 22`:                       false,
		`server_port in [22, 3389]`:               true,
		`client == "203.0.113.9"`:                 true,
		`client != "203.0.113.10"`:                true,
		`client in "203.0.113.0/24"`:              true,
		`client in cidr("10.0.0.0/8")`:            false,
		`server in ["10.0.0.0/8", "::1"]`:         true,
		`"10.0.0.5" in addresses`:                 true,
		`addresses.exists(a, a in "10.0.0.0/8")`:  true,
		`client == server`:                        false,
		`proto == "tcp" && failed`:                true,
		`protocol == 17 || "SYN" in client_flags`: true,
		`"ACK" in server_flags`:                   false,
		`service == "ssh"`:                        true,
		`direction in ["inbound", "lateral"] && server_own && !client_own`:   true,
		`duration >= "1m" && seconds < 61`:                                   true,
		`first >= "2026-03-01T00:00:00Z"`:                                    true,
		`last == timestamp("2026-03-01T00:01:00Z")`:                          true,
		`hour == 0 && weekday == 0`:                                          true,
		`first.getHours() == 0`:                                              true,
		`packet_size_out == 40`:                                              true,
		`packet_size_out < 40.5`:                                             true,
		`bytes > "10MB"`:                                                     false,
		`bytes < 10 * 1024 * 1024`:                                           true,
		`rejected_bytes / rejected_packets == 40`:                            true,
		`bytes / packets > 1`:                                                false,
		`bytes / packets > 1 || true`:                                        true,
		`tags["role"] == "bastion" && server_tags["role"].startsWith("bas")`: true,
		`client_tags["role"] == ""`:                                          true,
		`"role" in tags && !("env" in tags)`:                                 true,
		`"eni-1" in interfaces`:                                              true,
		`interfaces.exists(i, i.matches("^eni-[0-9]$"))`:                     true,
		`client.isPrivate()`:                                                 false,
		`server.isPrivate() && server.isIPv4() && !server.isIPv6()`:          true,
		`client.text().startsWith("203.")`:                                   true,
		`client_service == "" ? server_port == 22 : false`:                   true,
	} {
		if got := compile(t, l, text).Match(r); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

// TestExamples holds every documented example to the language.
func TestExamples(t *testing.T) {
	for _, s := range []*Schema{Sessions(), Flows(), Alerts()} {
		l := language(t, s)
		for _, f := range s.Fields() {
			if f.Doc == "" || f.Example == "" {
				t.Errorf("%s.%s has no doc or no example", s.Name, f.Name)
			}
			c, err := l.Compile(f.Example)
			if err != nil {
				t.Errorf("%s.%s: %v", s.Name, f.Name, err)
			} else if c.Slow() > 0 {
				t.Errorf("%s: the example of %s is not on the fast path", f.Example, f.Name)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	l := language(t, Sessions())
	for _, c := range []struct {
		text   string
		column int
		parts  []string
	}{
		{`server_prot == 22`, 1, []string{`sessions have no field or function "server_prot"`, "did you mean server_port"}},
		{`failed && byts > 3`, 11, []string{"bytes"}},
		{`client == "10.0.0"`, 11, []string{"not an IP address"}},
		{`client == "10.0.0.0/8"`, 11, []string{"is a prefix", "client in"}},
		{`client in ["10.0.0.0/8", "10.0.0.0/33"]`, 26, []string{"not an address or a prefix"}},
		{`direction == "outbund"`, 14, []string{"did you mean outbound"}},
		{`outcome == "zzz"`, 12, []string{"one of pending, answered"}},
		{`duration > "5 minutes"`, 12, []string{"not a duration"}},
		{`first > "yesterday"`, 9, []string{"not a time"}},
		{`"URG" in client_flags`, 1, []string{"no flag"}},
		{`server_port == "22"`, 16, []string{"is a number"}},
		{`client > 5`, 8, []string{"does not take"}},
		{`bytes`, 1, []string{"must be true or false"}},
		{`bytes >`, 8, []string{"ends too early"}},
		{`(bytes > 5`, 11, []string{`there is no ")"`}},
		{`bytes = 5`, 7, []string{`"=" is not expected here; write ==`}},
		{`failed and bytes > 5`, 8, []string{"write &&"}},
		{`service == 'ssh`, 12, []string{"quotation mark"}},
		{`bytes > 5 && sise(interfaces) > 1`, 14, []string{"did you mean size"}},
		{`client_service.matches("(")`, 24, []string{"regular expression"}},
		{"server_port == 22 &&\n  nosuchthing", 3, []string{"line 2", "flowstitch fields"}},
		{`interfaces.all(a, interfaces.all(b, interfaces.all(c, interfaces.all(d, interfaces.all(e, a+b+c+d+e != "")))))`, 1, []string{"at most 20000"}},
	} {
		_, err := l.Compile(c.text)
		var es Errors
		if !errors.As(err, &es) {
			t.Errorf("%s: got %v, want Errors", c.text, err)
			continue
		}
		if es[0].Column != c.column {
			t.Errorf("%s: column %d, want %d (%v)", c.text, es[0].Column, c.column, err)
		}
		for _, p := range c.parts {
			if !strings.Contains(err.Error(), p) {
				t.Errorf("%s: %q lacks %q", c.text, err, p)
			}
		}
	}
}

func TestLists(t *testing.T) {
	l := language(t, Sessions())
	f, err := l.CompileWith(`client in scanners && server_port in logins`, map[string][]string{
		"scanners": {"203.0.113.0/28"}, "logins": {"22", "3389"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !f.Match(&Row{Session: sshEvent()}) || f.Slow() > 0 {
		t.Error("a list does not match what is in it, or is not on the fast path")
	}
}

// reference runs the whole filter through cel-go.
func reference(t testing.TB, l *Language, text string) func(*Row) bool {
	t.Helper()
	ast, err := l.check(text, nil)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	prg, err := l.env.Program(ast, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		t.Fatal(err)
	}
	return func(r *Row) bool {
		v, _, err := prg.Eval(&activation{l.schema, r})
		return err == nil && v == types.True
	}
}

// randomEvent draws from few values, so that tests are often true.
func randomEvent(rnd *rand.Rand) *session.Event {
	addrs := []string{"10.0.0.5", "10.1.2.3", "203.0.113.9", "2001:db8::1", "fd00::7", "100.64.0.1"}
	ports := []uint16{22, 53, 80, 443, 3389, 40001}
	end := func() flow.Endpoint {
		return flow.Endpoint{Addr: flow.MustAddr(addrs[rnd.Intn(len(addrs))]), Port: ports[rnd.Intn(len(ports))]}
	}
	traffic := func() session.Traffic {
		return session.Traffic{
			Packets: rnd.Int63n(4), Bytes: rnd.Int63n(4) * 40, RejectPackets: rnd.Int63n(2), RejectBytes: rnd.Int63n(2) * 40,
			Flags: uint8(rnd.Intn(32)) & (flow.FIN | flow.SYN | flow.RST | flow.ACK),
		}
	}
	e := &session.Event{
		Kind: session.Kind(1 + rnd.Intn(4)), Key: flow.Key{Protocol: []uint8{1, 6, 17, 58}[rnd.Intn(4)]},
		Client: end(), Server: end(), Direction: session.Direction(rnd.Intn(5)), Outcome: session.Outcome(rnd.Intn(5)),
		Owned: flow.Ownership(rnd.Intn(4)), Reason: session.Reason(rnd.Intn(6)), First: flow.Time(1772323200 + rnd.Int63n(200000)),
		Out: traffic(), In: traffic(), ServerService: []string{"", "S3", "EC2"}[rnd.Intn(3)],
	}
	e.Last = e.First + flow.Time(rnd.Int63n(600))
	for i := rnd.Intn(3); i > 0; i-- {
		e.Points = append(e.Points, session.Point{
			ID: []string{"eni-1", "eni-2"}[rnd.Intn(2)], NearClient: rnd.Intn(2) == 0, NearServer: rnd.Intn(2) == 0,
			Tags: []flow.Attr{{Name: "role", Value: []string{"web", "db"}[rnd.Intn(2)]}},
		})
	}
	return e
}

// atoms are the shapes that the fast path knows, and some that it does not.
var atoms = []string{
	`server_port == 22`, `server_port in [22, 53]`, `server_port in [22, 53, 80, 443, 3389, 5000]`, `client_port != server_port`, `client_port <= server_port`,
	`server_port > 80`, `443 >= server_port`, `proto == "tcp"`, `proto in ["udp", "icmp"]`, `proto != "icmpv6"`, `protocol == 17`,
	`client in "10.0.0.0/8"`, `client in ["10.0.0.0/8", "2001:db8::/32"]`, `server == "10.0.0.5"`, `client == server`, `client != server`,
	`server in "::/0"`, `server in "0.0.0.0/0"`, `"10.0.0.5" in addresses`, `22 in ports`, `failed`, `failed == true`, `server_own`, `direction == "outbound"`,
	`direction in ["inbound", "transit"]`, `outcome != "answered"`, `reason == "rst"`, `duration > "5m"`, `duration == duration("0s")`, `seconds < 100`,
	`first < "2026-03-02T00:00:00Z"`, `last >= timestamp("2026-03-01T12:00:00Z")`, `hour > 12`, `weekday in [0, 6]`, `bytes > 100`, `bytes_out == 40`,
	`packet_size_out == 40`, `packet_size_in > 20.5`, `"SYN" in client_flags`, `"ACK" in server_flags`, `tags["role"] == "web"`, `server_tags["role"] != "db"`,
	`"role" in client_tags`, `"eni-1" in interfaces`, `server_service == "S3"`, `server_service in ["S3", ""]`, `server_service.startsWith("S")`,
	`tags["role"].matches("^w")`, `client.isPrivate()`, `server.isIPv6()`, `service == "ssh"`, `service == client_service`, `kind == "close"`, `true`,
	// left to cel-go
	`bytes / packets > 20`, `bytes_out + bytes_in > 100`, `first.getHours() < 6`, `interfaces.exists(i, i == "eni-2")`, `interfaces.size() == 1`,
	`addresses.all(a, a in "10.0.0.0/8")`, `(failed ? bytes : packets) > 1`, `client.text().contains(":")`, `tags["role"] < "g"`, `bytes % packets == 0`,
}

func randomExpr(rnd *rand.Rand, depth int) string {
	if depth == 0 {
		return atoms[rnd.Intn(len(atoms))]
	}
	a, b := randomExpr(rnd, depth-1), randomExpr(rnd, depth-1)
	switch rnd.Intn(5) {
	case 0:
		return "!(" + a + ")"
	case 1, 2:
		return "(" + a + " || " + b + ")"
	}
	return "(" + a + " && " + b + ")"
}

// TestFastAgainstCEL holds the two ways of running a filter together: random
// expressions, random sessions, the same answer.
func TestFastAgainstCEL(t *testing.T) {
	l := language(t, Sessions())
	rnd := rand.New(rand.NewSource(8))
	var slow, hits int
	texts := append([]string(nil), atoms...)
	for i := 0; i < 600; i++ {
		texts = append(texts, randomExpr(rnd, 1+rnd.Intn(4)))
	}
	for _, text := range texts {
		f := compile(t, l, text)
		want := reference(t, l, text)
		if f.Slow() > 0 {
			slow++
		}
		for range 60 {
			r := &Row{Session: randomEvent(rnd)}
			got := f.Match(r)
			if got {
				hits++
			}
			if got != want(r) {
				t.Fatalf("%s: the fast path says %v, cel-go %v, of %+v", text, got, !got, r.Session)
			}
		}
	}
	if slow == 0 || slow == len(texts) || hits == 0 {
		t.Errorf("%d of %d expressions had parts for cel-go, %d matches: the test has lost its point", slow, len(texts), hits)
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	l := language(t, Sessions())
	r := &Row{Session: sshEvent()}
	for _, text := range atoms {
		f := compile(t, l, text)
		if f.Slow() > 0 {
			continue
		}
		if n := testing.AllocsPerRun(100, func() { f.Match(r) }); n > 0 {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, a := range atoms {
		f.Add(a)
	}
	l := language(f, Sessions())
	r := &Row{Session: sshEvent()}
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := l.Compile(text); err == nil {
			c.Match(r)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	l := language(b, Sessions())
	r := &Row{Session: sshEvent()}
	for _, c := range []struct{ name, text string }{
		{"five-terms-true", `proto == "tcp" && server_port in [22, 3389] && client in "203.0.113.0/24" && failed && duration < "5m"`},
		{"five-terms-first-false", `proto == "udp" && server_port in [22, 3389] && client in "203.0.113.0/24" && failed && duration < "5m"`},
		{"cel-go-part", `server_port == 22 && rejected_bytes / rejected_packets == 40`},
	} {
		f := compile(b, l, c.text)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f.Match(r)
			}
		})
	}
	b.Run("five-terms-all-cel-go", func(b *testing.B) {
		ref := reference(b, l, `proto == "tcp" && server_port in [22, 3389] && client in "203.0.113.0/24" && failed && duration < "5m"`)
		b.ReportAllocs()
		for b.Loop() {
			ref(r)
		}
	})
}

func ExampleFilter_Match() {
	l, err := NewLanguage(Sessions())
	if err != nil {
		panic(err)
	}
	f, err := l.Compile(`direction == "inbound" && server_port == 22 && failed`)
	if err != nil {
		panic(err)
	}
	fmt.Println(f.Match(&Row{Session: sshEvent()}))
	// Output: true
}
