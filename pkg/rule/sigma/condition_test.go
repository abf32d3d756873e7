package sigma

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/rule"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// TestConditions: what one field of a detection becomes, and whether it is true
// of an inbound session from 10.1.2.3:40000 to 192.0.2.7:443.
func TestConditions(t *testing.T) {
	l, err := rule.NewLanguage(rule.Sessions())
	if err != nil {
		t.Fatal(err)
	}
	row := &rule.Row{Session: &session.Event{
		Kind: session.KindClose, Direction: session.Inbound, Outcome: session.OutcomeRejected, Owned: flow.OwnDst, Key: flow.Key{Protocol: 6},
		Client: flow.Endpoint{Addr: flow.MustAddr("10.1.2.3"), Port: 40000}, Server: flow.Endpoint{Addr: flow.MustAddr("192.0.2.7"), Port: 443},
	}}
	for _, c := range []struct {
		field string
		value any
		want  string
		match bool
	}{
		{"src_ip", "10.1.2.3", `client == "10.1.2.3"`, true},
		{"SourceIp|cidr", []any{"10.0.0.0/8", "fd00::/8"}, `(client in "10.0.0.0/8" || client in "fd00::/8")`, true},
		{"src_ip", "10.1.*", `client in "10.1.0.0/16"`, true},
		{"src_ip|startswith", "10.", `client in "10.0.0.0/8"`, true},
		{"src_ip|startswith", "10.1", `client.text().startsWith("10.1")`, true},
		{"src_ip", "10.?.2.*", `client.text().matches("^10\\..\\.2\\..*$")`, true},
		{"src_ip", "*.4", `client.text().endsWith(".4")`, false},
		{"dst_ip|endswith", []any{".7", ".9"}, `(server.text().endsWith(".7") || server.text().endsWith(".9"))`, true},
		{"src_ip|startswith", "FE80:", `client.text().startsWith("fe80:")`, false},
		{"dst_ip|re", `^192\.0\.2\.\d+$`, `server.text().matches("^192\\.0\\.2\\.\\d+$")`, true},
		{"DestinationPort", 443, `server_port == 443`, true},
		{"dst_port", "44*", `string(server_port).startsWith("44")`, true},
		{"dst_port|gte", 1024, `server_port >= 1024`, false},
		{"dst_port|neq", 443, `server_port != 443`, false},
		{"proto", "TCP", `proto == "tcp"`, true},
		{"protocol", 6, `protocol == 6`, true},
		{"network.transport", "?CP", `proto.matches("^.cp$")`, true},
		{"network.protocol", "TLS", `service == "https"`, true},
		{"service|contains|all", []any{"t", "ps"}, `(service.contains("t") && service.contains("ps"))`, true},
		{"service|re", "^HTTP", `service.matches("(?i)^HTTP")`, true},
		{"service|exists", true, `service != ""`, true},
		{"src_port|exists", "no", "", false},
		{"src_port|exists", true, `true`, true},
		{"network.direction", "ingress", `direction == "inbound"`, true},
		{"Initiated", "true", `client_own`, false},
		{"DestinationIsIpv6", false, `!server.isIPv6()`, true},
		{"action", []any{"Blocked", "den*"}, `(outcome == "rejected" || outcome == "rejected")`, true},
		{"action", "allow*", `outcome != "rejected"`, false},
		{"action|neq", "allowed", `outcome == "rejected"`, true},
		{"action", []any{"deny", 3, "quarantine"}, `outcome == "rejected"`, true},
		{"action", []any{"odd", 3}, "", false},
		{"action|contains|all", []any{"den", "odd"}, "", false},
		{"blocked", "false", `!(outcome == "rejected")`, false},
		{"tcp_flags|contains", "syn", `"SYN" in client_flags`, false},
		{"tcp_flags", "SYN", "", false},
		{"tcp_flags|contains", "URG", "", false},
		{"src_ip|fieldref", "dst_ip", `client == server`, false},
		{`dst_port`, `\*`, "", false},
		{"action", "*", "", false},
		{"action", "quarantined", "", false},
		{"src_ip|fieldref", "dst_port", "", false},
		{"src_ip", nil, "", false},
		{"src_ip|base64", "x", "", false},
		{"hostname", "x", "", false},
		{"dst_port|cidr", "10.0.0.0/8", "", false},
		{"dst_port|gt", "4*", "", false},
		{"Initiated", "perhaps", "", false},
		{"Initiated|re", "t", "", false},
		{"src_ip", []any{}, "", false},
	} {
		got, err := condition(c.field, c.value)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s %v: %q, %v; want %q", c.field, c.value, got, err, c.want)
		}
		if err != nil {
			continue
		}
		f, err := l.Compile(got)
		if err != nil {
			t.Errorf("%s %v: %v", c.field, c.value, err)
			continue
		}
		if f.Match(row) != c.match {
			t.Errorf("%s matches: %v", got, !c.match)
		}
	}
}

