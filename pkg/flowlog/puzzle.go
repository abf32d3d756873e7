package flowlog

import (
	"fmt"
	"slices"
	"strconv"
)

// minPuzzle is the smallest sample of lines with packets from which an unknown
// layout is worked out.
const minPuzzle = 8

// enoughPuzzle is a sample that more lines would hardly tell more than.
const enoughPuzzle = 64

// marks are the columns that their values name by themselves. Their order is
// that of the tests: a value that fits several belongs to the first.
var marks = [...]string{
	"action", "log-status", "flow-direction", "type", "interface-id", "vpc-id", "subnet-id", "instance-id", "az-id", "region",
}

// grid is a sample of lines of one layout, as columns.
type grid struct {
	rows [][][]byte
	name []string // of each column; "" is not known yet
	nums []int    // columns of unnamed numbers
}

// puzzle infers a layout that is in no list: columns are named by the shape of
// their values, and the numbers by the only assignment under which every line is
// possible. Where two assignments remain it asks.
func puzzle(rows [][][]byte) verdict {
	g := grid{rows: flowRows(rows)}
	if len(g.rows) < minPuzzle {
		return verdict{doubt: fmt.Sprintf("no known layout fits, and lines with ACCEPT or REJECT to work it out of are too few, %d", len(g.rows))}
	}
	g.name = make([]string, len(g.rows[0]))
	if doubt := g.byShape(); doubt != "" {
		return verdict{doubt: doubt}
	}
	found, doubt := g.numbers()
	if doubt != "" {
		return verdict{doubt: doubt}
	}
	return g.verdict(found, false, fmt.Sprintf("worked out of %d lines: no other order of the numbers is possible in all of them", len(g.rows)))
}

// verdict orients the pairs of the named columns and makes the layout.
func (g *grid) verdict(names []string, documented bool, why string) verdict {
	names, proved, more, doubt := orient(names, g.rows, documented)
	if doubt != "" {
		return verdict{doubt: "no known layout fits, and " + doubt}
	}
	sure := g.enough(names)
	f, err := newFormat(unnamed(names))
	if err != nil {
		return verdict{doubt: err.Error()}
	}
	v := verdict{format: f, sure: sure, early: sure, confidence: 80, why: why + more}
	if proved {
		v.confidence = 95
	}
	return v
}

// additions names the columns from one on, where their values do. Two columns
// that could both be one field, or one that could be two fields, are a doubt.
func (g *grid) additions(from int) (doubt string) {
	var addrs []int
	for c := from; c < len(g.name); c++ {
		switch {
		case g.all(c, func(v []byte) bool { return shaped("srcaddr", v) }):
			addrs = append(addrs, c)
		case len(g.rows) >= minPuzzle && !slices.Contains(g.name, "tcp-flags") && g.all(c, digits) && g.flags(c):
			g.name[c] = "tcp-flags"
		case !g.all(c, digits):
			if doubt := g.mark(c, from); doubt != "" {
				return doubt
			}
		}
	}
	if len(addrs) == 2 {
		g.name[addrs[0]], g.name[addrs[1]] = "pkt-srcaddr", "pkt-dstaddr"
	}
	return ""
}

// enough reports whether more lines could hardly name more columns.
func (g *grid) enough(names []string) bool {
	return len(g.rows) >= minPuzzle && (!slices.Contains(names, "") || len(g.rows) >= enoughPuzzle)
}

// unnamed gives the columns without a name one by their number.
func unnamed(names []string) []string {
	for i := range names {
		if names[i] == "" {
			names[i] = "field-" + strconv.Itoa(i+1)
		}
	}
	return names
}

// longer infers a layout that begins with AWS's default fields and goes on, as
// the console makes it of the default and a few additions. The additions are
// named where their values do; the others stay unknown fields.
func longer(rows [][][]byte) verdict {
	base := V2()
	g := grid{rows: flowRows(rows)}
	if len(g.rows) == 0 || len(g.rows[0]) <= base.Len() {
		return verdict{}
	}
	g.name = make([]string, len(g.rows[0]))
	copy(g.name, base.Names())
	for _, r := range g.rows {
		if base.fits(r[:base.Len()]) != fitsFull {
			return verdict{}
		}
	}
	if doubt := g.additions(base.Len()); doubt != "" {
		return verdict{doubt: doubt}
	}
	return g.longer()
}

// longer makes the layout of a sample that begins like the default. Its 14
// fields are in the documented order; that of a pair behind them must show.
func (g *grid) longer() verdict {
	if i := slices.Index(g.name, "pkt-srcaddr"); i >= 0 {
		w := witness{rows: g.rows, names: g.name}
		if w.packets() == orderOpen {
			return verdict{doubt: undecided(g.name, []string{"pkt-srcaddr and pkt-dstaddr"}, len(g.rows))}
		}
	}
	return g.verdict(g.name, true, fmt.Sprintf("all of %d lines with packets begin with the 14 fields of the default layout; what follows was named where its values tell", len(g.rows)))
}

