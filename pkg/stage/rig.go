package stage

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/cespare/xxhash/v2"
)

// Rig is test support for folds. It runs one partition over a log in memory and
// crashes it at random: before a commit, after it, in the middle of a mark that
// closes many entries. It is what the loop does, without Kafka, so that
// thousands of crashes take seconds; after each it compares the state recovered
// with the state lost, to the byte.
type Rig struct {
	Log     []Message // offsets from 0 without gaps
	Input   string    // logical topic of Log
	Outputs []string  // logical topics that the fold emits to
	Build   func(config []byte) (Fold, error)
	Configs [][]byte // a crash may move on to the next
	Rand    *rand.Rand
	// MaxRecords and TxBytes bound a transaction, SnapshotEvery is the chance in
	// percent of a bucket being written with a commit.
	MaxRecords, TxBytes, SnapshotPercent int
	// CrashPercent is the chance of a crash around a commit.
	CrashPercent int
	// Graceful hands over in order instead of crashing.
	Graceful bool

	// What a Run found: the output committed, and what happened on the way.
	Output   []Produced
	Crashes  int
	Refolded int
	Switched []Switch

	ledger map[string][]byte
	folds  []Fold
	config int
	first  int    // the configuration of the first commit
	lost   []byte // the state as of the last commit; nil in the middle of a mark
}

// Switch is an offset at which a configuration took effect.
type Switch struct {
	Offset int64
	Config int
}

// Produced is an output record.
type Produced struct {
	Topic, Key, Value string
	Partition         int32
}

func (r *Rig) current() (Fold, uint64) { return r.folds[r.config], xxhash.Sum64(r.Configs[r.config]) }

// build makes the folds of all configurations.
func (r *Rig) build() error {
	r.folds = nil
	for _, c := range r.Configs {
		f, err := r.Build(c)
		if err != nil {
			return err
		}
		r.folds = append(r.folds, f)
	}
	return nil
}

func (r *Rig) old(hash uint64) (Fold, error) {
	c, ok := r.ledger[nameConfig(hash)]
	if !ok {
		return nil, errors.New("configuration not in the ledger")
	}
	return r.Build(c)
}

func (r *Rig) newTx() *Tx {
	return r.txOf(r.TxBytes)
}

// rigPartitions is what each output topic of a Rig has; the input partition is
// number rigPartition.
const rigPartitions, rigPartition = 4, 2

func (r *Rig) txOf(size int) *Tx {
	counts := map[string]int32{RejectsTopic: 1}
	for _, t := range r.Outputs {
		counts[t] = rigPartitions
	}
	return newTx("rig", &Topics{}, counts, size)
}

// Run folds the whole log, crashing as configured.
func (r *Rig) Run() error {
	r.ledger = map[string][]byte{}
	if err := r.build(); err != nil {
		return err
	}
	for {
		done, err := r.life()
		if err != nil || done {
			return err
		}
		r.Crashes++
		if r.config+1 < len(r.Configs) && r.Rand.IntN(4) == 0 {
			r.config++
		}
	}
}

// life is one owner's time: from restore to the end of the log or a crash.
func (r *Rig) life() (done bool, err error) {
	p, err := restore(rigPartition, [16]byte{1}, r.Input, r.ledger, r, 0)
	if err != nil {
		return false, err
	}
	tx := r.newTx()
	if err := r.recover(p, tx); err != nil {
		return false, err
	}
	moved := false
	for int(p.offset) < len(r.Log) {
		if moved, err = r.fill(p, tx, moved); err != nil {
			return false, err
		}
		if r.Rand.IntN(100) < r.CrashPercent {
			if r.Graceful {
				return false, r.drain(p, tx)
			}
			return false, nil // before the commit
		}
		if err := r.commit(p, tx); err != nil {
			return false, err
		}
		if !r.Graceful && r.Rand.IntN(100) < r.CrashPercent {
			return false, nil // after it
		}
		tx = r.newTx()
	}
	if tx.Records() > 0 { // the log's last mark was finished by recover
		return true, r.commit(p, tx)
	}
	return true, nil
}

// fill folds some records into tx. moved tells that a change of configuration
// has taken effect; it does so at the first offset where no mark is unfinished.
func (r *Rig) fill(p *partition, tx *Tx, moved bool) (bool, error) {
	for n := r.Rand.IntN(r.MaxRecords) + 1; n > 0 && !tx.Full() && int(p.offset) < len(r.Log); n-- {
		if !moved && !p.mark.active {
			moved = true
			if err := r.reconfigure(p, tx); err != nil {
				return moved, err
			}
		}
		if _, err := p.step(&r.Log[p.offset], tx); err != nil {
			return moved, err
		}
	}
	return moved, nil
}

