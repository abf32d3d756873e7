package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// Files reads flow logs, several merged by time, as ingest and sessionize
// would, in memory.
type Files struct {
	Paths  []string // "-" is standard input
	Stdin  io.Reader
	Config flowlog.Config
	Owners flowlog.OwnersConfig // the zero value learns what is ours
	// Sessions says whether records are made into sessions; else each is given
	// to the sink as it is.
	Sessions bool
	// Clock is told how far the sessions are final; nil if nobody asks.
	Clock func(flow.Time)
	// Progress is told bytes read and of how many (0: not known); may be nil.
	Progress func(done, total int64)

	// Records and Rejects count what was read.
	Records, Rejects int64
	FirstReject      string
}

// Lateness is how many seconds the clock stays behind the newest end that was
// read: an aggregation interval of a minute and five minutes, as in ingest.
const Lateness = 360

// batch is how many records travel between a reader and the merge at once.
const batch = 512

type fileReader struct {
	path    string
	out     chan []flow.Record
	newest  flow.Time
	pending []flow.Record
	done    bool
	err     error
}

// Run reads everything and gives it to the sink. It ends early, without an
// error, when the sink has enough, and with ctx's error when that ends.
func (f *Files) Run(ctx context.Context, sink Sink) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	owners, err := flowlog.NewOwners(f.Owners)
	if err != nil {
		return err
	}
	total := f.size()
	var read counter
	var readers []*fileReader
	for _, p := range f.Paths {
		r := &fileReader{path: p, out: make(chan []flow.Record, 2), newest: flow.MinTime}
		readers = append(readers, r)
		go f.read(inner, r, &read)
	}
	m := &merge{files: f, sink: sink, owners: owners, table: session.NewTable(session.Default())}
	err = m.run(ctx, readers, func() {
		if f.Progress != nil {
			f.Progress(read.load(), total)
		}
	})
	cancel()
	for _, r := range readers { // they stop at once and leave their channel closed
		if r.path == "-" {
			continue // nobody can end a read of a terminal or a pipe that says nothing
		}
		for range r.out {
		}
	}
	if errors.Is(err, ErrEnough) {
		return nil
	}
	return err
}

func (f *Files) size() (total int64) {
	for _, p := range f.Paths {
		st, err := os.Stat(p)
		if err != nil || !st.Mode().IsRegular() {
			return 0
		}
		total += st.Size()
	}
	return total
}

// read decodes one file into batches.
func (f *Files) read(ctx context.Context, r *fileReader, done *counter) {
	defer close(r.out)
	in := f.Stdin
	if r.path != "-" {
		file, err := os.Open(r.path)
		if err != nil {
			r.err = err
			return
		}
		defer file.Close()
		in = file
	}
	d, err := flowlog.New(f.Config)
	if err != nil {
		r.err = err
		return
	}
	s := &batcher{ctx: ctx, r: r}
	if file, ok := in.(*os.File); ok && isParquet(file) {
		st, err := file.Stat()
		if err == nil {
			err = d.Parquet(&stoppable{file, ctx}, st.Size(), flow.Origin{Source: r.path}, s)
		}
		r.err = err
	} else {
		r.err = d.Stream(&countingReader{in, done, ctx}, flow.Origin{Source: r.path}, s)
	}
	s.flush()
	if r.err != nil {
		r.err = fmt.Errorf("%s: %w", r.path, r.err)
	}
}

// stoppable is a file that can not be read any more once its context ends.
type stoppable struct {
	file io.ReaderAt
	ctx  context.Context
}

// ReadAt implements io.ReaderAt.
func (s *stoppable) ReadAt(b []byte, off int64) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.file.ReadAt(b, off)
}

func isParquet(f *os.File) bool {
	var magic [4]byte
	n, err := f.ReadAt(magic[:], 0)
	return err == nil && n == 4 && string(magic[:]) == "PAR1"
}

// batcher is the sink of a decoder.
type batcher struct {
	ctx  context.Context
	r    *fileReader
	list []flow.Record
}

// Record implements flowlog.Sink.
func (b *batcher) Record(r *flow.Record) {
	if b.list = append(b.list, r.Clone()); len(b.list) >= batch {
		b.flush()
	}
}

// Reject implements flowlog.Sink: a reject travels as a record of no version
// whose text says why.
func (b *batcher) Reject(j *flowlog.Reject) {
	b.list = append(b.list, flow.Record{Kind: rejected, InstanceID: fmt.Sprintf("%s line %d: %s", b.r.path, j.Origin.Line, j.Reason)})
}

// rejected marks a batch entry that is no record.
const rejected flow.Kind = 255

func (b *batcher) flush() {
	if len(b.list) == 0 {
		return
	}
	select {
	case b.r.out <- b.list:
	case <-b.ctx.Done():
	}
	b.list = nil
}

// merge takes records from the reader that is furthest behind, so that one
// clock serves all of them.
type merge struct {
	files  *Files
	sink   Sink
	owners *flowlog.Owners
	table  *session.Table
	err    error
	line   int64
}

func (m *merge) run(ctx context.Context, readers []*fileReader, tick func()) error {
	for {
		r, err := behind(ctx, readers)
		if err != nil {
			return err
		}
		if r == nil {
			break
		}
		for i := range r.pending {
			m.record(&r.pending[i], r)
			if m.err != nil {
				return m.err
			}
		}
		r.pending = nil
		tick()
		m.advance(readers)
	}
	if m.files.Sessions {
		m.table.Advance(flow.MaxTime, m.emit, nil)
		if m.files.Clock != nil {
			m.files.Clock(flow.MaxTime)
		}
	}
	tick()
	return m.err
}

// behind returns the reader whose newest record is the oldest, with a batch
// pending, or nil when all are done.
func behind(ctx context.Context, readers []*fileReader) (*fileReader, error) {
	var last *fileReader
	for _, r := range readers {
		if r.pending == nil && !r.done {
			select {
			case list, ok := <-r.out:
				r.pending, r.done = list, !ok
				if !ok && r.err != nil {
					return nil, r.err
				}
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if !r.done && (last == nil || r.newest < last.newest) {
			last = r
		}
	}
	return last, nil
}

func (m *merge) record(r *flow.Record, from *fileReader) {
	if r.Kind == rejected {
		m.files.Rejects++
		if m.files.FirstReject == "" {
			m.files.FirstReject = r.InstanceID
		}
		return
	}
	m.files.Records++
	from.newest = max(from.newest, r.End)
	m.owners.Stamp(r)
	if !m.files.Sessions {
		m.err = m.sink.Flow(r)
		return
	}
	m.line++
	m.table.Observe(r, 0, m.line, m.emit)
}

func (m *merge) emit(e *session.Event) {
	if m.err == nil {
		m.err = m.sink.Event(e, Position{})
	}
}

func (m *merge) advance(readers []*fileReader) {
	clock := flow.MaxTime
	for _, r := range readers {
		if !r.done {
			clock = min(clock, r.newest)
		}
	}
	if clock == flow.MaxTime || clock == flow.MinTime || !m.files.Sessions || m.err != nil {
		return
	}
	clock = clock.Add(-Lateness)
	m.table.Advance(clock, m.emit, nil)
	if m.files.Clock != nil {
		m.files.Clock(clock.Add(-session.Default().Active))
	}
}