// nearest finds the known layout that a single damaged line most likely has:
// as many fields, and all but two of the right shape at most.
func nearest(known []*Format, row [][]byte) *Format {
	const tolerated = 2
	var best *Format
	bestBad := tolerated + 1
	for _, f := range known {
		if f.Len() != len(row) || f.Len() <= 3*tolerated {
			continue
		}
		bad := 0
		for i := range row {
			if !shaped(f.cols[i].name, row[i]) {
				bad++
			}
		}
		if bad < bestBad {
			best, bestBad = f, bad
		} else if bad == bestBad {
			best = nil
		}
	}
	return best
}

// flowRows returns the lines with packets that have the most common number of
// values, if these are nearly all.
func flowRows(rows [][][]byte) [][][]byte {
	counts := make([]int, maxColumns+2)
	total, best := 0, 0
	flows := make([][][]byte, 0, len(rows))
	for _, r := range rows {
		if slices.ContainsFunc(r, func(v []byte) bool { return string(v) == "ACCEPT" || string(v) == "REJECT" }) {
			flows = append(flows, r)
			total++
			if counts[len(r)]++; counts[len(r)] > counts[best] {
				best = len(r)
			}
		}
	}
	if 5*counts[best] < 4*total {
		return nil
	}
	return slices.DeleteFunc(flows, func(r [][]byte) bool { return len(r) != best })
}

// all reports whether every value of a column that is not "-" passes, and one
// at least is there.
func (g *grid) all(col int, ok func([]byte) bool) bool {
	some := false
	for _, r := range g.rows {
		if string(r[col]) == "-" {
			continue
		}
		if !ok(r[col]) {
			return false
		}
		some = true
	}
	return some
}

// byShape names what the values name, and says what stands in the way.
func (g *grid) byShape() (doubt string) {
	var addrs, times []int
	for c := range g.name {
		switch {
		case c == 0 && g.all(c, func(v []byte) bool { return shaped("version", v) && string(v) == string(g.rows[0][0]) }):
			g.name[c] = "version"
		case g.all(c, func(v []byte) bool { return shaped("srcaddr", v) }):
			addrs = append(addrs, c)
		case g.all(c, func(v []byte) bool { return len(v) == 10 && shaped("start", v) }):
			times = append(times, c)
		case g.all(c, func(v []byte) bool { return len(v) == 12 && digits(v) || string(v) == "unknown" }):
			doubt = g.take(c, 0, "account-id")
		case g.all(c, digits):
			g.nums = append(g.nums, c)
		default:
			doubt = g.mark(c, 0)
		}
		if doubt != "" {
			return "no known layout fits, and " + doubt
		}
	}
	if doubt := g.times(times); doubt != "" {
		return doubt
	}
	return g.addresses(addrs)
}

// mark names a column whose values do so by themselves.
func (g *grid) mark(col, from int) (doubt string) {
	for _, name := range marks {
		if g.all(col, func(v []byte) bool { return shaped(name, v) }) {
			return g.take(col, from, name)
		}
	}
	return ""
}

// take gives a column a name. Another column that has it is a doubt, unless it
// stands before from, where the layout is known: then this one is something else
// of the same shape and stays an unknown field.
func (g *grid) take(col, from int, name string) (doubt string) {
	if g.nextHop(name) && slices.ContainsFunc(g.rows, func(r [][]byte) bool { return string(r[col]) == "-" }) {
		return "" // which of the two it is does not show, so it is kept as text
	}
	switch i := slices.Index(g.name, name); {
	case i < 0:
		g.name[col] = name
	case i >= from:
		return fmt.Sprintf("columns %d and %d both look like %s", i+1, col+1, name)
	}
	return ""
}

// nextHop reports whether a column that looks like name could be its next-hop-
// twin of version 11, which is "-" when the next hop is outside. The value of
// version is the highest among a log's fields.
func (g *grid) nextHop(name string) bool {
	switch name {
	case "interface-id", "vpc-id", "subnet-id", "az-id":
		return g.name[0] != "version" || value64(g.rows[0][0]) >= 11
	}
	return false
}

func (g *grid) times(cols []int) (doubt string) {
	if len(cols) != 2 {
		return fmt.Sprintf("no known layout fits, and %d columns look like times where start and end are expected", len(cols))
	}
	a, b := cols[0], cols[1]
	forward, backward := true, true // in every line
	for _, r := range g.rows {
		forward = forward && value64(r[a]) <= value64(r[b])
		backward = backward && value64(r[b]) <= value64(r[a])
	}
	switch {
	case forward && backward:
		return fmt.Sprintf("no known layout fits, and columns %d and %d are start and end in one order or the other, and equal in all of %d lines", a+1, b+1, len(g.rows))
	case forward:
		g.name[a], g.name[b] = "start", "end"
	case backward:
		g.name[a], g.name[b] = "end", "start"
	default:
		return fmt.Sprintf("no known layout fits, and columns %d and %d, of times, are in no constant order", a+1, b+1)
	}
	return ""
}

