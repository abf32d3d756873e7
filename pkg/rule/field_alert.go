package rule

import (
	"strings"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Alerts returns the schema of alerts: the language of `tail alerts`.
func Alerts() *Schema {
	text := func(name, doc, example string, get func(*alert.Alert) string) Field {
		return Field{Name: name, Type: String, Doc: doc, Example: example, s: func(r *Row) string { return get(r.Alert) }}
	}
	return newSchema("alerts", []Field{
		text("detector", "what raised it: port-scan, rule:<id>", `detector == "port-scan"`, func(a *alert.Alert) string { return a.Detector.ID }),
		text("title", "the few words that it is called by", `title.contains("SSH")`, func(a *alert.Alert) string { return a.Title }),
		text("sentence", "what happened, with the numbers", `sentence.matches("(?i)exfil")`, func(a *alert.Alert) string { return a.Sentence }),
		text("entity", "what it is about: 203.0.113.9, 22/tcp", `entity == "203.0.113.9"`, func(a *alert.Alert) string { return a.Entity.Value }),
		text("uid", "the id of the finding", `uid.startsWith("0f")`, func(a *alert.Alert) string { return a.UID.String() }),
		{Name: "address", Type: Addr, Doc: "the address that it is about, where it is one", Example: `address in "10.0.0.0/8"`,
			a: func(r *Row) flow.Addr { return r.Alert.Entity.Addr }},
		{Name: "ours", Type: Bool, Doc: "the entity is one of our addresses", Example: `ours`, b: func(r *Row) bool { return r.Alert.Entity.Ours }},
		{Name: "severity", Type: Int, Doc: "1 informational, 2 low, 3 medium, 4 high, 5 critical, 6 fatal", Example: `severity >= 4`,
			i: func(r *Row) int64 { return int64(r.Alert.Severity) }},
		{Name: "level", Type: String, Values: append([]string{"unknown"}, severities...), Doc: "the severity by its name", Example: `level in ["high", "critical"]`,
			i: func(r *Row) int64 { return int64(r.Alert.Severity) }},
		{Name: "confidence", Type: Int, Unit: "percent", Doc: "how sure it is, 0 unknown", Example: `confidence >= 50`,
			i: func(r *Row) int64 { return int64(r.Alert.Confidence) }},
		{Name: "activity", Type: String, Values: enum(4, alert.Activity.String), Doc: "the step of its life", Example: `activity == "create"`,
			i: func(r *Row) int64 { return int64(r.Alert.Activity) }},
		{Name: "verdict", Type: String, Values: enum(3, alert.Verdict.String), Doc: "how firmly it stands", Example: `verdict != "withdrawn"`,
			i: func(r *Row) int64 { return int64(r.Alert.Verdict) }},
		{Name: "time", Type: Time, Doc: "event time of the statement", Example: `time >= "2026-03-01T00:00:00Z"`, i: func(r *Row) int64 { return int64(r.Alert.Time) }},
		{Name: "first", Type: Time, Doc: "first packet that belongs to it", Example: `first >= "2026-03-01T00:00:00Z"`, i: func(r *Row) int64 { return int64(r.Alert.First) }},
		{Name: "last", Type: Time, Doc: "last packet that belongs to it", Example: `last < "2026-03-02T00:00:00Z"`, i: func(r *Row) int64 { return int64(r.Alert.Last) }},
		{Name: "attack", Type: Strings, Doc: "ATT&CK techniques", Example: `"T1046" in attack`, nth: func(r *Row, i int) (string, bool) {
			if i >= len(r.Alert.Attacks) {
				return "", false
			}
			return strings.ToUpper(r.Alert.Attacks[i].ID()), true
		}},
		{Name: "peers", Type: Strings, Doc: "addresses of the other parties", Example: `"198.51.100.7" in peers`, nth: func(r *Row, i int) (string, bool) {
			if i >= len(r.Alert.Peers) {
				return "", false
			}
			return r.Alert.Peers[i].Addr.String(), true
		}},
	})
}
