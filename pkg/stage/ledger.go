package stage

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// LedgerRecord is the newest value of one name in a slot's ledger.
type LedgerRecord struct {
	Slot  int
	Name  string
	Value []byte
}

// Names of the ledger records that the stage itself writes; a worker's own
// names must not begin with the reserved byte.
const (
	reserved  = "~"
	nameOwner = reserved + "owner"
	nameTxn   = reserved + "txn"
)

func namePosition(p int32) string { return reserved + "pos/" + strconv.Itoa(int(p)) }
func nameConfig(h uint64) string  { return reserved + "config/" + strconv.FormatUint(h, 16) }
func nameBucket(p int32, bucket, chunk int) string {
	return fmt.Sprintf("%sbucket/%d/%d/%d", reserved, p, bucket, chunk)
}

// owner tells who took a slot: enough for two members that both believe they
// own it to see which of them is older.
type owner struct {
	generation int32
	layout     int
	member     string
	nonce      string // differs at every taking
}

func (o *owner) append(b []byte) []byte {
	b = binary.AppendVarint(b, int64(o.generation))
	b = binary.AppendVarint(b, int64(o.layout))
	b = appendText(b, o.member)
	return appendText(b, o.nonce)
}

func parseOwner(b []byte) (owner, error) {
	r := reader{b: b}
	o := owner{generation: int32(r.varint()), layout: int(r.varint()), member: r.text(), nonce: r.text()}
	return o, r.err()
}

// position is where a partition's committed output ends: all of what the
// records below offset put out, and the first emitted records of what the one
// at offset puts out. start is where the partition was begun and config the
// configuration it was begun under, which hold for buckets without a snapshot.
type position struct {
	topic   [16]byte // the input topic's id: another topic of the same name has other offsets
	start   int64
	offset  int64
	emitted uint64
	config  uint64
}

func (p *position) append(b []byte) []byte {
	b = append(b, p.topic[:]...)
	b = binary.AppendVarint(b, p.start)
	b = binary.AppendVarint(b, p.offset)
	b = binary.AppendUvarint(b, p.emitted)
	return binary.LittleEndian.AppendUint64(b, p.config)
}

func parsePosition(b []byte) (p position, err error) {
	r := reader{b: b}
	copy(p.topic[:], r.take(16))
	p.start, p.offset, p.emitted, p.config = r.varint(), r.varint(), r.uvarint(), fixed64(&r)
	return p, r.err()
}

// snapshot is one bucket's state at an offset, under a configuration.
type snapshot struct {
	offset  int64
	config  uint64 // hash of the fold's configuration
	buckets int    // how many the partition was cut into
	clock   clockVector
	body    []byte
}

// maxChunk keeps a snapshot's records well below the 900 kB that nothing
// produced may exceed.
const maxChunk = 512 << 10

// chunks calls put with the ledger records of s: the head and the first part of
// the body in chunk 0, the rest in as many as it takes.
func (s *snapshot) chunks(p int32, bucket int, scratch []byte, put func(name string, value []byte)) (n int, buf []byte) {
	rest := s.body
	n = 1 + max(0, len(rest)-1)/maxChunk
	b := binary.AppendVarint(scratch[:0], s.offset)
	b = binary.LittleEndian.AppendUint64(b, s.config)
	b = binary.AppendUvarint(b, uint64(s.buckets))
	b = binary.AppendUvarint(b, uint64(n))
	b = binary.AppendUvarint(b, uint64(len(s.body)))
	b = binary.LittleEndian.AppendUint64(b, xxhash.Sum64(s.body))
	b = s.clock.append(b)
	first := min(len(rest), maxChunk)
	b = append(b, rest[:first]...)
	put(nameBucket(p, bucket, 0), b)
	for i := 1; i < n; i++ {
		rest = rest[min(len(rest), maxChunk):]
		put(nameBucket(p, bucket, i), rest[:min(len(rest), maxChunk)])
	}
	return n, b
}

// joinSnapshot puts a bucket's chunks together again; ok is false where the
// bucket has no snapshot.
func joinSnapshot(ledger map[string][]byte, p int32, bucket int) (s snapshot, ok bool, err error) {
	head, ok := ledger[nameBucket(p, bucket, 0)]
	if !ok {
		return s, false, nil
	}
	r := reader{b: head}
	s.offset = r.varint()
	s.config = fixed64(&r)
	s.buckets = int(r.uvarint())
	n, size, sum := int(r.uvarint()), int(r.uvarint()), fixed64(&r)
	s.clock = parseClock(&r)
	if err := r.err(); err != nil {
		return s, false, fmt.Errorf("partition %d bucket %d: %w", p, bucket, err)
	}
	if n == 1 {
		s.body = r.b
	} else {
		s.body = append(make([]byte, 0, min(size, n*maxChunk)), r.b...)
	}
	for i := 1; i < n; i++ {
		s.body = append(s.body, ledger[nameBucket(p, bucket, i)]...)
	}
	if len(s.body) != size || xxhash.Sum64(s.body) != sum {
		return s, false, fmt.Errorf("partition %d bucket %d: %w: the snapshot's chunks do not belong together", p, bucket, errLedger)
	}
	return s, true, nil
}

func fixed64(r *reader) uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func isReserved(name string) bool { return strings.HasPrefix(name, reserved) }
