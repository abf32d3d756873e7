package sigma

import "slices"

// fields maps names of Sigma's network categories (the taxonomy of firewall
// and network_connection, Zeek's, ECS's and AWS's names) to ours, in lower
// case.
var fields = map[string]string{
	"src_ip": "client", "sourceip": "client", "c-ip": "client", "id.orig_h": "client", "source.ip": "client",
	"source.address": "client", "srcaddr": "client", "pkt-srcaddr": "client", "srcip": "client", "source_ip": "client",
	"dst_ip": "server", "destinationip": "server", "r-ip": "server", "id.resp_h": "server", "destination.ip": "server",
	"destination.address": "server", "dstaddr": "server", "pkt-dstaddr": "server", "dstip": "server", "destination_ip": "server",
	"src_port": "client_port", "sourceport": "client_port", "id.orig_p": "client_port", "source.port": "client_port", "srcport": "client_port",
	"dst_port": "server_port", "destinationport": "server_port", "id.resp_p": "server_port", "destination.port": "server_port", "dstport": "server_port",
	"protocol": "proto", "proto": "proto", "network.transport": "proto", "network.iana_number": "proto",
	"service": "service", "network.protocol": "service", "destinationportname": "service",
	"action": "action", "event.action": "action",
	"orig_bytes": "bytes_out", "bytes_out": "bytes_out", "source.bytes": "bytes_out",
	"resp_bytes": "bytes_in", "bytes_in": "bytes_in", "destination.bytes": "bytes_in", "network.bytes": "bytes", "bytes": "bytes",
	"orig_pkts": "packets_out", "source.packets": "packets_out", "resp_pkts": "packets_in", "destination.packets": "packets_in",
	"network.packets": "packets", "packets": "packets", "network.direction": "direction", "direction": "direction",
	"blocked": "(outcome == \"rejected\")", "tcp_flags": "client_flags",
	// Sysmon says whether the host itself opened the connection.
	"initiated": "client_own", "sourceisipv6": "client.isIPv6()", "destinationisipv6": "server.isIPv6()",
}

// kind is how the values of a field are compared.
type kind uint8

const (
	text    kind = iota // one of our names, in lower case
	number              // an integer
	address             // an IP address
	action              // allowed or refused, in a firewall's own words
	truth               // yes or no
	flags               // of TCP, which the client sent
)

// single reports whether a field is one value of ours that can be grouped by
// and counted.
func single(field string) bool {
	k := kindOf(field)
	return k == text || k == number || k == address || field == "client_own"
}

func kindOf(field string) kind {
	switch {
	case field == "action":
		return action
	case field == "client_flags":
		return flags
	case field == "client" || field == "server":
		return address
	case slices.Contains([]string{"proto", "service", "direction"}, field):
		return text
	case slices.Contains([]string{"client_own", "client.isIPv6()", "server.isIPv6()", "(outcome == \"rejected\")"}, field):
		return truth
	}
	return number
}

// The words of firewalls for what they did.
var (
	refusals   = []string{"deny", "denied", "drop", "dropped", "block", "blocked", "reject", "rejected", "forbidden"}
	permission = []string{"allow", "allowed", "accept", "accepted", "permit", "permitted", "pass", "forward"}
)

// names says ECS's names for a value in ours.
var names = map[string]map[string]string{
	"direction": {"ingress": "inbound", "egress": "outbound", "internal": "lateral"},
	"proto":     {"ipv6-icmp": "icmpv6"},
	"service":   {"ssl": "https", "tls": "https", "domain": "dns", "ms-wbt-server": "rdp", "microsoft-ds": "smb", "postgres": "postgresql"},
}
