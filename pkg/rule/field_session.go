package rule

import (
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// Sessions returns the schema of session events: the language of rules, and of
// queries and tails over sessions.
func Sessions() *Schema {
	return newSchema("sessions", sessionEnds(), sessionJudgement(), sessionCounters(), sessionPlaces())
}

func sessionEnds() []Field {
	e := func(r *Row) *session.Event { return r.Session }
	return []Field{
		{Name: "client", Type: Addr, Doc: "address that started the session, as far as is known", Example: `client in "10.0.0.0/8"`,
			a: func(r *Row) flow.Addr { return e(r).Client.Addr }},
		{Name: "server", Type: Addr, Doc: "address that was asked", Example: `server == "203.0.113.9"`,
			a: func(r *Row) flow.Addr { return e(r).Server.Addr }},
		{Name: "id", Type: String, Doc: "the session's id, 32 hex digits; empty while it is provisional", Example: `id == "fd4377667347f98e3f27001dd47af1cf"`,
			s: func(r *Row) string {
				if e(r).ID == (session.ID{}) {
					return ""
				}
				return e(r).ID.String()
			}},
		{Name: "addresses", Type: Addrs, Doc: "client and server", Example: `"10.0.0.5" in addresses`,
			as: func(r *Row) [2]flow.Addr { return [2]flow.Addr{e(r).Client.Addr, e(r).Server.Addr} }},
		{Name: "client_port", Type: Int, Doc: "port of the client", Example: `client_port < 1024`,
			i: func(r *Row) int64 { return int64(e(r).Client.Port) }},
		{Name: "server_port", Type: Int, Doc: "port of the server: the service", Example: `server_port in [22, 3389]`,
			i: func(r *Row) int64 { return int64(e(r).Server.Port) }},
		{Name: "ports", Type: Ints, Doc: "both ports", Example: `23 in ports`,
			is: func(r *Row) [2]int64 { return [2]int64{int64(e(r).Client.Port), int64(e(r).Server.Port)} }},
		{Name: "protocol", Type: Int, Doc: "IANA protocol number", Example: `protocol == 6`,
			i: func(r *Row) int64 { return int64(e(r).Key.Protocol) }},
		{Name: "proto", Type: String, Values: protoNames, Doc: "protocol name, or its number where it has none", Example: `proto == "udp"`,
			i: func(r *Row) int64 { return int64(e(r).Key.Protocol) }},
		{Name: "service", Type: String, Values: serviceNames, Doc: "name of the service at the server's port, or empty", Example: `service in ["ssh", "rdp"]`,
			i: func(r *Row) int64 { return serviceOf(e(r).Key.Protocol, e(r).Server.Port) }},
		{Name: "client_outer", Type: Addr, Doc: "plain srcaddr of the client where it differs (NAT, pods)", Example: `client_outer in "10.0.0.0/8"`,
			a: func(r *Row) flow.Addr { return e(r).ClientOuter }},
		{Name: "server_outer", Type: Addr, Doc: "plain address of the server where it differs", Example: `server_outer in "10.0.0.0/8"`,
			a: func(r *Row) flow.Addr { return e(r).ServerOuter }},
		{Name: "client_service", Type: String, Doc: "AWS service of the client's address", Example: `client_service == "EC2"`,
			s: func(r *Row) string { return e(r).ClientService }},
		{Name: "server_service", Type: String, Doc: "AWS service of the server's address", Example: `server_service == "S3"`,
			s: func(r *Row) string { return e(r).ServerService }},
		{Name: "scope", Type: Int, Doc: "which of several overlapping networks, 0 for none", Example: `scope == 1`,
			i: func(r *Row) int64 { return int64(e(r).Key.Scope) }},
		{Name: "client_own", Type: Bool, Doc: "the client is one of our addresses", Example: `client_own && !server_own`,
			b: func(r *Row) bool { return e(r).Owned&flow.OwnSrc != 0 }},
		{Name: "server_own", Type: Bool, Doc: "the server is one of our addresses", Example: `server_own`,
			b: func(r *Row) bool { return e(r).Owned&flow.OwnDst != 0 }},
	}
}

func enum[T ~uint8](n int, name func(T) string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = name(T(i))
	}
	return out
}

