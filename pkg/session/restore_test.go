package session

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"testing"
)

// TestRestoreVersion1 reads a snapshot that the release before wrote, of a table
// with pending, open and closed sessions, and finds the state that the same
// records give now.
func TestRestoreVersion1(t *testing.T) {
	text, err := os.ReadFile("testdata/snapshot-v1.hex")
	if err != nil {
		t.Fatal(err)
	}
	old, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		t.Fatal(err)
	}
	cfg := Default()
	cfg.Active, cfg.SkipEmpty = 300, false // as it was
	got, want := NewTable(cfg), NewTable(cfg)
	if err := got.Restore(old); err != nil {
		t.Fatal(err)
	}
	records := traffic(rand.New(rand.NewPCG(1, 9)), 60)
	for i := range records {
		want.Observe(&records[i], 3, int64(i), nothing)
		want.Tick(int64(1e9+i*4000), nothing)
	}
	want.Advance(testBase+1500, nothing, nil)
	want.Tick(2e9, nothing)
	if s := want.Stats(); s.Open == 0 || s.Retained == 0 || s.Pending == 0 {
		t.Fatalf("the table holds %+v: not every kind", s)
	}
	a, b := got.AppendSnapshot(nil), want.AppendSnapshot(nil)
	if !bytes.Equal(a, b) {
		t.Errorf("the state differs: %x, want %x", a, b)
	}
	t.Logf("version 1: %d bytes, now %d", len(old), len(b))
	for cut := range old { // no bytes make it panic
		if err := NewTable(cfg).Restore(old[:cut]); err == nil {
			t.Errorf("a snapshot cut at %d is restored", cut)
		}
	}
}
