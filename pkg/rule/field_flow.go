package rule

import "github.com/flowstitch/flowstitch/pkg/flow"

// Flows returns the schema of flow records: the language of queries and tails
// over flows. src and dst are the true endpoints (pkt-srcaddr, pkt-dstaddr
// where the log has them).
func Flows() *Schema { return newSchema("flows", flowEnds(), flowFacts(), flowPlaces()) }

func flowEnds() []Field {
	src := func(r *Row) flow.Endpoint { s, _ := r.Flow.Ends(); return s }
	dst := func(r *Row) flow.Endpoint { _, d := r.Flow.Ends(); return d }
	return []Field{
		{Name: "src", Type: Addr, Doc: "source address (pkt-srcaddr where the log has it)", Example: `src in "10.0.0.0/8"`,
			a: func(r *Row) flow.Addr { return src(r).Addr }},
		{Name: "dst", Type: Addr, Doc: "destination address (pkt-dstaddr where the log has it)", Example: `dst == "203.0.113.9"`,
			a: func(r *Row) flow.Addr { return dst(r).Addr }},
		{Name: "addresses", Type: Addrs, Doc: "source and destination", Example: `"10.0.0.5" in addresses`,
			as: func(r *Row) [2]flow.Addr { s, d := r.Flow.Ends(); return [2]flow.Addr{s.Addr, d.Addr} }},
		{Name: "src_port", Type: Int, Doc: "source port", Example: `src_port == 443`, i: func(r *Row) int64 { return int64(r.Flow.Src.Port) }},
		{Name: "dst_port", Type: Int, Doc: "destination port", Example: `dst_port == 23`, i: func(r *Row) int64 { return int64(r.Flow.Dst.Port) }},
		{Name: "ports", Type: Ints, Doc: "both ports", Example: `23 in ports`,
			is: func(r *Row) [2]int64 { return [2]int64{int64(r.Flow.Src.Port), int64(r.Flow.Dst.Port)} }},
		{Name: "protocol", Type: Int, Doc: "IANA protocol number", Example: `protocol == 6`, i: func(r *Row) int64 { return int64(r.Flow.Protocol) }},
		{Name: "proto", Type: String, Values: protoNames, Doc: "protocol name, or its number where it has none", Example: `proto == "udp"`,
			i: func(r *Row) int64 { return int64(r.Flow.Protocol) }},
		{Name: "service", Type: String, Values: serviceNames, Doc: "name of the service at either port, the destination's first, or empty", Example: `service == "dns"`,
			i: func(r *Row) int64 {
				if s := serviceOf(r.Flow.Protocol, r.Flow.Dst.Port); s != 0 {
					return s
				}
				return serviceOf(r.Flow.Protocol, r.Flow.Src.Port)
			}},
		{Name: "src_own", Type: Bool, Doc: "the source is known to be ours", Example: `src_own`, b: func(r *Row) bool { return r.Flow.Owned&flow.OwnSrc != 0 }},
		{Name: "dst_own", Type: Bool, Doc: "the destination is known to be ours", Example: `!dst_own`, b: func(r *Row) bool { return r.Flow.Owned&flow.OwnDst != 0 }},
		{Name: "src_addr", Type: Addr, Doc: "plain srcaddr of the log", Example: `src_addr != src`, a: func(r *Row) flow.Addr { return r.Flow.Src.Addr }},
		{Name: "dst_addr", Type: Addr, Doc: "plain dstaddr of the log", Example: `dst_addr != dst`, a: func(r *Row) flow.Addr { return r.Flow.Dst.Addr }},
	}
}