func sessionJudgement() []Field {
	e := func(r *Row) *session.Event { return r.Session }
	return []Field{
		{Name: "direction", Type: String, Values: enum(5, session.Direction.String), Doc: "against our own networks", Example: `direction == "outbound"`,
			i: func(r *Row) int64 { return int64(e(r).Direction) }},
		{Name: "outcome", Type: String, Values: enum(5, session.Outcome.String), Grows: true, Doc: "whether the attempt was answered", Example: `outcome == "rejected"`,
			i: func(r *Row) int64 { return int64(e(r).Outcome) }},
		{Name: "failed", Type: Bool, Grows: true, Doc: "the attempt is known to have failed", Example: `failed && server_port == 22`,
			b: func(r *Row) bool { return e(r).Outcome.Failed() }},
		{Name: "reason", Type: String, Values: enum(6, session.Reason.String), Grows: true, Doc: "why the session ended, or open", Example: `reason == "rst"`,
			i: func(r *Row) int64 { return int64(e(r).Reason) }},
		{Name: "kind", Type: String, Values: enum(6, session.Kind.String), Grows: true, Doc: "what the event says: update is provisional, the others final", Example: `kind == "close"`,
			i: func(r *Row) int64 { return int64(e(r).Kind) }},
		{Name: "evidence", Type: String, Values: enum(5, session.Evidence.String), Doc: "what the choice of the client rests on", Example: `evidence == "flags"`,
			i: func(r *Row) int64 { return int64(e(r).Evidence) }},
		{Name: "confidence", Type: Int, Unit: "percent", Doc: "how sure it is that the client started it", Example: `confidence >= 80`,
			i: func(r *Row) int64 { return int64(e(r).Confidence) }},
		{Name: "path", Type: Int, Doc: "traffic-path of the egress record (1 to 8), 0 unknown", Example: `path == 8`,
			i: func(r *Row) int64 { return int64(e(r).Path) }},
		{Name: "first", Type: Time, Doc: "first packet", Example: `first >= "2026-03-01T00:00:00Z"`,
			i: func(r *Row) int64 { return int64(e(r).First) }},
		{Name: "last", Type: Time, Grows: true, Doc: "last packet so far", Example: `last < "2026-03-02T00:00:00Z"`,
			i: func(r *Row) int64 { return int64(e(r).Last) }},
		{Name: "duration", Type: Duration, Grows: true, Doc: "last less first", Example: `duration > "1h"`,
			i: func(r *Row) int64 { return int64(e(r).Last - e(r).First) }},
		{Name: "seconds", Type: Int, Unit: "seconds", Grows: true, Doc: "the duration as a number", Example: `seconds >= 3600`,
			i: func(r *Row) int64 { return int64(e(r).Last - e(r).First) }},
		{Name: "hour", Type: Int, Doc: "hour of the day of the first packet, UTC, 0 to 23", Example: `hour >= 20 || hour < 6`,
			i: func(r *Row) int64 { return int64(e(r).First-e(r).First.Floor(86400)) / 3600 }},
		{Name: "weekday", Type: Int, Doc: "day of the week of the first packet, UTC, 0 is Sunday", Example: `weekday in [0, 6]`,
			i: func(r *Row) int64 { return weekday(e(r).First) }},
	}
}

// weekday is 0 for Sunday; 1 January 1970 was a Thursday.
func weekday(t flow.Time) int64 { return ((int64(t.Floor(86400))/86400+4)%7 + 7) % 7 }

