package flowlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
)

// inflater reuses one gzip reader.
type inflater struct {
	zr *gzip.Reader
	in bytes.Reader
}

// open starts to read all members of data.
func (z *inflater) open(data []byte) error {
	z.in.Reset(data)
	if z.zr == nil {
		zr, err := gzip.NewReader(&z.in)
		z.zr = zr
		return err
	}
	return z.zr.Reset(&z.in)
}

// inflate unpacks data into buf, up to limit bytes. over says that there would
// have been more.
func (z *inflater) inflate(buf, data []byte, limit int64) (out []byte, over bool, err error) {
	out = buf[:0]
	if err = z.open(data); err != nil {
		return out, false, err
	}
	for {
		if len(out) == cap(out) {
			out = append(out, 0)[:len(out)]
		}
		n, err := z.zr.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		switch {
		case int64(len(out)) > limit:
			return out, true, nil
		case errors.Is(err, io.EOF):
			return out, false, nil
		case err != nil:
			return out, false, err
		}
	}
}

// gzip unpacks a payload as a whole before anything in it is decoded, so that a
// damaged or oversized one is one reject and nothing of it is counted.
func (d *Decoder) gzip(s *source, data []byte) {
	buf := d.scratch.inflated
	d.scratch.inflated = nil // a payload within uses a buffer of its own
	out, over, err := d.scratch.gz.inflate(buf, data, d.cfg.MaxPayload)
	d.stats.Inflated += uint64(len(out))
	switch {
	case over:
		d.refuseWhole(s, data, ClassSize, fmt.Sprintf("the payload decompresses to more than %d bytes; raise max payload if that is no attack", d.cfg.MaxPayload))
	case err != nil:
		d.refuseWhole(s, data, ClassCompress, fmt.Sprintf("the gzip data is damaged after %d bytes: %v", len(out), err))
	default:
		s.depth++
		d.payload(s, out)
		d.flush(s)
		s.depth--
	}
	if cap(out) <= keepBuffer {
		d.scratch.inflated = out
	}
}
