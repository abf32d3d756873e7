package flowlog

import (
	"fmt"
	"strconv"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// fields builds a record from named values: transformed JSON, Parquet rows.
type fields struct {
	row
	has  uint32 // bit op: the field was there, with a value or without
	n    int    // known fields
	fail failure
	name string // of the field that failed
	text string // its value
}

// start clears f to build into r.
func (f *fields) start(r *flow.Record) {
	r.Reset()
	*f = fields{row: row{rec: r}}
}

// set stores the value of a field. An empty value, like "-", is none.
func (f *fields) set(c *column, v []byte) {
	if c.op != opAttr {
		f.has |= 1 << c.op
	}
	if c.known {
		f.n++
	}
	if len(v) == 0 || string(v) == "-" || !f.fail.ok() {
		return
	}
	wh := whatNone
	if c.op >= opPackets || address(f.rec, c.op) != nil {
		var j int
		if j, wh = f.field(c, v, 0); wh == whatNone && j != len(v) {
			wh = whatNotNumber
		}
	} else {
		f.seen |= 1 << c.op
		wh = f.word(c, str(v))
	}
	if wh != whatNone {
		f.fail = failure{class: wh.class(), col: -1, what: wh, op: c.op}
		f.name, f.text = c.name, string(v[:min(len(v), 80)])
	}
}

// finish checks and delivers the record, and reports whether it was one.
func (d *Decoder) finish(s *source, f *fields) bool {
	layout := Format{has: f.has}
	d.step(s)
	s.seen++
	d.stats.Lines++
	f.settle()
	if f.fail.ok() {
		f.fail = f.check(&layout, s.at, d.cfg.MaxInterval)
	}
	if !f.fail.ok() {
		return false
	}
	d.deliver(s, &layout)
	return true
}

// refuseFields rejects what finish did not take.
func (d *Decoder) refuseFields(s *source, f *fields, raw []byte) {
	reason, field := f.fail.explain(&Format{has: f.has}, nil, f.rec)
	if f.name != "" {
		field = f.name
		reason = fmt.Sprintf("%s: %q is no value of this field", f.name, f.text)
	}
	d.reject(s, Reject{Raw: raw, Class: f.fail.class, Reason: reason, Field: field})
}

// flat takes a JSON object whose names are those of flow log fields, whatever
// the spelling: CloudWatch's parseVPC writes camel case. Values are strings or
// numbers.
func (d *Decoder) flat(s *source, raw []byte) {
	d.flush(s)
	var f fields
	f.start(&d.rec)
	w := walk(raw)
	for name, value, ok := w.field(); ok; name, value, ok = w.field() {
		if value[0] == '{' || value[0] == '[' {
			continue
		}
		sp, known := lookupLoose(str(name))
		c := column{op: sp.op, name: sp.name, known: known}
		text := unquote(value)
		if !known {
			c.name = str(name)
			d.count(c.name, text)
		}
		f.set(&c, text)
	}
	if f.n < 3 {
		d.refuseWhole(s, raw, ClassJSON, "the JSON object is no flow log: it has none of the fields srcaddr, dstaddr, start ... of one")
		return
	}
	d.raw = raw
	if !d.finish(s, &f) {
		d.refuseFields(s, &f, raw)
	}
}

// count counts a value of a field that AWS does not define. The number of names
// is bounded: they come from the input.
func (d *Decoder) count(name string, v []byte) {
	if len(v) == 0 {
		return
	}
	if _, ok := d.unknown[name]; ok {
		d.unknown[name]++
	} else if len(d.unknown) < maxUnknown {
		d.unknown[string([]byte(name))] = 1
		d.stats.Unknown++
	}
}

// maxUnknown bounds the names of unknown fields that are counted.
const maxUnknown = 1024

// ocsfPaths says which OCSF attribute holds which field, in AWS's mapping of
// VPC flow logs (OCSF 1.1 and 1.5, class 4001). Endpoint identifiers stand on
// the interface's side.
var ocsfPaths = [...]struct {
	path  string
	field string
}{
	{"metadata.product.version", "version"},
	{"cloud.account.uid", "account-id"}, {"cloud.account_uid", "account-id"},
	{"cloud.region", "region"}, {"cloud.zone", "az-id"},
	{"src_endpoint.port", "srcport"}, {"dst_endpoint.port", "dstport"},
	{"src_endpoint.svc_name", "pkt-src-aws-service"}, {"dst_endpoint.svc_name", "pkt-dst-aws-service"},
	{"connection_info.protocol_num", "protocol"}, {"connection_info.tcp_flags", "tcp-flags"},
	{"traffic.packets", "packets"}, {"traffic.bytes", "bytes"}, {"status_code", "log-status"},
	{"src_endpoint.interface_uid", "interface-id"}, {"dst_endpoint.interface_uid", "interface-id"},
	{"src_endpoint.vpc_uid", "vpc-id"}, {"dst_endpoint.vpc_uid", "vpc-id"},
	{"src_endpoint.subnet_uid", "subnet-id"}, {"dst_endpoint.subnet_uid", "subnet-id"},
	{"src_endpoint.instance_uid", "instance-id"}, {"dst_endpoint.instance_uid", "instance-id"},
}

// ocsfValues are the attributes of one OCSF event, by path.
type ocsfValues map[string][]byte

// ocsf takes an OCSF Network Activity event, as CloudWatch's parseToOCSF makes
// it of a flow log.
func (d *Decoder) ocsf(s *source, raw []byte) {
	d.flush(s)
	v := make(ocsfValues, 64)
	v.collect("", raw, 0)
	if string(v["class_uid"]) != "4001" {
		d.refuseWhole(s, raw, ClassJSON, fmt.Sprintf("the OCSF event has class %.20q; flow logs are class 4001, Network Activity", v["class_uid"]))
		return
	}
	var f fields
	f.start(&d.rec)
	for _, p := range ocsfPaths {
		if text, ok := v[p.path]; ok && len(text) > 0 && string(text) != "-" {
			f.named(p.field, text)
		}
	}
	v.endpoint(&f, "src_endpoint", "srcaddr", "pkt-srcaddr")
	v.endpoint(&f, "dst_endpoint", "dstaddr", "pkt-dstaddr")
	v.times(&f)
	v.verdict(&f)
	d.raw = raw
	if !d.finish(s, &f) {
		d.refuseFields(s, &f, raw)
	}
}

// named sets a field by its name.
func (f *fields) named(name string, v []byte) {
	if sp, ok := lookup(name); ok {
		f.set(&column{op: sp.op, name: sp.name, known: true}, v)
	}
}

// collect flattens an object into paths; of an array it keeps the first element.
func (v ocsfValues) collect(prefix string, raw []byte, depth int) {
	w := walk(raw)
	for name, value, ok := w.field(); ok; name, value, ok = w.field() {
		path := prefix + string(name)
		if value[0] == '[' {
			in := walk(value)
			value, _ = in.element()
		}
		switch {
		case len(value) == 0:
		case value[0] == '{' && depth < 4:
			v.collect(path+".", value, depth+1)
		case value[0] != '{' && value[0] != '[':
			v[path] = unquote(value)
		}
	}
}

// endpoint reads an address. Where the packet's address differs from the
// interface's, OCSF has the packet's as ip and the interface's as intermediate.
func (v ocsfValues) endpoint(f *fields, side, plain, pkt string) {
	ip, outer := v[side+".ip"], v[side+".intermediate_ips"]
	if len(outer) > 0 {
		f.named(pkt, ip)
		ip = outer
	}
	f.named(plain, ip)
}

// times reads start and end, which are milliseconds in OCSF.
func (v ocsfValues) times(f *fields) {
	start := v["start_time"]
	if len(start) == 0 {
		start = v["time"]
	}
	for _, t := range [2]struct {
		field string
		text  []byte
	}{{"start", start}, {"end", v["end_time"]}} {
		text := t.text
		if digits(text) && value64(text) >= uint64(MaxTime) {
			text = strconv.AppendUint(nil, value64(text)/1000, 10)
		}
		f.named(t.field, text)
	}
}

// verdict reads what OCSF has as codes: action, direction, traffic path.
func (v ocsfValues) verdict(f *fields) {
	switch string(v["action_id"]) + "/" + string(v["activity_id"]) {
	case "1/6", "1/", "/6":
		f.named("action", []byte("ACCEPT"))
	case "2/5", "2/", "/5":
		f.named("action", []byte("REJECT"))
	}
	switch string(v["connection_info.direction_id"]) {
	case "1":
		f.named("flow-direction", []byte("ingress"))
	case "2":
		f.named("flow-direction", []byte("egress"))
	}
	// boundary_id is AWS's traffic-path plus 3.
	if b := v["connection_info.boundary_id"]; digits(b) && value64(b) >= 4 && value64(b) <= 11 {
		f.named("traffic-path", strconv.AppendUint(nil, value64(b)-3, 10))
	}
}