func sessionCounters() []Field {
	e := func(r *Row) *session.Event { return r.Session }
	num := func(name, unit, doc, example string, get func(*session.Event) int64) Field {
		return Field{Name: name, Type: Int, Unit: unit, Grows: true, Doc: doc, Example: example, i: func(r *Row) int64 { return get(r.Session) }}
	}
	return []Field{
		num("bytes", "bytes", "accepted bytes, both directions", `bytes > "10MB"`, func(e *session.Event) int64 { return e.Out.Bytes + e.In.Bytes }),
		num("bytes_out", "bytes", "accepted bytes from client to server", `bytes_out > 10 * 1024 * 1024`, func(e *session.Event) int64 { return e.Out.Bytes }),
		num("bytes_in", "bytes", "accepted bytes from server to client", `bytes_in == 0`, func(e *session.Event) int64 { return e.In.Bytes }),
		num("packets", "packets", "accepted packets, both directions", `packets > 1000`, func(e *session.Event) int64 { return e.Out.Packets + e.In.Packets }),
		num("packets_out", "packets", "accepted packets from client to server", `packets_out <= 3`, func(e *session.Event) int64 { return e.Out.Packets }),
		num("packets_in", "packets", "accepted packets from server to client", `packets_in == 0`, func(e *session.Event) int64 { return e.In.Packets }),
		num("rejected_packets", "packets", "packets refused by a security group or ACL, both directions", `rejected_packets > 0`,
			func(e *session.Event) int64 { return e.Out.RejectPackets + e.In.RejectPackets }),
		num("rejected_bytes", "bytes", "bytes refused, both directions", `rejected_bytes > 0`,
			func(e *session.Event) int64 { return e.Out.RejectBytes + e.In.RejectBytes }),
		num("records", "", "flow records counted, of the best observer", `records > 10`, func(e *session.Event) int64 { return e.Out.Records + e.In.Records }),
		{Name: "packet_size_out", Type: Double, Unit: "bytes", Grows: true, Doc: "mean bytes a packet from client to server, refused ones included", Example: `packet_size_out == 40.0`,
			d: func(r *Row) float64 { return mean(&e(r).Out) }},
		{Name: "packet_size_in", Type: Double, Unit: "bytes", Grows: true, Doc: "mean bytes a packet from server to client, refused ones included", Example: `packet_size_in > 1000.0`,
			d: func(r *Row) float64 { return mean(&e(r).In) }},
		{Name: "client_flags", Type: Flags, Grows: true, Doc: "TCP flags that the client sent", Example: `"FIN" in client_flags`,
			i: func(r *Row) int64 { return int64(e(r).Out.Flags) }},
		{Name: "server_flags", Type: Flags, Grows: true, Doc: "TCP flags that the server sent; ACK means a SYN-ACK", Example: `"RST" in server_flags`,
			i: func(r *Row) int64 { return int64(e(r).In.Flags) }},
	}
}

func mean(t *session.Traffic) float64 {
	if n := t.Packets + t.RejectPackets; n > 0 {
		return float64(t.Bytes+t.RejectBytes) / float64(n)
	}
	return 0
}

func sessionPlaces() []Field {
	list := func(name, doc, example string, get func(*session.Point) string) Field {
		return Field{Name: name, Type: Strings, Doc: doc, Example: example, nth: func(r *Row, i int) (string, bool) {
			if i >= len(r.Session.Points) {
				return "", false
			}
			return get(&r.Session.Points[i]), true
		}}
	}
	tags := func(name, doc, example string, use func(*session.Point) bool) Field {
		return Field{Name: name, Type: Tags, Doc: doc, Example: example,
			tag:  func(r *Row, k string) (string, bool) { return pointTag(r.Session, k, use) },
			tags: func(r *Row, yield func(k, v string)) { pointTags(r.Session, use, yield) }}
	}
	return []Field{
		list("interfaces", "interfaces that saw it, at most 8", `"eni-0a1b2c3d" in interfaces`, func(p *session.Point) string { return p.ID }),
		list("accounts", "AWS accounts of those interfaces", `"123456789012" in accounts`, func(p *session.Point) string { return p.AccountID }),
		list("vpcs", "VPCs of those interfaces", `"vpc-0a1b2c3d" in vpcs`, func(p *session.Point) string { return p.VPCID }),
		list("subnets", "subnets of those interfaces", `"subnet-0a1b2c3d" in subnets`, func(p *session.Point) string { return p.SubnetID }),
		list("instances", "instances of those interfaces", `"i-0a1b2c3d" in instances`, func(p *session.Point) string { return p.InstanceID }),
		list("regions", "AWS regions of those interfaces, where the format has them", `"eu-central-1" in regions`, func(p *session.Point) string { return p.Region }),
		list("log_groups", "log groups that recorded it", `"prod-flow-logs" in log_groups`, func(p *session.Point) string { return p.LogGroup }),
		tags("tags", "instance tags of any side", `tags["env"] == "prod"`, func(*session.Point) bool { return true }),
		tags("client_tags", "instance tags at the client's own interface", `client_tags["role"] == "bastion"`, func(p *session.Point) bool { return p.NearClient }),
		tags("server_tags", "instance tags at the server's own interface", `server_tags["role"] == "db"`, func(p *session.Point) bool { return p.NearServer }),
	}
}

func pointTag(e *session.Event, key string, use func(*session.Point) bool) (string, bool) {
	for i := range e.Points {
		p := &e.Points[i]
		if !use(p) {
			continue
		}
		for j := range p.Tags {
			if p.Tags[j].Name == key {
				return p.Tags[j].Value, true
			}
		}
	}
	return "", false
}

func pointTags(e *session.Event, use func(*session.Point) bool, yield func(k, v string)) {
	for i := range e.Points {
		p := &e.Points[i]
		for j := range p.Tags {
			if use(p) {
				yield(p.Tags[j].Name, p.Tags[j].Value)
			}
		}
	}
}
