package flowlog

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// The order of a layout's pairs. Source and destination have the same shapes,
// so a layout with a pair exchanged fits the same lines, and reading one for the
// other would turn every session round. What stands here is the rule for it:
//
//   - tcp-flags prove the order of the ports: who sends a SYN has the ephemeral
//     port, who sends a SYN-ACK the service's. flow-direction proves that of the
//     addresses: an interface's own address, the one in all of its records, is
//     the source of what leaves and the destination of what comes in. Addresses
//     that are equal prove that of pkt-srcaddr and pkt-dstaddr.
//   - Where nothing is proved, the order of AWS's default and of the layouts in
//     AWS's documentation is taken as documented.
//   - Any other layout needs the order to be proved, or the usual one to be
//     supported by how traffic goes: what is refused came in, and went to a
//     service; who starts earlier addresses a service. Such support never speaks
//     for an unusual order. Without it the reader asks for configuration.
//
// The roles of ports do not tell those of addresses, nor the other way round:
// exchanging one pair only is the same as taking all servers for clients.

// ordering is what a sample tells of the order of a pair of columns.
type ordering uint8

const (
	orderOpen      ordering = iota // nothing is known
	orderSupported                 // nothing is proved, what is seen suits the usual order
	orderUsual                     // the source stands where the layout has it
	orderExchanged                 // source and destination are exchanged
)

// votes counts what lines say of a pair: for the layout as it is, and for the
// pair exchanged.
type votes struct{ usual, exchanged int }

func (v *votes) add(usual bool) {
	if usual {
		v.usual++
	} else {
		v.exchanged++
	}
}

// Votes that prove an order. The usual one needs few; the other one, which would
// be dear if it were wrong, needs more and nearly no contradiction.
const (
	minUsual     = 3
	minExchanged = 8
)

// proof is the order that votes prove. Traffic has oddities, such as scans from
// port 53, so one vote in ten may be against the usual order, one in twenty
// against the other.
func (v votes) proof() ordering {
	switch {
	case v.usual >= minUsual && v.usual >= 9*v.exchanged:
		return orderUsual
	case v.exchanged >= minExchanged && v.exchanged >= 19*v.usual:
		return orderExchanged
	}
	return orderOpen
}

// witness reads the orders of a layout's pairs out of a sample.
type witness struct {
	rows  [][][]byte
	names []string
	own   map[string]*ownAddress // by interface and family
}

// ownAddress is what is left of the addresses that an interface's records have
// in common; the first record leaves two.
type ownAddress struct {
	group int
	addr  [2]string
}

func (w *witness) col(name string) int { return slices.Index(w.names, name) }

// value is a row's value of a column, "" for "-" and for no column.
func value(row [][]byte, col int) []byte {
	if col < 0 || string(row[col]) == "-" {
		return nil
	}
	return row[col]
}

// rank orders ports by how likely they are a service's: privileged, registered,
// and from 32768 on the ephemeral ones of Linux.
func rank(port uint64) int {
	switch {
	case port < 1024:
		return 0
	case port < 32768:
		return 1
	}
	return 2
}

// service reports whether the service's port is in the second of two columns.
// It is not known when the ports are of one kind.
func service(row [][]byte, first, second int) (inSecond, known bool) {
	a, b := value(row, first), value(row, second)
	if a == nil || b == nil {
		return false, false
	}
	ra, rb := rank(value64(a)), rank(value64(b))
	return rb < ra, ra != rb
}

