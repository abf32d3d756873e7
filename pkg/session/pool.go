package session

import (
	"bytes"
	"slices"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flow/packed"
)

// pool interns what records say of their observation point, so that entries
// hold a number for it. Numbers never show: order is always by content.
type pool struct {
	infos  []info
	byText map[string]uint32
	free   []uint32
	recent [256]uint32
	buf    []byte
	unused int
}

// info is an observation point as one record described it: identity (id, log
// group, outer addresses), then attributes.
type info struct {
	id, group        string
	account, vpc     string
	subnet, instance string
	region           string
	outer            [2]flow.Addr // plain addresses of A and B where they differ
	service          [2]string
	tags             []flow.Attr
	refs             int
}

func isTag(name string) bool {
	return strings.HasSuffix(name, "-tag") || strings.HasSuffix(name, "-tag-2")
}

// outers returns the plain addresses of both sides where they differ from the
// ones that the session is known by.
func outers(r *flow.Record, side int) (o [2]flow.Addr) {
	if r.PktSrc.IsValid() && r.PktSrc != r.Src.Addr {
		o[side] = r.Src.Addr
	}
	if r.PktDst.IsValid() && r.PktDst != r.Dst.Addr {
		o[1-side] = r.Dst.Addr
	}
	return o
}

func (i *info) matches(r *flow.Record, side int, outer *[2]flow.Addr) bool {
	if i.refs < 0 || i.id != r.Point() || i.group != r.Origin.LogGroup || i.account != r.AccountID ||
		i.instance != r.InstanceID || i.vpc != r.VPCID || i.subnet != r.SubnetID || i.region != r.Region ||
		i.service[side] != r.SrcService || i.service[1-side] != r.DstService || i.outer != *outer {
		return false
	}
	return i.sameTags(r)
}

func (i *info) sameTags(r *flow.Record) bool {
	n := 0
	for _, a := range r.Attrs {
		if !isTag(a.Name) {
			continue
		}
		if n >= len(i.tags) || i.tags[n] != a {
			return false
		}
		n++
	}
	return n == len(i.tags)
}

// intern returns the number of a record's point without counting a reference.
func (p *pool) intern(r *flow.Record, side int) uint32 {
	outer := outers(r, side)
	id := r.Point()
	slot := uint8(len(id))
	if n := len(id); n >= 4 {
		slot ^= id[n-1] ^ id[n-2]<<3 ^ id[n-3]<<5 ^ id[n-4]<<6
	}
	if i := p.recent[slot]; i != 0 && p.infos[i].matches(r, side, &outer) {
		return i
	}
	i := p.lookup(r, side, &outer)
	p.recent[slot] = i
	return i
}

func (p *pool) lookup(r *flow.Record, side int, outer *[2]flow.Addr) uint32 {
	v := info{
		id: r.Point(), group: r.Origin.LogGroup, account: r.AccountID, vpc: r.VPCID,
		subnet: r.SubnetID, instance: r.InstanceID, region: r.Region, outer: *outer,
	}
	v.service[side], v.service[1-side] = r.SrcService, r.DstService
	for _, a := range r.Attrs {
		if isTag(a.Name) {
			v.tags = append(v.tags, a)
		}
	}
	return p.add(&v)
}

// add returns the number of a described point, new or known.
func (p *pool) add(v *info) uint32 {
	p.buf = v.appendText(p.buf[:0])
	if i, ok := p.byText[string(p.buf)]; ok {
		return i
	}
	if p.byText == nil {
		p.byText = make(map[string]uint32)
		p.infos = make([]info, 1)
	}
	p.sweep()
	c := v.clone()
	p.unused++
	text := string(v.appendText(p.buf[:0]))
	if n := len(p.free); n > 0 {
		i := p.free[n-1]
		p.free = p.free[:n-1]
		p.infos[i], p.byText[text] = c, i
		return i
	}
	p.infos = append(p.infos, c)
	i := uint32(len(p.infos) - 1)
	p.byText[text] = i
	return i
}

func (i *info) clone() info {
	c := *i
	c.refs = 0
	for _, s := range c.texts() {
		*s = strings.Clone(*s)
	}
	c.tags = nil
	for _, a := range i.tags {
		c.tags = append(c.tags, flow.Attr{Name: strings.Clone(a.Name), Value: strings.Clone(a.Value)})
	}
	return c
}

// appendText appends the content, as the pool finds it by.
func (i *info) appendText(b []byte) []byte {
	for _, s := range [...]string{i.id, i.group, i.account, i.vpc, i.subnet, i.instance, i.service[0], i.service[1], i.region} {
		b = packed.AppendText(b, s)
	}
	b = append(b, i.outer[0][:]...)
	b = append(b, i.outer[1][:]...)
	b = packed.AppendUint(b, uint64(len(i.tags)))
	for _, a := range i.tags {
		b = packed.AppendText(packed.AppendText(b, a.Name), a.Value)
	}
	return b
}

