package alert

import (
	"math"
	"strconv"

	"github.com/flowstitch/flowstitch/pkg/session"
)

// The parts of an alert that neither OCSF nor ECS has a place for. Both carry
// them in the same shape: OCSF under unmapped and evidences[].data, ECS under
// flowstitch. Times are Unix milliseconds.

type entityData struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
	Role  string `json:"role"`
	Ours  bool   `json:"ours"`
	Scope uint16 `json:"scope,omitempty"`
}

func entityOf(e *Entity) entityData {
	return entityData{Kind: e.Kind.String(), Value: e.Value, Role: e.Role.String(), Ours: e.Ours, Scope: e.Scope}
}

type countData struct {
	Name      string   `json:"name"`
	Unit      string   `json:"unit,omitempty"`
	Observed  float64  `json:"observed"`
	Baseline  *float64 `json:"baseline,omitempty"`
	Of        string   `json:"baseline_of,omitempty"`
	Threshold float64  `json:"threshold,omitempty"`
}

func countsOf(list []Count) []countData {
	out := make([]countData, 0, len(list))
	for _, c := range list {
		d := countData{
			Name: clip(c.Name), Unit: clip(c.Unit), Of: clip(c.Of),
			Observed: finite(c.Observed), Threshold: finite(c.Threshold),
		}
		if c.HasBaseline {
			v := finite(c.Baseline)
			d.Baseline = &v
		}
		out = append(out, d)
	}
	return out
}

// finite makes a number that JSON can write: what is none becomes 0, what is
// too large the largest integer that every consumer keeps exactly.
func finite(v float64) float64 {
	const most = 1 << 53
	switch {
	case math.IsNaN(v):
		return 0
	case v > most:
		return most
	case v < -most:
		return -most
	}
	return v
}

// maxShort bounds the words of our own and AWS's identifiers, of which an alert
// may hold thousands, in bytes. Real ones are shorter than 64.
const maxShort = 128

func clip(s string) string {
	var cut bool
	return clean(s, maxShort, &cut)
}

// number writes a value for people and machines: integers without a point,
// others with at most three digits behind it.
func number(v float64) string {
	v = finite(v)
	if v == math.Trunc(v) {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(math.Round(v*1000)/1000, 'f', -1, 64)
}

type portData struct {
	Port     uint16 `json:"port"`
	Protocol uint8  `json:"protocol"`
	Sessions int64  `json:"sessions"`
}

func portsOf(list []Port) []portData {
	out := make([]portData, 0, len(list))
	for _, p := range list {
		out = append(out, portData{Port: p.Port, Protocol: p.Protocol, Sessions: p.Sessions})
	}
	return out
}

// evidenceData says where a session's event is and what it counted.
type evidenceData struct {
	Topic               string `json:"topic"`
	Partition           int32  `json:"partition"`
	Offset              int64  `json:"offset"`
	SessionUID          string `json:"session_uid,omitempty"`
	Provisional         bool   `json:"provisional,omitempty"`
	Start               int64  `json:"start"`
	End                 int64  `json:"end"`
	Outcome             string `json:"outcome"`
	Initiator           string `json:"initiator_evidence"`
	InitiatorConfidence uint8  `json:"initiator_confidence"`
	PacketsOut          int64  `json:"packets_out"`
	BytesOut            int64  `json:"bytes_out"`
	PacketsIn           int64  `json:"packets_in"`
	BytesIn             int64  `json:"bytes_in"`
	RejectedOut         int64  `json:"rejected_packets_out,omitempty"`
	RejectedIn          int64  `json:"rejected_packets_in,omitempty"`
	FlagsOut            uint8  `json:"tcp_flags_out,omitempty"`
	FlagsIn             uint8  `json:"tcp_flags_in,omitempty"`
}

func evidenceDataOf(e *Evidence) evidenceData {
	d := evidenceData{
		Topic: clip(e.Topic), Partition: e.Partition, Offset: e.Offset, Provisional: e.Provisional,
		Start: millis(e.First), End: millis(e.Last), Outcome: e.Outcome.String(),
		Initiator: e.Initiator.String(), InitiatorConfidence: e.InitiatorConfidence,
		PacketsOut: e.Out.Packets, BytesOut: e.Out.Bytes, PacketsIn: e.In.Packets, BytesIn: e.In.Bytes,
		RejectedOut: e.Out.RejectPackets, RejectedIn: e.In.RejectPackets,
		FlagsOut: e.Out.Flags, FlagsIn: e.In.Flags,
	}
	if e.SessionID != (session.ID{}) {
		d.SessionUID = e.SessionID.String()
	}
	return d
}