// TestPattern holds patterns to what their parts say.
func TestPattern(t *testing.T) {
	for text, want := range map[string]string{
		`a*b?c`: `^a.*b.c$`, `a\*b`: `^a\*b$`, `a\\*`: `^a\\.*$`, `a\b`: `^a\\b$`, `**x**`: `^.*x.*$`, ``: `^$`, `*`: `^.*$`,
	} {
		if got := parsePattern(text).simple().regex(); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestNotCarriedOver: what has no equal is listed, each with its reason, and the
// rest of the file is imported.
func TestNotCarriedOver(t *testing.T) {
	detection := func(name, body string) string {
		return fmt.Sprintf("title: %s\nlogsource: {category: firewall}\ndetection: {%s}\n---\n", name, body)
	}
	text := detection("a", "s: {dst_port: 1}, condition: s") + detection("b", "s: {dst_port: 2}, condition: s") +
		detection("keywords", "s: [one, two], condition: s") +
		detection("lookahead", "s: {'src_ip|re': '^(?!10)'}, condition: s") +
		detection("old", "s: {dst_port: 1}, condition: s | count() > 5") +
		detection("near", "s: {dst_port: 1}, condition: s | near b, timeframe: 5m") +
		detection("frame", "s: {dst_port: 1}, condition: s, timeframe: 5m") +
		detection("user", "s: {dst_port: 1}, condition: s | count(user) > 5, timeframe: 5m") +
		detection("ports", "s: {action: denied}, timeframe: 24h, condition: s | count(dst_port) by src_ip > 10") +
		detection("all", "s: {action: denied}, timeframe: 5m, condition: s | count() = 7") +
		detection("them", "_helper: {dst_port: 3}, s: {dst_port: 4}, condition: 1 of them") + `
title: chain
correlation: {type: temporal, rules: [many, b], group-by: [src_ip], timespan: 5m}
---
title: many
name: many
correlation: {type: event_count, rules: a, group-by: [src_ip], timespan: 5m, condition: {gte: 5}}
---
title: sum
correlation: {type: value_sum, rules: a, group-by: [src_ip], timespan: 5m, condition: {gte: 5, field: orig_bytes}}
---
title: average
correlation: {type: value_avg, rules: a, group-by: [src_ip], timespan: 5m, condition: {gte: 5, field: orig_bytes}}
---
title: half an alias
correlation: {type: temporal, rules: [a, b], group-by: [host], timespan: 5m, aliases: {host: {a: src_ip}}}
---
title: not both
correlation: {type: temporal, rules: [a, b], group-by: [src_ip], timespan: 5m, condition: a and not b}
---
title: both
correlation: {type: temporal, rules: [a, b], timespan: 5m, condition: {gte: 2}}
---
title: both
correlation: {type: temporal_ordered, rules: [b, a], timespan: 5m, group-by: [dst_ip]}
---
title: long
correlation: {type: temporal, rules: [a, b], timespan: 30d}
---
title: nothing
correlation: {type: temporal, timespan: 5m}
---
title: gone
falsepositives: Unknown
correlation: {type: event_count, rules: c, group-by: src_ip, timespan: 5m, condition: {gte: 5}}
`
	res, err := Import([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]rule.Spec{}
	for _, s := range res.File.Rules {
		got[s.ID] = s
	}
	if len(got) != 7 || got["ports"].Having != "distinct(server_port) > 10" || got["ports"].GroupBy[0] != "client" || got["all"].Having != "count == 7" || got["them"].Match != "((server_port == 4))" || got["sum"].Having != "sum(bytes_out) >= 5" ||
		len(got["both"].Together) != 2 || got["both"].Together[0].By[0] != everybody || len(got["both-2"].Sequence) != 2 {
		t.Errorf("%d rules: %+v", len(got), got)
	}
	notes := strings.Join(res.Notes, "\n")
	for _, want := range []string{
		`"keywords" is not imported: s: keywords have no equal`, `"lookahead" is not imported: `, `"old" is not imported: it counts, and does not say`,
		`"near" is not imported: the aggregation "| near b" has no equal`, `"frame" is not imported: a timeframe without`, `"user" is not imported: sessions have no field for "user"`,
		`"chain" is not imported: it refers to "many", which itself counts`, `"average" is not imported: the correlation type "value_avg"`,
		`the alias "host" says nothing of "b"`, `"not both" is not imported: a condition over the rules`, `"long" is not imported: rule long: within: 720h0m0s`,
		`"nothing" is not imported: it names no rules`, `"gone" is not imported: it refers to "c", which is not there`,
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes lack %q:\n%s", want, notes)
		}
	}
}
