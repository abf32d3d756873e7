package query

import (
	"context"
	"io"
	"sync/atomic"
)

// counter counts bytes across readers.
type counter struct{ n atomic.Int64 }

func (c *counter) load() int64 { return c.n.Load() }

// countingReader counts what it reads and stops when ctx ends.
type countingReader struct {
	io.Reader
	c   *counter
	ctx context.Context
}

// Read implements io.Reader.
func (r *countingReader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.Reader.Read(b)
	r.c.n.Add(int64(n))
	return n, err
}
