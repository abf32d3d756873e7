package session

import "github.com/flowstitch/flowstitch/pkg/flow"

// AppendKey appends the state of the sessions of one key as a changelog would
// hold it, with the points that they name, since a record must stand alone.
func (t *Table) AppendKey(b []byte, k *flow.Key) []byte {
	w := writer{t: t, b: b, number: make([]uint32, len(t.pool.infos))}
	for _, i := range t.sessionsOf(hashKey(k), k) {
		w.entry(i)
	}
	for _, i := range w.order {
		w.b = t.pool.infos[i].appendAfter(w.b, &info{})
	}
	return w.b
}
