package rule

import (
	"strconv"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// protoNames are the names of IP protocols in the language: those of the IANA
// registry (protocol-numbers) that flow logs commonly hold, in lower case, and
// the number itself for the rest.
var protoNames = func() []string {
	names := make([]string, 256)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	for n, s := range map[int]string{
		1: "icmp", 2: "igmp", 4: "ipv4", 6: "tcp", 17: "udp", 41: "ipv6", 46: "rsvp", 47: "gre",
		50: "esp", 51: "ah", 58: "icmpv6", 88: "eigrp", 89: "ospf", 103: "pim", 112: "vrrp", 132: "sctp",
	} {
		names[n] = s
	}
	return names
}()

// serviceNames are the service names of the IANA registry (service-names-port-
// numbers) for ports that people ask about; "" is everything else. Index 0 is
// the empty name.
var serviceNames = []string{
	"", "ftp", "ssh", "telnet", "smtp", "dns", "dhcp", "tftp", "http", "kerberos", "pop3", "ntp", "msrpc",
	"netbios", "imap", "snmp", "ldap", "https", "smb", "syslog", "dns-over-tls", "ldaps", "imaps", "pop3s",
	"mssql", "oracle", "nfs", "mqtt", "mysql", "rdp", "postgresql", "amqp", "vnc", "redis", "kubernetes",
	"winrm", "kafka", "elasticsearch", "memcached", "mongodb",
}

var servicePorts = func() map[uint16]uint8 {
	byName := make(map[string]uint8, len(serviceNames))
	for i, n := range serviceNames {
		byName[n] = uint8(i)
	}
	ports := make(map[uint16]uint8)
	for name, ps := range map[string][]uint16{
		"ftp": {20, 21}, "ssh": {22}, "telnet": {23}, "smtp": {25, 465, 587}, "dns": {53}, "dhcp": {67, 68, 546, 547},
		"tftp": {69}, "http": {80, 8080}, "kerberos": {88}, "pop3": {110}, "ntp": {123}, "msrpc": {135},
		"netbios": {137, 138, 139}, "imap": {143}, "snmp": {161, 162}, "ldap": {389}, "https": {443, 8443}, "smb": {445},
		"syslog": {514, 6514}, "ldaps": {636}, "dns-over-tls": {853}, "imaps": {993}, "pop3s": {995}, "mssql": {1433, 1434},
		"oracle": {1521}, "nfs": {2049}, "mqtt": {1883, 8883}, "mysql": {3306}, "rdp": {3389}, "postgresql": {5432},
		"amqp": {5671, 5672}, "vnc": {5900, 5901}, "redis": {6379}, "kubernetes": {6443, 10250}, "winrm": {5985, 5986},
		"kafka": {9092, 9094}, "elasticsearch": {9200, 9300}, "memcached": {11211}, "mongodb": {27017},
	} {
		for _, p := range ps {
			ports[p] = byName[name]
		}
	}
	return ports
}()

// serviceOf returns the index in serviceNames of the service at a port of TCP,
// UDP or SCTP.
func serviceOf(protocol uint8, port uint16) int64 {
	switch protocol {
	case 6, 17, 132:
		return int64(servicePorts[port])
	}
	return 0
}

// flagNames are the flags that flow logs report, in the order of their bits.
var flagNames = []struct {
	name string
	bit  uint8
}{{"FIN", flow.FIN}, {"SYN", flow.SYN}, {"RST", flow.RST}, {"ACK", flow.ACK}}

func flagBit(name string) (uint8, bool) {
	for _, f := range flagNames {
		if f.name == name {
			return f.bit, true
		}
	}
	return 0, false
}

func boolInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