// ports tells the order of srcport and dstport.
func (w *witness) ports() ordering {
	src, dst, flags, proto := w.col("srcport"), w.col("dstport"), w.col("tcp-flags"), w.col("protocol")
	if src < 0 || dst < 0 {
		return orderUsual // there is no pair
	}
	var syn, answer votes
	for _, r := range w.rows {
		toService, known := service(r, src, dst)
		f := value64(value(r, flags))
		if !known || f&2 == 0 || string(value(r, proto)) != "6" {
			continue
		}
		if f&16 == 0 {
			syn.add(toService)
		} else {
			answer.add(!toService)
		}
	}
	all := votes{syn.usual + answer.usual, syn.exchanged + answer.exchanged}
	proved := all.proof()
	if proved == orderExchanged && (2*syn.exchanged < minExchanged || 2*answer.exchanged < minExchanged) {
		return orderOpen // one scanner with a source port of a service could have done this
	}
	if proved == orderOpen && all.exchanged == 0 && w.towards(src, dst) {
		return orderSupported
	}
	return proved
}

// towards reports whether what is refused, and what starts a conversation, goes
// to services, as is usual.
func (w *witness) towards(src, dst int) bool {
	var v votes
	action, start := w.col("action"), w.col("start")
	pairs := [...][2]int{
		{src, dst}, {w.col("srcaddr"), w.col("dstaddr")}, {w.col("interface-id"), w.col("interface-id")}, {w.col("protocol"), w.col("protocol")},
	}
	for i, r := range w.rows {
		toService, known := service(r, src, dst)
		if !known {
			continue
		}
		if string(value(r, action)) == "REJECT" {
			v.add(toService)
		}
		for _, o := range w.rows[:i] {
			if !replies(r, o, pairs[:]) {
				continue
			}
			if a, b := value64(value(o, start)), value64(value(r, start)); a != b {
				v.add(toService == (b < a))
			}
		}
	}
	return v.proof() == orderUsual
}

// replies reports whether two rows are the two directions of a conversation at
// one interface: each pair of columns exchanged.
func replies(a, b [][]byte, pairs [][2]int) bool {
	for _, p := range pairs {
		if i, j := p[0], p[1]; i >= 0 && (!bytes.Equal(a[i], b[j]) || !bytes.Equal(a[j], b[i])) {
			return false
		}
	}
	return true
}

// addresses tells the order of srcaddr and dstaddr.
func (w *witness) addresses() ordering {
	src, dst, way, action := w.col("srcaddr"), w.col("dstaddr"), w.col("flow-direction"), w.col("action")
	if src < 0 || dst < 0 {
		return orderUsual // there is no pair
	}
	w.learn(src, dst)
	var told, refused votes
	groups := make([]bool, len(w.own)) // whose records speak for an exchange
	for _, r := range w.rows {
		o := w.own[w.group(r, src)]
		if o == nil || o.addr[1] != "" || o.addr[0] == "" {
			continue
		}
		leaves := string(r[src]) == o.addr[0]
		switch string(value(r, way)) {
		case "egress":
			told.add(leaves)
			groups[o.group] = groups[o.group] || !leaves
		case "ingress":
			told.add(!leaves)
			groups[o.group] = groups[o.group] || leaves
		}
		if string(value(r, action)) == "REJECT" {
			refused.add(!leaves)
		}
	}
	proved := told.proof()
	if proved == orderExchanged && len(slices.DeleteFunc(groups, func(b bool) bool { return !b })) < 2 {
		return orderOpen // one interface with several addresses and one peer looks like this
	}
	if proved == orderOpen && told.exchanged == 0 && refused.proof() == orderUsual {
		return orderSupported
	}
	return proved
}

// group names the interface of a row and the family of its addresses; "" where
// there is none.
func (w *witness) group(r [][]byte, src int) string {
	id := value(r, w.col("interface-id"))
	if id == nil || value(r, src) == nil {
		return ""
	}
	if strings.IndexByte(string(r[src]), ':') >= 0 {
		return string(id) + " 6"
	}
	return string(id)
}

