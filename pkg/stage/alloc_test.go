package stage

import "testing"

// TestFoldAllocatesNothing routes, folds and emits a record through the loop
// in steady state.
func TestFoldAllocatesNothing(t *testing.T) {
	p := &partition{id: 2, inName: FlowsTopic, fold: echo{}, clock: newClock(), buckets: []bucketState{{Bucket: echo{}}}}
	tx := newTx("test", &Topics{}, map[string]int32{SessionsTopic: 4, RejectsTopic: 1}, 1<<20)
	m := Message{Key: []byte("0123456789abcdef"), Value: append([]byte{'d'}, make([]byte, 99)...)}
	step := func() {
		for range 1000 {
			if tx.Full() {
				tx.reset(tx.deadline)
			}
			m.Offset = p.offset
			if _, err := p.step(&m, tx); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 20 {
		step()
	}
	if n := testing.AllocsPerRun(20, step); n > 5 {
		t.Errorf("%.0f allocations for 1000 records", n)
	}
}
