package alert_test

import (
	"math"
	"os"
	"testing"

	"pgregory.net/rapid"

	"github.com/flowstitch/flowstitch/internal/alerttest/encoded"
	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// TestRandomAlerts: whatever a detector or a user's rule puts into an alert, it
// is valid in every form, below the limit, and can be read back.
func TestRandomAlerts(t *testing.T) {
	valid := encoded.Validator(t)
	ocsf, ecs := alert.NewEncoder(alert.Options{}), alert.NewEncoder(alert.Options{Format: alert.ECS})
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		if n++; n > 40 && os.Getenv("FLOWSTITCH_LONG") != "1" {
			return // some hundred kilobytes each: more takes minutes
		}
		a := randomAlert(r)
		if err := valid(a); err != nil {
			r.Fatal(err)
		}
		for _, e := range []*alert.Encoder{ocsf, ecs} {
			b, err := e.Append(nil, a)
			if err != nil {
				r.Fatal(err)
			}
			back, err := alert.Parse(b)
			if err != nil || back.UID != a.UID || back.Severity != a.Severity {
				r.Fatalf("%v: read back as %v %v", err, back.UID, back.Severity)
			}
		}
	})
}

// text is any text of a user: every plane of Unicode, controls, what breaks
// JSON, HTML and log lines, and bytes that are no UTF-8.
func text(r *rapid.T, what string) string {
	nasty := rapid.SampledFrom([]string{
		"", "a\nb\r\n\t\x00\x7f", `"quoted" \ </script>`, "\u2028\u2029\ufeff", "名前 имя שם 🏴‍☠️", "\xff\xfe\x80", "\xed\xa0\x80", "%{[x]} ${y} {{z}}", "\U0010ffff",
	})
	return rapid.String().Draw(r, what) + nasty.Draw(r, what+" nasty")
}

func address(r *rapid.T) flow.Addr {
	if rapid.Bool().Draw(r, "v4") {
		return flow.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(r, "addr4")))
	}
	return flow.Addr([16]byte(rapid.SliceOfN(rapid.ByteMin(1), 16, 16).Draw(r, "addr16")))
}

// many is a length: usually a few, now and then far beyond every bound.
func many(r *rapid.T, what string, most int) int {
	if rapid.IntRange(0, 4).Draw(r, what+" many") == 0 {
		return most
	}
	return rapid.IntRange(0, 3).Draw(r, what)
}

func number(r *rapid.T, what string) int64 {
	return rapid.OneOf(rapid.Int64Range(0, 100), rapid.Just(int64(math.MaxInt64)), rapid.Int64Min(0)).Draw(r, what)
}

func when(r *rapid.T, what string) flow.Time {
	return flow.Time(rapid.Int64Range(0, 4_000_000_000).Draw(r, what))
}

func randomAlert(r *rapid.T) *alert.Alert {
	a := &alert.Alert{
		Sequence: rapid.Uint32Min(1).Draw(r, "sequence"), Verdict: alert.Verdict(rapid.IntRange(0, 2).Draw(r, "verdict")),
		Activity: rapid.SampledFrom([]alert.Activity{alert.Create, alert.Update, alert.Close}).Draw(r, "activity"),
		Detector: alert.Detector{
			ID: "rule:" + text(r, "id"), Name: text(r, "name"), Version: "1", Doc: "docs/rules.md",
			Method: rapid.SampledFrom([]alert.Method{alert.MethodRule, alert.MethodBehavioral, alert.MethodStatistical, alert.MethodFingerprinting}).Draw(r, "method"),
		},
		Title: text(r, "title"), Sentence: text(r, "sentence"), FalseAlarm: text(r, "false alarm"),
		Severity: alert.Severity(rapid.IntRange(1, 6).Draw(r, "severity")), Confidence: uint8(rapid.IntRange(0, 100).Draw(r, "confidence")),
		Entity: alert.Entity{
			Kind: alert.EntityKind(rapid.IntRange(1, 8).Draw(r, "kind")), Scope: rapid.Uint16().Draw(r, "scope"), Value: text(r, "value"),
			Addr: address(r), Role: alert.Role(rapid.IntRange(0, 4).Draw(r, "role")), Ours: rapid.Bool().Draw(r, "ours"),
		},
		PeersMore: number(r, "more"), First: when(r, "first"), Attacks: alert.AttacksOf("T1110.001", "T1046"),
	}
	a.Last = a.First.Add(rapid.Int64Range(0, 86400).Draw(r, "lasts"))
	a.Time, a.Window = a.Last, alert.Window{Start: a.First, End: a.Last.Add(1)}
	a.UID = alert.NewUID(a.Detector.ID, a.Entity, a.First, 86400)
	note, addr, n := text(r, "note"), address(r), number(r, "sessions")
	for i := range many(r, "peers", 3*alert.MaxPeers) {
		addr[15] = byte(i)
		a.Peers = append(a.Peers, alert.Peer{Addr: addr, Sessions: n, Bytes: n, Note: note})
	}
	for i := range many(r, "ports", 3*alert.MaxPorts) {
		a.Ports = append(a.Ports, alert.Port{Protocol: uint8(i * 7), Port: uint16(i * 601), Sessions: n})
	}
	for range many(r, "counts", 2*alert.MaxCounts) {
		a.Counts = append(a.Counts, alert.Count{
			Name: "n_" + note, Unit: note, Observed: rapid.OneOf(rapid.Float64Range(0, 1e300), rapid.Just(1.5)).Draw(r, "observed"),
			HasBaseline: rapid.Bool().Draw(r, "has"), Of: note, Threshold: float64(n),
		})
	}
	for range many(r, "labels", 2*alert.MaxLabels) {
		a.Labels = append(a.Labels, flow.Attr{Name: note, Value: note})
	}
	for range many(r, "tags", 100) {
		a.Context.Tags = append(a.Context.Tags, flow.Attr{Name: note, Value: note})
	}
	a.Context.VPCID, a.Context.InterfaceID = note, note
	for i := range many(r, "evidence", 3*alert.MaxEvidence) {
		a.Evidence = append(a.Evidence, evidence(r, addr, note, int64(i)))
	}
	return a
}

func evidence(r *rapid.T, addr flow.Addr, note string, offset int64) alert.Evidence {
	side := func(what string) session.Traffic {
		return session.Traffic{Packets: number(r, what), Bytes: number(r, what+" bytes"), Flags: rapid.Byte().Draw(r, what+" flags"), Records: 1}
	}
	first := when(r, "evidence")
	return alert.Evidence{
		Topic: "sessions", Offset: offset, Protocol: rapid.Byte().Draw(r, "protocol"),
		Client: flow.Endpoint{Addr: addr, Port: rapid.Uint16().Draw(r, "port")}, Server: flow.Endpoint{Addr: address(r), Port: 65535},
		Initiator: session.Evidence(rapid.IntRange(0, 4).Draw(r, "initiator")), InitiatorConfidence: 95,
		Direction: session.Direction(rapid.IntRange(0, 4).Draw(r, "direction")), Outcome: session.Outcome(rapid.IntRange(0, 4).Draw(r, "outcome")),
		Path: rapid.Byte().Draw(r, "path"), First: first, Last: first.Add(5), Out: side("out"), In: side("in"),
		ClientAt: alert.EvidencePoint{InterfaceID: note, InstanceID: note, VPCID: note, SubnetID: note, AccountID: note},
	}
}