// addresses names the columns of addresses in the usual order, which orient
// judges. Of two pairs it can not be told which is pkt-srcaddr and pkt-dstaddr:
// they are equal but where the interface forwards.
func (g *grid) addresses(cols []int) (doubt string) {
	switch len(cols) {
	case 2:
		g.name[cols[0]], g.name[cols[1]] = "srcaddr", "dstaddr"
		return ""
	case 4:
		return fmt.Sprintf("no known layout fits, and of the addresses in columns %d, %d, %d and %d it can not be told which are srcaddr and dstaddr and which pkt-srcaddr and pkt-dstaddr", cols[0]+1, cols[1]+1, cols[2]+1, cols[3]+1)
	}
	return fmt.Sprintf("no known layout fits, and %d columns look like addresses where 2 are expected", len(cols))
}

// maxNums bounds the search: AWS has seven fields of plain numbers.
const maxNums = 8

// numbers tries every assignment of srcport, dstport, protocol, packets and
// bytes to the unnamed numbers.
func (g *grid) numbers() (names []string, doubt string) {
	n := len(g.nums)
	if n < 5 || n > maxNums {
		return nil, fmt.Sprintf("no known layout fits, and %d columns are plain numbers where ports, protocol, packets and bytes are expected", n)
	}
	for pick := range n * n * n * n * n {
		try := [5]int{pick % n, pick / n % n, pick / n / n % n, pick / n / n / n % n, pick / n / n / n / n}
		if try[0] > try[1] || !distinct(try) || !g.possible(try) || !g.explained(try) {
			continue // which of two ports is the source's is for orient
		}
		list := g.assign(try)
		if names != nil {
			return nil, fmt.Sprintf("no known layout fits, and at least two do that would be read differently: %q and %q", layoutText(names), layoutText(list))
		}
		names = list
	}
	if names == nil {
		return nil, "no known layout fits, and under no order of the numbers are all lines possible"
	}
	return names, ""
}

func distinct(a [5]int) bool {
	for i := range a {
		if slices.Contains(a[i+1:], a[i]) {
			return false
		}
	}
	return true
}

// possible reports whether every line can be a flow under an assignment:
// srcport, dstport, protocol, packets, bytes.
func (g *grid) possible(a [5]int) bool {
	for _, r := range g.rows {
		var v [5]uint64
		for k := range a {
			text := r[g.nums[a[k]]]
			if text[0] == '-' {
				return false
			}
			v[k] = value64(text)
		}
		if v[0] > 65535 || v[1] > 65535 || v[2] > 255 || v[3] == 0 || !plausible(v[3], v[4]) {
			return false
		}
		if !carried(uint8(v[2]), v[0], v[1]) {
			return false
		}
	}
	return true
}

// carried reports whether a protocol of real traffic (IANA) can have the ports.
func carried(protocol uint8, src, dst uint64) bool {
	switch protocol {
	case 6, 17:
		return src != 0 || dst != 0
	case 1, 58:
		return src == 0 && dst == 0
	case 2, 4, 41, 46, 47, 50, 51, 88, 89, 103, 112, 115, 132, 136:
		return true
	}
	return false
}

// explained reports whether the numbers that an assignment leaves over can be
// something else that AWS writes: tcp-flags, a traffic path or status, which are
// small, or a version or tag, which are constant.
func (g *grid) explained(a [5]int) bool {
	for k, c := range g.nums {
		small, constant := true, true
		for _, r := range g.rows {
			small = small && value64(value(r, c)) <= 8
			constant = constant && string(r[c]) == string(g.rows[0][c])
		}
		if !slices.Contains(a[:], k) && !small && !constant && !g.flags(c) {
			return false
		}
	}
	return true
}

// assign names all columns, the remaining numbers by what only they can be:
// tcp-flags show a SYN-ACK, which no traffic path or status has.
func (g *grid) assign(a [5]int) []string {
	out := slices.Clone(g.name)
	for k, name := range [5]string{"srcport", "dstport", "protocol", "packets", "bytes"} {
		out[g.nums[a[k]]] = name
	}
	for _, c := range g.nums {
		if out[c] == "" && !slices.Contains(out, "tcp-flags") && g.flags(c) {
			out[c] = "tcp-flags"
		}
	}
	return out
}

// flags reports whether a column can only be tcp-flags.
func (g *grid) flags(col int) bool {
	synack := false
	for _, r := range g.rows {
		if string(r[col]) == "-" {
			continue
		}
		v := value64(r[col])
		if v&^23 != 0 || v&16 != 0 && v&2 == 0 {
			return false
		}
		synack = synack || v&16 != 0
	}
	return synack
}
