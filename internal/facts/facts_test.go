package facts

import "testing"

// TestAgainst: the comparison that kill tests and simulations rest on finds each kind of
// difference.
func TestAgainst(t *testing.T) {
	want := map[string]Told{"a": {Times: 1, What: 7}, "b": {Times: 2, What: 9}}
	for name, c := range map[string]struct {
		have map[string]Told
		want Verdict
	}{
		"same":      {map[string]Told{"a": {Times: 1, What: 7}, "b": {Times: 2, What: 9}}, Verdict{}},
		"lost":      {map[string]Told{"b": {Times: 1, What: 5}}, Verdict{Lost: 2}},
		"twice":     {map[string]Told{"a": {Times: 2, What: 14}, "b": {Times: 2, What: 9}}, Verdict{Duplicated: 1}},
		"too many":  {map[string]Told{"a": {Times: 1, What: 7}, "b": {Times: 2, What: 9}, "c": {Times: 1}}, Verdict{Duplicated: 1}},
		"different": {map[string]Told{"a": {Times: 1, What: 8}, "b": {Times: 2, What: 9}}, Verdict{Changed: 1}},
	} {
		if v := Against(want, c.have); v != c.want {
			t.Errorf("%s: %+v, want %+v", name, v, c.want)
		}
	}
}

// TestCheckAndDigest: equal facts pass and have one digest, others do not.
func TestCheckAndDigest(t *testing.T) {
	make1 := func() *Facts {
		return &Facts{Sessions: map[string]Told{"s": {Times: 1, What: 3}}, Findings: map[string]Told{"f": {Times: 1, What: 5, Text: "five"}}, Flows: 9}
	}
	want := make1()
	if err := Check(want, make1()); err != nil || want.Digest() != make1().Digest() {
		t.Errorf("equal facts: %v, digests %x and %x", err, want.Digest(), make1().Digest())
	}
	for name, change := range map[string]func(*Facts){
		"session lost":    func(f *Facts) { delete(f.Sessions, "s") },
		"finding changed": func(f *Facts) { f.Findings["f"] = Told{Times: 1, What: 6, Text: "six"} },
		"flow lost":       func(f *Facts) { f.Flows-- },
		"reject":          func(f *Facts) { f.Rejects++ },
	} {
		f := make1()
		change(f)
		if err := Check(want, f); err == nil || want.Digest() == f.Digest() {
			t.Errorf("%s: not seen (%v)", name, err)
		}
	}
}