// learn finds the own address of each interface: the only one in all its rows.
func (w *witness) learn(src, dst int) {
	w.own = make(map[string]*ownAddress)
	for _, r := range w.rows {
		key := w.group(r, src)
		if key == "" || value(r, dst) == nil {
			continue
		}
		o := w.own[key]
		if o == nil {
			w.own[key] = &ownAddress{group: len(w.own), addr: [2]string{string(r[src]), string(r[dst])}}
			continue
		}
		for k := range o.addr {
			if o.addr[k] != string(r[src]) && o.addr[k] != string(r[dst]) {
				o.addr[k] = ""
			}
		}
		if o.addr[0] == "" {
			o.addr[0], o.addr[1] = o.addr[1], ""
		}
	}
}

// packets tells the order of pkt-srcaddr and pkt-dstaddr, given that of srcaddr
// and dstaddr: at an interface that only forwards, one of them differs at most.
func (w *witness) packets() ordering {
	src, dst, psrc, pdst := w.col("srcaddr"), w.col("dstaddr"), w.col("pkt-srcaddr"), w.col("pkt-dstaddr")
	if psrc < 0 || pdst < 0 {
		return orderUsual // there is no pair
	}
	if src < 0 || dst < 0 {
		return orderOpen
	}
	var v votes
	for _, r := range w.rows {
		straight := string(r[psrc]) == string(r[src]) || string(r[pdst]) == string(r[dst])
		crossed := string(r[psrc]) == string(r[dst]) || string(r[pdst]) == string(r[src])
		if straight != crossed {
			v.add(straight)
		}
	}
	return v.proof()
}

// orient puts the pairs of a layout into the order that the sample proves. doubt
// names both candidates where nothing does and the layout is not a documented
// one; why says what the order rests on.
func orient(names []string, rows [][][]byte, documented bool) (out []string, proved bool, why, doubt string) {
	w := witness{rows: rows, names: slices.Clone(names)}
	var open, assumed []string
	proved = true
	for _, pair := range [...]struct {
		src, dst string
		order    func() ordering
	}{
		{"srcaddr", "dstaddr", w.addresses}, {"srcport", "dstport", w.ports}, {"pkt-srcaddr", "pkt-dstaddr", w.packets},
	} {
		switch pair.order() {
		case orderExchanged:
			i, j := w.col(pair.src), w.col(pair.dst)
			w.names[i], w.names[j] = w.names[j], w.names[i]
		case orderSupported:
			proved = false
			assumed = append(assumed, pair.src+" and "+pair.dst)
		case orderOpen:
			proved = false
			open = append(open, pair.src+" and "+pair.dst)
		case orderUsual:
		}
	}
	switch {
	case len(open) > 0 && !documented:
		return nil, false, "", undecided(w.names, open, len(rows))
	case len(open) > 0:
		why = "; no line tells " + strings.Join(open, ", nor ") + " apart, so their order is taken as AWS documents it"
	case len(assumed) > 0:
		why = "; which is which of " + strings.Join(assumed, ", and of ") + " is not proved, but refused and first packets go the usual way"
	case proved:
		why = "; tcp-flags, flow-direction or equal addresses prove the order of its pairs"
	}
	return w.names, proved, why, ""
}

// undecided says that n lines leave the order of pairs open, with the layouts
// to choose from.
func undecided(names, pairs []string, n int) string {
	more := ""
	if len(pairs) > 1 {
		more = ", and so does either with one pair exchanged"
	}
	return fmt.Sprintf("%d lines do not tell which is which of %s: both %q and %q fit%s",
		n, strings.Join(pairs, ", and of "), layoutText(names), layoutText(exchanged(names, pairs)), more)
}

// exchanged returns names with the given pairs, "a and b", exchanged.
func exchanged(names []string, pairs []string) []string {
	out := slices.Clone(names)
	for _, p := range pairs {
		src, dst, _ := strings.Cut(p, " and ")
		i, j := slices.Index(out, src), slices.Index(out, dst)
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// layoutText writes names in AWS's ${field} syntax, to be pasted into a
// configuration.
func layoutText(names []string) string {
	var b strings.Builder
	for i, n := range unnamed(slices.Clone(names)) {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString("${" + n + "}")
	}
	return b.String()
}
