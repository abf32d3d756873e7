package stage

// BucketOf spreads a key over n buckets by FNV-1a. It is part of the layout:
// a change of it moves state.
func BucketOf(key []byte, n int) int {
	h := uint32(2166136261)
	for _, c := range key {
		h = (h ^ uint32(c)) * 16777619
	}
	return int(h % uint32(n))
}
