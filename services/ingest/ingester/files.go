package ingester

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/stage"
)

// fileFeed reads files by event time: of all files it takes the next batch from
// the one whose clock is furthest behind, so that several files merge and no
// file's future makes another's past late. Its position is the number of lines
// and rejects that each file has given, because a gzip file can not be entered
// in its middle: a restart reads again from the start and skips what was committed.
type fileFeed struct {
	lateness int64
	files    []*file
	open     func(name string) (*reading, error)
	report   func(*batch)
	stop     context.CancelFunc
	wg       sync.WaitGroup
}

// file is one input and what its reader has handed over so far.
type file struct {
	name    string
	given   uint64 // records and rejects produced, as committed
	newest  flow.Time
	ended   bool
	err     error
	batches chan *batch
	free    chan *batch
}

// batchItems bounds a batch, so that files merge finely and memory stays small.
const batchItems = 512

// readAhead is how many decoded batches a file may hold ready.
const readAhead = 4

func newFileFeed(paths []string, lateness int64, open func(string) (*reading, error), report func(*batch)) *fileFeed {
	f := &fileFeed{lateness: lateness, open: open, report: report, stop: func() {}}
	for _, p := range paths {
		f.files = append(f.files, &file{name: p, newest: flow.MinTime})
	}
	return f
}

const ledgerFile = "file/"

// restore takes the committed positions and starts the readers.
func (f *fileFeed) restore(ctx context.Context, ledger []stage.LedgerRecord) error {
	committed := map[string]uint64{}
	for _, r := range ledger {
		if name, ok := strings.CutPrefix(r.Name, ledgerFile); ok {
			n, size := binary.Uvarint(r.Value)
			if size <= 0 {
				return fmt.Errorf("ingest: the ledger's position of %s is damaged", name)
			}
			committed[name] = n
		}
	}
	ctx, f.stop = context.WithCancel(ctx)
	for _, file := range f.files {
		in, err := f.open(file.name)
		if err != nil {
			f.close()
			return err
		}
		file.given = committed[file.name]
		file.batches, file.free = make(chan *batch, readAhead), make(chan *batch, readAhead+2)
		read := func() { file.read(ctx, in, file.given) }
		if file.name == stdinName {
			go read() // a read of standard input can not be interrupted: close does not wait for it
			continue
		}
		f.wg.Go(read)
	}
	return nil
}

// fill moves batches into tx until it is full, ctx ends, or there is no more.
// It reports whether anything was moved.
func (f *fileFeed) fill(ctx context.Context, tx transaction) error {
	var touched []*file
	for !tx.Full() && ctx.Err() == nil {
		file := f.furthestBehind()
		if file == nil {
			break
		}
		b, ok := file.next(ctx)
		if b == nil {
			if !ok && file.err != nil {
				return file.err
			}
			continue
		}
		b.produce(tx)
		f.report(b)
		file.given += uint64(b.flows + b.nodata + b.skipdata + b.rejected)
		file.newest = max(file.newest, b.newest)
		b.reset()
		file.free <- b
		touched = append(touched, file)
	}
	for i, file := range touched {
		if !slices.Contains(touched[:i], file) {
			tx.Ledger(ledgerFile+file.name, binary.AppendUvarint(nil, file.given))
		}
	}
	return nil
}

func (f *fileFeed) furthestBehind() (least *file) {
	for _, file := range f.files {
		if !file.ended && (least == nil || file.newest < least.newest) {
			least = file
		}
	}
	return least
}

// next returns the file's next batch; without one, ok tells that the file may
// still have more.
func (f *file) next(ctx context.Context) (b *batch, ok bool) {
	select {
	case b, ok = <-f.batches:
		f.ended = !ok
		return b, ok
	case <-ctx.Done():
		return nil, true
	}
}

// clock follows the records of the file that is furthest behind; when all have
// ended, time has.
func (f *fileFeed) clock() (watermark flow.Time, idle bool) {
	file := f.furthestBehind()
	if file == nil {
		return flow.MaxTime, false
	}
	return file.newest.Add(-f.lateness), false
}

func (f *fileFeed) close() {
	f.stop()
	f.wg.Wait()
}

// reading is an open input and how it is decoded.
type reading struct {
	io.Reader
	closer  func() error
	decoder *flowlog.Decoder
	owners  *flowlog.Owners
	scopes  session.Scopes
	waits   func() // called before each read, which may have to wait for its input
}

// stdinName stands for standard input among the files.
const stdinName = "-"

// Reopener is a Config.Stdin that can be read from its start again, which a slot
// that is taken over again does.
type Reopener interface {
	Reopen() (io.ReadCloser, error)
}

