package flowlog

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
)

// minPuzzle is the smallest sample of lines with packets from which an unknown
// layout is worked out.
const minPuzzle = 8

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
// possible. It takes for granted that srcport and dstport stand side by side in
// that order, and so do the addresses; where two assignments remain it asks.
func puzzle(rows [][][]byte) verdict {
	g := grid{rows: flowRows(rows)}
	if len(g.rows) < minPuzzle {
		return verdict{doubt: fmt.Sprintf("no known layout fits, and lines with packets to work it out of are too few, %d", len(g.rows))}
	}
	g.name = make([]string, len(g.rows[0]))
	if doubt := g.byShape(); doubt != "" {
		return verdict{doubt: doubt}
	}
	found, doubt := g.numbers()
	if doubt != "" {
		return verdict{doubt: doubt}
	}
	sure := g.enough(found)
	f, err := newFormat(unnamed(found))
	if err != nil {
		return verdict{doubt: err.Error()}
	}
	return verdict{format: f, sure: sure, early: sure, confidence: 80,
		why: fmt.Sprintf("worked out of %d lines: if the source stands before the destination, no other order of the numbers is possible in all of them", len(g.rows))}
}

// additions names the columns from one on, where their values do.
func (g *grid) additions(from int) {
	var addrs []int
	for c := from; c < len(g.name); c++ {
		switch {
		case g.all(c, func(v []byte) bool { return shaped("srcaddr", v) }):
			addrs = append(addrs, c)
		case len(g.rows) >= minPuzzle && !slices.Contains(g.name, "tcp-flags") && g.all(c, digits) && g.flags(c):
			g.name[c] = "tcp-flags"
		case !g.all(c, digits):
			g.mark(c)
		}
	}
	if len(addrs) == 2 && addrs[1] == addrs[0]+1 {
		g.name[addrs[0]], g.name[addrs[1]] = "pkt-srcaddr", "pkt-dstaddr"
	}
}

// enough reports whether more lines could hardly name more columns.
func (g *grid) enough(names []string) bool {
	return len(g.rows) >= minPuzzle && (!slices.Contains(names, "") || len(g.rows) >= maxWaiting/4)
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
		if ok, evidence := base.fits(r[:base.Len()]); !ok || !evidence {
			return verdict{}
		}
	}
	g.additions(base.Len())
	sure := g.enough(g.name)
	f, err := newFormat(unnamed(g.name))
	if err != nil {
		return verdict{}
	}
	return verdict{format: f, sure: sure, early: sure, confidence: 80,
		why: fmt.Sprintf("all of %d lines with packets begin with the 14 fields of the default layout; what follows was named where its values tell", len(g.rows))}
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
			g.take(c, "account-id")
		case g.all(c, digits):
			g.nums = append(g.nums, c)
		default:
			g.mark(c)
		}
	}
	if doubt := g.times(times); doubt != "" {
		return doubt
	}
	return g.addresses(addrs)
}

// mark names a column whose values do so by themselves.
func (g *grid) mark(col int) {
	for _, name := range marks {
		if g.all(col, func(v []byte) bool { return shaped(name, v) }) {
			g.take(col, name)
			return
		}
	}
}

// take gives a column a name, unless another column has it already: then what
// the second one is can not be told and it stays an unknown field.
func (g *grid) take(col int, name string) {
	if !slices.Contains(g.name, name) {
		g.name[col] = name
	}
}

func (g *grid) times(cols []int) (doubt string) {
	if len(cols) != 2 {
		return fmt.Sprintf("no known layout fits, and %d columns look like times where start and end are expected", len(cols))
	}
	a, b := cols[0], cols[1]
	forward, backward := true, true
	for _, r := range g.rows {
		forward = forward && value64(r[a]) <= value64(r[b])
		backward = backward && value64(r[b]) <= value64(r[a])
	}
	switch {
	case forward:
		g.name[a], g.name[b] = "start", "end"
	case backward:
		g.name[a], g.name[b] = "end", "start"
	default:
		return "two columns of times are in no constant order"
	}
	return ""
}

func (g *grid) addresses(cols []int) (doubt string) {
	switch len(cols) {
	case 2:
		g.name[cols[0]], g.name[cols[1]] = "srcaddr", "dstaddr"
		return ""
	case 4:
		for _, r := range g.rows {
			if !bytes.Equal(r[cols[0]], r[cols[2]]) || !bytes.Equal(r[cols[1]], r[cols[3]]) {
				return "of two pairs of addresses that differ it can not be told which is pkt-srcaddr and pkt-dstaddr"
			}
		}
		g.name[cols[0]], g.name[cols[1]] = "srcaddr", "dstaddr"
		g.name[cols[2]], g.name[cols[3]] = "pkt-srcaddr", "pkt-dstaddr"
		return ""
	}
	return fmt.Sprintf("no known layout fits, and %d columns look like addresses where 2 or 4 are expected", len(cols))
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
	var first string
	for p := 0; p+1 < n; p++ {
		if g.nums[p+1] != g.nums[p]+1 {
			continue // the ports stand side by side
		}
		for pick := range n * n * n {
			try := [5]int{p, p + 1, pick / n / n, pick / n % n, pick % n}
			if !distinct(try) || !g.possible(try) {
				continue
			}
			list := g.assign(try)
			if names != nil {
				return nil, fmt.Sprintf("no known layout fits, and at least two do that would be read differently: %q and %q", first, fmt.Sprint(list))
			}
			names, first = list, fmt.Sprint(list)
		}
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
		if !fitting(uint8(v[2]), v[0], v[1]) {
			return false
		}
	}
	return true
}

// fitting reports whether a protocol of real traffic (IANA) can have the ports.
func fitting(protocol uint8, src, dst uint64) bool {
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
