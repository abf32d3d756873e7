package sigma

import (
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/rule"
)

const rules = `
title: Refused SSH
name: refused_ssh
logsource: {category: firewall}
detection:
  selection: {dst_port: [22, 2222], action: blocked}
  filter_admins: {src_ip|cidr: 10.0.0.0/8}
  condition: selection and not 1 of filter_*
level: low
---
title: Call out
name: call_out
logsource: {category: network_connection}
detection:
  selection: {DestinationPort: 4444}
  condition: selection
tags: [attack.command_and_control, attack.t1571]
---
title: Many Refused SSH
correlation: {type: event_count, rules: [refused_ssh], group-by: [src_ip], timespan: 5m, condition: {gte: 10}}
level: high
tags: [attack.t1110.001]
---
title: SSH Refused at Many Hosts
correlation: {type: value_count, rules: [refused_ssh], group-by: [src_ip], timespan: 1h, condition: {field: dst_ip, gt: 20}}
---
title: Guessed Then Called
correlation: {type: temporal_ordered, rules: [refused_ssh, call_out], group-by: [dst_ip], timespan: 10m, generate: true}
---
title: A process
logsource: {category: process_creation, product: windows}
detection: {selection: {Image: cmd.exe}, condition: selection}
---
title: A name
logsource: {category: firewall}
detection: {selection: {hostname|endswith: .evil}, condition: selection}
---
title: Both in any order
correlation:
  type: temporal
  rules: [refused_ssh, call_out]
  group-by: [host]
  timespan: 10m
  generate: true
  aliases:
    host: {refused_ssh: dst_ip, call_out: src_ip}
---
title: Twofold
correlation:
  type: event_count
  rules: [refused_ssh, call_out]
  group-by: [host]
  timespan: 10m
  aliases:
    host: {refused_ssh: dst_ip, call_out: src_ip}
  condition: {gte: 10}
`

func TestImport(t *testing.T) {
	res, err := Import([]byte(rules))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]rule.Spec{}
	for _, s := range res.File.Rules {
		got[s.ID] = s
	}
	if len(got) != 5 || res.Skipped != 3 {
		t.Fatalf("%d rules, %d skipped: %v %v", len(got), res.Skipped, got, res.Notes)
	}
	many := got["many-refused-ssh"]
	match := `((server_port == 22 || server_port == 2222) && outcome == "rejected") && ! ((client in "10.0.0.0/8"))`
	if many.Match != match || many.Having != "count >= 10" || many.Severity != "high" || many.Attack[0] != "T1110.001" || many.Slide != many.Window/12 {
		t.Errorf("got %+v", many)
	}
	if h := got["ssh-refused-at-many-hosts"].Having; h != "distinct(server) > 20" {
		t.Errorf("having %q", h)
	}
	if s := got["guessed-then-called"]; len(s.Sequence) != 2 || s.Sequence[1].Match != "(server_port == 4444)" {
		t.Errorf("sequence %+v", s)
	}
	steps := got["both-in-any-order"].Together
	if len(steps) != 2 || steps[0].By[0] != "server" || steps[1].By[0] != "client" {
		t.Errorf("together %+v", steps)
	}
	notes := strings.Join(res.Notes, "\n")
	for _, want := range []string{"no network traffic", `no field for "hostname"`, `its aliases mean [server] in refused_ssh and [client] in call_out`} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes lack %q: %s", want, notes)
		}
	}
	text, err := res.File.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	l, err := rule.NewLanguage(rule.Sessions())
	if err != nil {
		t.Fatal(err)
	}
	if back, err := rule.Parse(l, text); err != nil || len(back) != 5 {
		t.Errorf("what was written does not load: %v\n%s", err, text)
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte(rules))
	f.Fuzz(func(_ *testing.T, text []byte) {
		if res, err := Import(text); err == nil {
			_, _ = res.File.Marshal()
		}
	})
}