// recover refolds and compares with what was lost.
func (r *Rig) recover(p *partition, tx *Tx) error {
	for p.refolding() {
		if _, err := p.step(&r.Log[p.offset], tx); err != nil {
			return err
		}
		r.Refolded++
	}
	if r.lost != nil && !p.mark.active && tx.Records() == 0 {
		if got := state(p); !bytes.Equal(got, r.lost) {
			return fmt.Errorf("state recovered at offset %d differs from the one lost (%d and %d bytes)", p.offset, len(got), len(r.lost))
		}
	}
	return nil
}

func (r *Rig) reconfigure(p *partition, tx *Tx) error {
	if err := p.reconfigure(r); err != nil {
		return err
	}
	if _, ok := p.switching(); !ok {
		return nil
	}
	r.Switched = append(r.Switched, Switch{p.offset, r.config})
	_, hash := r.current()
	tx.put(nameConfig(hash), r.Configs[r.config])
	for {
		i, ok := p.switching()
		if !ok {
			break
		}
		p.snapshot(i, tx, &snapshotBuffer{})
	}
	if err := r.commit(p, tx); err != nil { // nothing is folded between
		return err
	}
	tx.reset(tx.deadline)
	return nil
}

func (r *Rig) drain(p *partition, tx *Tx) error {
	for !p.finish(tx) {
		if err := r.commit(p, tx); err != nil {
			return err
		}
		tx.reset(tx.deadline)
	}
	for i := range p.buckets {
		r.snapshot(p, i, tx)
	}
	return r.commit(p, tx)
}

func (r *Rig) snapshot(p *partition, i int, tx *Tx) {
	_, hash := r.current()
	tx.put(nameConfig(hash), r.Configs[r.config])
	p.snapshot(i, tx, &snapshotBuffer{})
}

func (r *Rig) commit(p *partition, tx *Tx) error {
	r.lost = nil
	if !p.mark.active {
		for i := range p.buckets {
			if r.Rand.IntN(100) < r.SnapshotPercent {
				r.snapshot(p, i, tx)
			}
		}
		r.lost = state(p)
	}
	if len(r.ledger) == 0 {
		r.first = r.config
	}
	_, hash := r.current()
	tx.put(nameConfig(hash), r.Configs[r.config])
	at := p.position()
	tx.put(namePosition(p.id), at.append(nil))
	if tx.err != nil {
		return tx.err
	}
	for _, l := range tx.ledger {
		if l.Value == nil {
			delete(r.ledger, l.Name)
			continue
		}
		r.ledger[l.Name] = bytes.Clone(l.Value)
	}
	r.Output = append(r.Output, produced(&tx.recs)...)
	return nil
}

func produced(recs *records) (out []Produced) {
	for i := range recs.n {
		k := recs.at(i)
		out = append(out, Produced{k.Topic, string(k.Key), string(k.Value), k.Partition})
	}
	return out
}

// state is everything that a partition is, in bytes.
func state(p *partition) []byte {
	b := p.clock.append(nil)
	b = fmt.Appendf(b, "|%d|%d|%v", p.offset, p.emitted, p.settled)
	for i := range p.buckets {
		b = p.buckets[i].AppendSnapshot(append(b, '|'))
	}
	return b
}

// Reference is the output of one owner that never crashes, with the
// configurations taking effect at the given offsets. Call it after Run.
func (r *Rig) Reference(switched []Switch) ([]Produced, error) {
	if err := r.build(); err != nil {
		return nil, err
	}
	r.ledger, r.config = map[string][]byte{}, r.first
	p, err := restore(rigPartition, [16]byte{1}, r.Input, r.ledger, r, 0)
	if err != nil {
		return nil, err
	}
	tx := r.txOf(1 << 40)
	for i := range r.Log {
		for len(switched) > 0 && switched[0].Offset == p.offset {
			r.config, switched = switched[0].Config, switched[1:]
			if err := p.reconfigure(r); err != nil {
				return nil, err
			}
		}
		if _, err := p.step(&r.Log[i], tx); err != nil {
			return nil, err
		}
	}
	return produced(&tx.recs), tx.err
}