// openInput opens a file, or standard input for "-".
func openInput(name string, stdin io.Reader) (io.Reader, func() error, error) {
	if o, ok := stdin.(Reopener); ok && name == stdinName {
		r, err := o.Reopen()
		if err != nil {
			return nil, nil, err
		}
		return r, r.Close, nil
	}
	if name == stdinName {
		return stdin, func() error { return nil }, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, nil, err
	}
	if info.IsDir() {
		return nil, nil, fmt.Errorf("%s is a directory; name the files in it", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	return f, f.Close, nil
}

// read decodes the whole input into batches; the first skip records and
// rejects were committed before and are only learned from.
func (f *file) read(ctx context.Context, in *reading, skip uint64) {
	defer close(f.batches)
	defer func() { _ = in.closer() }() // it was only read
	s := &fileSink{ctx: ctx, file: f, in: in, skip: skip, b: newBatch()}
	in.waits = s.waits
	err := in.decode(ctx, f.name, s)
	if damaged(err) {
		// It would be damaged at the same place for ever: what came before it
		// counts, the rest is a reject, and the file is read.
		if !s.damage {
			s.Reject(&flowlog.Reject{Class: classOf(err), Reason: err.Error(), Origin: flow.Origin{Source: filepath.Base(f.name)}})
		}
		err = nil
	}
	s.flush()
	if err != nil && ctx.Err() == nil {
		f.err = fmt.Errorf("%s: %w", f.name, err)
	}
}

// parquetMagic starts every Parquet file.
var parquetMagic = [4]byte{'P', 'A', 'R', '1'}

func (in *reading) decode(ctx context.Context, name string, sink flowlog.Sink) error {
	origin := flow.Origin{Source: filepath.Base(name)}
	if f, ok := in.Reader.(*os.File); ok {
		var head [4]byte
		if n, _ := f.ReadAt(head[:], 0); n == 4 && head == parquetMagic {
			info, err := f.Stat()
			if err != nil {
				return err
			}
			if err := in.decoder.Parquet(f, info.Size(), origin, sink); err != nil {
				return brokenParquet{err}
			}
			return nil
		}
	}
	return in.decoder.Stream(stoppable{ctx, in}, origin, sink)
}

// stoppable ends a stream when its reader is no longer wanted.
type stoppable struct {
	ctx context.Context //nolint:containedctx // an io.Reader has no argument for it
	in  *reading
}

func (s stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	if s.in.waits != nil {
		s.in.waits()
	}
	return s.in.Read(p)
}

// fileSink encodes what the decoder makes and hands it over in batches.
type fileSink struct {
	ctx  context.Context //nolint:containedctx // the sink lives as long as the reader's call
	file *file
	in   *reading
	skip uint64
	b    *batch

	before flowlog.Stats
	damage bool // the latest reject told of damaged compression
}

// brokenParquet is what the decoder says of a Parquet file that it can not read on.
type brokenParquet struct{ error }

func (b brokenParquet) Unwrap() error { return b.error }

// classOf is the class of the reject that tells of damage.
func classOf(err error) flowlog.Class {
	var parquet brokenParquet
	if errors.As(err, &parquet) {
		return flowlog.ClassParquet
	}
	return flowlog.ClassCompress
}

// damaged reports that an input ends or breaks within its compression or is a broken
// Parquet file, which no second reading mends. A disk that fails is another matter.
func damaged(err error) bool {
	var disk *fs.PathError
	if errors.As(err, &disk) {
		return false
	}
	var parquet brokenParquet
	var corrupt flate.CorruptInputError
	return errors.As(err, &parquet) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader) || errors.As(err, &corrupt)
}

// Record implements flowlog.Sink.
func (s *fileSink) Record(r *flow.Record) {
	s.in.owners.Stamp(r)
	if s.skip > 0 {
		s.skip--
		return
	}
	s.b.addFlow(s.in.scopes.Of(r), r)
	s.full()
}

// Reject implements flowlog.Sink.
func (s *fileSink) Reject(r *flowlog.Reject) {
	s.damage = r.Class == flowlog.ClassCompress
	if s.skip > 0 {
		s.skip--
		return
	}
	s.b.addReject(r)
	s.full()
}

func (s *fileSink) full() {
	if len(s.b.items) >= batchItems {
		s.flush()
	}
}

// waits hands over what there is, if nobody has anything to do: a pipe that gives
// a few lines a second would otherwise keep them until a batch is full.
func (s *fileSink) waits() {
	if len(s.file.batches) == 0 {
		s.flush()
	}
}

// sinceLast returns what the decoder has read since the batch before.
func (s *fileSink) sinceLast() flowlog.Stats {
	now := s.in.decoder.Stats()
	d := flowlog.Stats{
		Lines: now.Lines - s.before.Lines, Bytes: now.Bytes - s.before.Bytes,
		Headers: now.Headers - s.before.Headers, Control: now.Control - s.before.Control,
		Unknown: now.Unknown - s.before.Unknown,
	}
	s.before = now
	return d
}

// flush hands the batch over; after ctx has ended it is dropped, since nobody
// will commit it.
func (s *fileSink) flush() {
	if len(s.b.items) == 0 {
		return
	}
	s.b.read = s.sinceLast()
	select {
	case s.file.batches <- s.b:
	case <-s.ctx.Done():
	}
	select {
	case s.b = <-s.file.free:
	default:
		s.b = newBatch()
	}
}
