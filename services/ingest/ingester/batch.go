package ingester

import (
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// batch is a run of what one source decoded, encoded and ready to produce: one
// arena of bytes, so that a batch costs a handful of allocations however many
// records it holds.
type batch struct {
	arena []byte
	items []item

	flows, nodata, skipdata, rejected int
	classes                           [16]int       // of rejects, by flowlog.Class
	read                              flowlog.Stats // what was read for it: Lines, Bytes, Headers, Control
	// newest is the latest End in the batch, flow.MinTime if it has no record.
	newest flow.Time
}

// item is one record of a batch: its key and then its value in the arena.
type item struct {
	topic   string
	keyEnd  int32
	end     int32
	headers []stage.Header // of a reject
}

func newBatch() *batch { return &batch{newest: flow.MinTime} }

// reset empties b and keeps its memory.
func (b *batch) reset() {
	*b = batch{arena: b.arena[:0], items: b.items[:0], newest: flow.MinTime}
}

// produce hands every record to out, which copies it.
func (b *batch) produce(out stage.Emitter) {
	begin := int32(0)
	for i := range b.items {
		it := &b.items[i]
		out.Emit(stage.Output{
			Topic: it.topic, Partition: stage.ByKey, Headers: it.headers,
			Key: b.arena[begin:it.keyEnd], Value: b.arena[it.keyEnd:it.end],
		})
		begin = it.end
	}
}

// addFlow encodes one record. It is the only place where ingest writes flows.
func (b *batch) addFlow(scope uint16, r *flow.Record) {
	b.arena = wire.AppendFlowKey(b.arena, scope, r)
	keyEnd := len(b.arena)
	b.arena = wire.AppendFlow(b.arena, r)
	b.items = append(b.items, item{topic: topicFlows, keyEnd: int32(keyEnd), end: int32(len(b.arena))})
	b.newest = max(b.newest, r.End)
	switch r.Kind {
	case flow.KindNoData:
		b.nodata++
	case flow.KindSkipData:
		b.skipdata++
	default:
		b.flows++
	}
}

// addReject encodes one reject, split where its raw bytes exceed what one
// record may hold.
func (b *batch) addReject(r *flowlog.Reject) {
	h := wire.Reject{
		Stage: "ingest", Class: r.Class.String(), Reason: r.Reason, Field: r.Field, Column: r.Column, Origin: r.Origin,
		Part: 1, Parts: (len(r.Raw) + maxRaw - 1) / maxRaw,
	}
	b.rejected++
	b.classes[r.Class]++
	for raw := r.Raw; ; h.Part++ {
		n := min(len(raw), maxRaw)
		b.arena = append(b.arena, h.Key()...)
		keyEnd := len(b.arena)
		b.arena = append(b.arena, raw[:n]...)
		b.items = append(b.items, item{topic: topicRejects, keyEnd: int32(keyEnd), end: int32(len(b.arena)), headers: headersOf(&h)})
		if raw = raw[n:]; len(raw) == 0 {
			return
		}
	}
}

func headersOf(r *wire.Reject) []stage.Header {
	list := r.Headers()
	out := make([]stage.Header, len(list))
	for i, h := range list {
		out[i] = stage.Header(h)
	}
	return out
}

// Logical names of the topics that ingest writes.
const (
	topicFlows   = "flows"
	topicRejects = "rejects"
)

// maxRaw is how many raw bytes one record of rejects holds, below the 900 kB
// that nothing exceeds, with room for headers.
const maxRaw = 880 << 10
