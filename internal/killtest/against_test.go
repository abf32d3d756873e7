package killtest

import "testing"

// TestAgainst: the comparison that the kill test rests on finds each kind of
// difference.
func TestAgainst(t *testing.T) {
	want := map[string]told{"a": {times: 1, what: 7}, "b": {times: 2, what: 9}}
	for name, c := range map[string]struct {
		have map[string]told
		want verdict
	}{
		"same":      {map[string]told{"a": {times: 1, what: 7}, "b": {times: 2, what: 9}}, verdict{}},
		"lost":      {map[string]told{"b": {times: 1, what: 5}}, verdict{lost: 2}},
		"twice":     {map[string]told{"a": {times: 2, what: 14}, "b": {times: 2, what: 9}}, verdict{duplicated: 1}},
		"too many":  {map[string]told{"a": {times: 1, what: 7}, "b": {times: 2, what: 9}, "c": {times: 1}}, verdict{duplicated: 1}},
		"different": {map[string]told{"a": {times: 1, what: 8}, "b": {times: 2, what: 9}}, verdict{changed: 1}},
	} {
		if v := against(want, c.have); v != c.want {
			t.Errorf("%s: %+v, want %+v", name, v, c.want)
		}
	}
}
