package session

// slab holds values without pointers in chunks that never move: it grows
// without copying and costs the garbage collector one pointer a chunk. Number
// 0 is never handed out and stands for none.
type slab[T any] struct {
	chunks []*[slabChunk]T
	free   []uint32
	next   uint32
	live   int
}

const (
	slabBits  = 8
	slabChunk = 1 << slabBits
)

func (s *slab[T]) at(i uint32) *T { return &s.chunks[i>>slabBits][i&(slabChunk-1)] }

func (s *slab[T]) alloc() uint32 {
	s.live++
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i
	}
	if s.next == 0 {
		s.next = 1
	}
	i := s.next
	s.next++
	if int(i>>slabBits) == len(s.chunks) {
		s.chunks = append(s.chunks, new([slabChunk]T))
	}
	return i
}

func (s *slab[T]) release(i uint32) {
	var zero T
	*s.at(i) = zero
	s.free = append(s.free, i)
	s.live--
}
