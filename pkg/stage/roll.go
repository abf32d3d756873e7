package stage

import "time"

// roller paces the rolling snapshots of a slot: bucket after bucket, a little
// with each commit, so that a round takes the snapshot period of wall time or
// the snapshot records of input, whichever ends first. When a bucket is written
// changes nothing that is put out: pacing may read a clock.
type roller struct {
	w      *foldWorker
	last   time.Time
	credit float64 // buckets that are due
	part   int     // the next bucket to write
	bucket int
	buf    snapshotBuffer
	wrote  map[int32][]int64 // wall milliseconds of each bucket's last snapshot
}

// fill writes the buckets that are due, as far as tx has room.
func (r *roller) fill(tx *Tx, turns int) {
	w, cfg := r.w, &r.w.st.cfg
	now := cfg.Now()
	total := float64(len(w.parts) * w.fold.Buckets())
	r.credit += total * (float64(now.Sub(r.last))/float64(cfg.SnapshotPeriod) + float64(turns)/float64(cfg.SnapshotRecords))
	r.credit = min(r.credit, total)
	r.last = now
	for ; r.credit >= 1 && !tx.Full(); r.credit-- {
		p := w.parts[r.part]
		if w.lived[p.id] && !p.mark.active && p.buckets[r.bucket].dirty {
			w.snapshot(p, r.bucket, tx)
		}
		// Partition by partition within a bucket number: the oldest snapshots of
		// the partitions then age alike.
		if r.part++; r.part == len(w.parts) {
			r.part = 0
			r.bucket = (r.bucket + 1) % w.fold.Buckets()
		}
	}
}

// at notes that a bucket was written now.
func (r *roller) at(p int32, bucket int) {
	if r.wrote == nil {
		r.wrote = map[int32][]int64{}
	}
	if r.wrote[p] == nil {
		r.wrote[p] = make([]int64, r.w.fold.Buckets())
	}
	r.wrote[p][bucket] = r.w.st.cfg.Now().UnixMilli()
}

// oldest is when the oldest snapshot of a partition was written by this owner;
// 0 while one of its buckets has none.
func (r *roller) oldest(p int32) int64 {
	times := r.wrote[p]
	if times == nil {
		return 0
	}
	low := times[0]
	for _, t := range times {
		low = min(low, t)
	}
	return low
}
