package session

import "math/bits"

// slab holds values without pointers in chunks that never move: it grows
// without copying, costs the garbage collector one pointer a chunk, and gives
// back chunks that nothing is left in, all but a few. Number 0 is never
// handed out and stands for none. Which number is handed out never shows.
type slab[T any] struct {
	chunks []*[1 << slabBits]T
	use    []chunkUse
	open   []uint32 // chunks with room
	holes  []uint32 // numbers of chunks that were given back
	empty  int      // of the open ones, how many hold nothing
	live   int
}

// slabBits makes chunks of 64 values: 4096 bytes for entries and nodes, 2048 for
// pending records and the wheel's sheets, 768 for links, which are exact size
// classes of Go's allocator, aligned to cache lines.
const slabBits = 6

// chunkUse is a bit for each value in use, and the chunk's place in slab.open
// plus one, 0 for a full one.
type chunkUse struct {
	bits uint64
	open uint32
}

func (s *slab[T]) at(i uint32) *T { return &s.chunks[i>>slabBits][i&(1<<slabBits-1)] }

// holds reports whether number i is in use.
func (s *slab[T]) holds(i uint32) bool { return s.use[i>>slabBits].bits>>(i&(1<<slabBits-1))&1 != 0 }

func (s *slab[T]) alloc() uint32 {
	s.live++
	if len(s.open) == 0 {
		s.grow()
	}
	n := s.open[len(s.open)-1]
	u := &s.use[n]
	if u.bits == 0 {
		s.empty--
	}
	cell := uint32(bits.TrailingZeros64(^u.bits))
	if u.bits |= 1 << cell; ^u.bits == 0 {
		s.close(n)
	}
	return n<<slabBits | cell
}

func (s *slab[T]) grow() {
	n := uint32(len(s.chunks))
	if h := len(s.holes); h > 0 {
		n = s.holes[h-1]
		s.holes = s.holes[:h-1]
	} else {
		s.chunks, s.use = append(s.chunks, nil), append(s.use, chunkUse{})
	}
	s.chunks[n] = new([1 << slabBits]T)
	if n == 0 {
		s.use[n].bits = 1 // number 0
	} else {
		s.empty++
	}
	s.reopen(n)
}

// reopen lists a chunk as one with room, close takes it off the list.
func (s *slab[T]) reopen(n uint32) {
	s.open = append(s.open, n)
	s.use[n].open = uint32(len(s.open))
}

func (s *slab[T]) close(n uint32) {
	last := s.open[len(s.open)-1]
	s.open[s.use[n].open-1] = last
	s.use[last].open = s.use[n].open
	s.use[n].open = 0
	s.open = s.open[:len(s.open)-1]
}

// release takes a value back.
func (s *slab[T]) release(i uint32) {
	n, cell := i>>slabBits, i&(1<<slabBits-1)
	var zero T
	s.chunks[n][cell] = zero
	s.live--
	u := &s.use[n]
	u.bits &^= 1 << cell
	if u.open == 0 {
		s.reopen(n)
	}
	if u.bits != 0 {
		return
	}
	if s.empty++; s.empty > 1+len(s.chunks)/64 {
		s.close(n)
		s.chunks[n] = nil
		s.holes = append(s.holes, n)
		s.empty--
	}
}