// readInfo reads what snapshots of version 1 hold: what appendText writes, less
// the region.
func readInfo(r *packed.Reader) (v info) {
	texts := v.texts()
	for _, s := range texts[:textsV1] {
		*s = r.Text()
	}
	copy(v.outer[0][:], r.Take(16))
	copy(v.outer[1][:], r.Take(16))
	for n := r.Count(); n > 0 && !r.Bad(); n-- {
		v.tags = append(v.tags, flow.Attr{Name: r.Text(), Value: r.Text()})
	}
	return v
}

// texts are the fields of an info that are text.
func (i *info) texts() [9]*string {
	return [...]*string{&i.id, &i.group, &i.account, &i.vpc, &i.subnet, &i.instance, &i.service[0], &i.service[1], &i.region}
}

// textsV1 is how many of them snapshots of version 1 hold.
const textsV1 = 8

// Bits of the number that says in what an info equals the one before, after
// one for each text.
const (
	sameOuter = 1 << 9 // and the next
	sameTags  = 1 << 11
)

// appendAfter appends the content as snapshots hold it: what differs from the
// info before.
func (i *info) appendAfter(b []byte, before *info) []byte {
	same := uint64(0)
	mine, theirs := i.texts(), before.texts()
	for n := range mine {
		if *mine[n] == *theirs[n] {
			same |= 1 << n
		}
	}
	for n := range i.outer {
		if i.outer[n] == before.outer[n] {
			same |= sameOuter << n
		}
	}
	if slices.Equal(i.tags, before.tags) {
		same |= sameTags
	}
	b = packed.AppendUint(b, same)
	for n := range mine {
		if same>>n&1 == 0 {
			b = packed.AppendText(b, *mine[n])
		}
	}
	for n := range i.outer {
		if same&(sameOuter<<n) == 0 {
			b = append(b, i.outer[n][:]...)
		}
	}
	if same&sameTags != 0 {
		return b
	}
	b = packed.AppendUint(b, uint64(len(i.tags)))
	for _, a := range i.tags {
		b = packed.AppendText(packed.AppendText(b, a.Name), a.Value)
	}
	return b
}

// readAfter reads what appendAfter wrote.
func readAfter(r *packed.Reader, before *info) info {
	v := *before
	same := r.Uint(2*sameTags - 1)
	for n, s := range v.texts() {
		if same>>n&1 == 0 {
			*s = r.Text()
		}
	}
	for n := range v.outer {
		if same&(sameOuter<<n) == 0 {
			copy(v.outer[n][:], r.Take(len(v.outer[n])))
		}
	}
	if same&sameTags != 0 {
		return v
	}
	v.tags = nil
	for n := r.Count(); n > 0 && !r.Bad(); n-- {
		v.tags = append(v.tags, flow.Attr{Name: r.Text(), Value: r.Text()})
	}
	return v
}

func (p *pool) hold(i uint32) {
	if p.infos[i].refs++; p.infos[i].refs == 1 {
		p.unused--
	}
}

func (p *pool) drop(i uint32) {
	if p.infos[i].refs--; p.infos[i].refs == 0 {
		p.unused++
	}
}

// sweep forgets unused points once they are most of the pool, so that an
// interface that comes and goes is not interned anew each time.
func (p *pool) sweep() {
	if p.unused < 1024 || p.unused*2 < len(p.infos) {
		return
	}
	for i := 1; i < len(p.infos); i++ {
		if p.infos[i].refs != 0 {
			continue
		}
		p.buf = p.infos[i].appendText(p.buf[:0])
		delete(p.byText, string(p.buf))
		p.infos[i] = info{refs: -1}
		p.free = append(p.free, uint32(i))
	}
	p.unused = 0
}

// samePoint reports whether two numbers name one observation point, whatever
// attributes they came with.
func (p *pool) samePoint(i, j uint32) bool {
	if i == j {
		return true
	}
	a, b := &p.infos[i], &p.infos[j]
	return a.id == b.id && a.group == b.group && a.outer == b.outer
}

// compare orders points by identity, then attributes.
func (p *pool) compare(i, j uint32) int {
	if i == j {
		return 0
	}
	a, b := &p.infos[i], &p.infos[j]
	if c := strings.Compare(a.id, b.id); c != 0 {
		return c
	}
	if c := strings.Compare(a.group, b.group); c != 0 {
		return c
	}
	for i := range a.outer { // no conversion to strings: this is called for each pair of records that are sorted
		if c := bytes.Compare(a.outer[i][:], b.outer[i][:]); c != 0 {
			return c
		}
	}
	return bytes.Compare(a.appendText(nil), b.appendText(nil))
}
