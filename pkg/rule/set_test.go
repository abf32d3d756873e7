package rule

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
)

// TestSetAgainstEach holds the index to asking every filter by itself.
func TestSetAgainstEach(t *testing.T) {
	l := language(t, Sessions())
	rnd := rand.New(rand.NewSource(9))
	for range 20 {
		var filters []*Filter
		for range 1 + rnd.Intn(80) {
			filters = append(filters, compile(t, l, randomExpr(rnd, rnd.Intn(4))))
		}
		m := NewSet(filters).NewMatcher()
		for range 100 {
			r := &Row{Session: randomEvent(rnd)}
			var want []int32
			for i, f := range filters {
				if f.Match(r) {
					want = append(want, int32(i))
				}
			}
			if got := m.Match(r); !slices.Equal(got, want) {
				t.Fatalf("the set says %v, one by one %v", got, want)
			}
		}
	}
}

// TestSharedSlowTests holds the name by which filters share a test that is
// left to cel-go: the name was once the address of the compiler, which the
// collector gave to another filter's.
func TestSharedSlowTests(t *testing.T) {
	l := language(t, Sessions())
	with := func(text, list string) *Filter {
		f, err := l.CompileWith(text, map[string][]string{"mine": {list}})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	exists := `interfaces.exists(i, i in mine)`
	filters := []*Filter{
		with(exists, "eni-1"), with(exists, "eni-2"), // the same words, another meaning
		with(exists+` && failed`, "eni-1"),
		with(`bytes / packets > 20`, ""), with(`bytes / packets > 21`, ""), // the same column
		with(`failed && bytes / packets > 20`, ""),
	}
	var names []string
	for slot := range sharedTests(filters) {
		names = append(names, slot)
	}
	if len(names) != 2 {
		t.Errorf("%d tests are shared, and two are made twice: %q", len(names), names)
	}
	for _, f := range filters {
		walk(f.root, func(p *predicate) {
			if p.slow && strings.Contains(p.key, "0x") {
				t.Errorf("%s is named by an address: %s", f, p.key)
			}
		})
	}
}

func TestDemands(t *testing.T) {
	l := language(t, Sessions())
	for text, want := range map[string]string{
		`failed`:                      "",
		`server_port == 22 && failed`: "server_port[22]",
		`server_port == 22 || server_port in [23, 24]`: "server_port[22 23 24]",
		`server_port == 22 || failed`:                  "",
		`!(server_port == 22)`:                         "",
		`(proto == "tcp" && server_port == 1) || (server_port == 2 && proto == "udp")`: "proto[6 17]server_port[1 2]",
	} {
		got := ""
		for _, d := range demands(compile(t, l, text).root) {
			got += fmt.Sprint(d.field.Name, d.ints)
		}
		if got != want {
			t.Errorf("%s demands %q, want %q", text, got, want)
		}
	}
}

// ruleText makes the i-th of many rules as people write them: most about a
// service, some about a network, some about size.
func ruleText(i int) string {
	ports := []int{22, 23, 25, 53, 80, 110, 135, 139, 143, 389, 443, 445, 1433, 3306, 3389, 5432, 5900, 6379, 8080, 9200, 11211, 27017}
	switch i % 5 {
	case 0:
		return fmt.Sprintf(`proto == "tcp" && server_port == %d && direction == "inbound" && failed && packets_out < %d`, ports[i/5%len(ports)], 3+i)
	case 1:
		return fmt.Sprintf(`server_port in [%d, %d] && client in "198.51.%d.0/24" && proto == "tcp"`, ports[i%len(ports)], ports[(i+7)%len(ports)], i%256)
	case 2:
		return fmt.Sprintf(`client in "10.%d.0.0/16" && direction == "outbound" && bytes_out > %d`, i%256, 1000000*i)
	case 3:
		return fmt.Sprintf(`direction == "outbound" && !(server in ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]) && server_port != 443 && bytes_out > %d`, 100000*i)
	}
	return fmt.Sprintf(`service == "ssh" && server_tags["role"] == "r%d" && duration > "%dm"`, i, i)
}

// BenchmarkSet shows the curve: nanoseconds a session for a number of rules,
// with the index and one by one.
func BenchmarkSet(b *testing.B) {
	l := language(b, Sessions())
	rnd := rand.New(rand.NewSource(3))
	rows := make([]*Row, 256)
	for i := range rows {
		rows[i] = &Row{Session: randomEvent(rnd)}
	}
	for _, n := range []int{1, 10, 50, 100, 200, 500} {
		var filters []*Filter
		for i := range n {
			filters = append(filters, compile(b, l, ruleText(i)))
		}
		b.Run(fmt.Sprintf("indexed/%d", n), func(b *testing.B) {
			m := NewSet(filters).NewMatcher()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.Match(rows[i%len(rows)])
			}
		})
		b.Run(fmt.Sprintf("one-by-one/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				for _, f := range filters {
					f.Match(rows[i%len(rows)])
				}
			}
		})
	}
}