func flowFacts() []Field {
	return []Field{
		{Name: "action", Type: String, Values: enum(3, flow.Action.String), Doc: "ACCEPT, REJECT or -", Example: `action == "REJECT"`,
			i: func(r *Row) int64 { return int64(r.Flow.Action) }},
		{Name: "direction", Type: String, Values: enum(3, flow.Direction.String), Doc: "ingress or egress at the interface, or -", Example: `direction == "egress"`,
			i: func(r *Row) int64 { return int64(r.Flow.Direction) }},
		{Name: "status", Type: String, Values: []string{"OK", "NODATA", "SKIPDATA"}, Doc: "log status", Example: `status == "SKIPDATA"`,
			i: func(r *Row) int64 { return int64(r.Flow.Kind) }},
		{Name: "version", Type: Int, Doc: "version of the log format, 0 when it has none", Example: `version >= 5`, i: func(r *Row) int64 { return int64(r.Flow.Version) }},
		{Name: "flags", Type: Flags, Doc: "TCP flags; ACK only in a SYN-ACK", Example: `"SYN" in flags`, i: func(r *Row) int64 { return int64(r.Flow.TCPFlags) }},
		{Name: "has_flags", Type: Bool, Doc: "the log has TCP flags", Example: `has_flags`, b: func(r *Row) bool { return r.Flow.HasFlags }},
		{Name: "path", Type: Int, Doc: "traffic-path, 0 when absent", Example: `path == 8`, i: func(r *Row) int64 { return int64(r.Flow.Path) }},
		{Name: "bytes", Type: Int, Unit: "bytes", Doc: "bytes of the IP layer", Example: `bytes > "1MB"`, i: func(r *Row) int64 { return int64(r.Flow.Bytes) }},
		{Name: "packets", Type: Int, Unit: "packets", Doc: "packets", Example: `packets == 1`, i: func(r *Row) int64 { return int64(r.Flow.Packets) }},
		{Name: "packet_size", Type: Double, Unit: "bytes", Doc: "mean bytes a packet", Example: `packet_size == 40.0`, d: func(r *Row) float64 {
			if r.Flow.Packets == 0 {
				return 0
			}
			return float64(r.Flow.Bytes) / float64(r.Flow.Packets)
		}},
		{Name: "first", Type: Time, Doc: "start of the record", Example: `first >= "2026-03-01T00:00:00Z"`, i: func(r *Row) int64 { return int64(r.Flow.Start) }},
		{Name: "last", Type: Time, Doc: "end of the record", Example: `last < "2026-03-02T00:00:00Z"`, i: func(r *Row) int64 { return int64(r.Flow.End) }},
		{Name: "duration", Type: Duration, Doc: "end less start", Example: `duration > "30s"`, i: func(r *Row) int64 { return int64(r.Flow.End - r.Flow.Start) }},
		{Name: "seconds", Type: Int, Unit: "seconds", Doc: "the duration as a number", Example: `seconds > 30`, i: func(r *Row) int64 { return int64(r.Flow.End - r.Flow.Start) }},
		{Name: "hour", Type: Int, Doc: "hour of the day of the start, UTC", Example: `hour < 6`, i: func(r *Row) int64 { return int64(r.Flow.Start-r.Flow.Start.Floor(86400)) / 3600 }},
		{Name: "weekday", Type: Int, Doc: "day of the week of the start, UTC, 0 is Sunday", Example: `weekday in [0, 6]`, i: func(r *Row) int64 { return weekday(r.Flow.Start) }},
	}
}

func flowPlaces() []Field {
	text := func(name, doc, example string, get func(*flow.Record) string) Field {
		return Field{Name: name, Type: String, Doc: doc, Example: example, s: func(r *Row) string { return get(r.Flow) }}
	}
	return []Field{
		text("interface", "interface, or transit gateway attachment", `interface == "eni-0a1b2c3d"`, func(f *flow.Record) string { return f.InterfaceID }),
		text("resource", "id of a regional NAT gateway", `resource != ""`, func(f *flow.Record) string { return f.ResourceID }),
		text("account", "AWS account", `account == "123456789012"`, func(f *flow.Record) string { return f.AccountID }),
		text("vpc", "VPC", `vpc == "vpc-0a1b2c3d"`, func(f *flow.Record) string { return f.VPCID }),
		text("subnet", "subnet", `subnet == "subnet-0a1b2c3d"`, func(f *flow.Record) string { return f.SubnetID }),
		text("instance", "instance", `instance == "i-0a1b2c3d"`, func(f *flow.Record) string { return f.InstanceID }),
		text("region", "region", `region.startsWith("eu-")`, func(f *flow.Record) string { return f.Region }),
		text("src_service", "AWS service of the source (pkt-src-aws-service)", `src_service == "S3"`, func(f *flow.Record) string { return f.SrcService }),
		text("dst_service", "AWS service of the destination (pkt-dst-aws-service)", `dst_service == "S3"`, func(f *flow.Record) string { return f.DstService }),
		text("log_group", "log group, for a record from CloudWatch", `log_group == "prod-flow-logs"`, func(f *flow.Record) string { return f.Origin.LogGroup }),
		text("source", "file or stream that it was read from", `source.endsWith(".gz")`, func(f *flow.Record) string { return f.Origin.Source }),
		{Name: "attrs", Type: Tags, Doc: "every other field of the log, by its name there", Example: `attrs["az-id"] == "use1-az4"`,
			tag: func(r *Row, k string) (string, bool) {
				for i := range r.Flow.Attrs {
					if r.Flow.Attrs[i].Name == k {
						return r.Flow.Attrs[i].Value, true
					}
				}
				return "", false
			},
			tags: func(r *Row, yield func(k, v string)) {
				for i := range r.Flow.Attrs {
					yield(r.Flow.Attrs[i].Name, r.Flow.Attrs[i].Value)
				}
			}},
	}
}
