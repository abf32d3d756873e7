//go:build !linux

package hugepages

// ForHeap does nothing where there is no such setting.
func ForHeap(int) bool { return false }
