package session

// Ranks of a port, the likeliest to be served first.
const (
	rankService    = iota // a service that everybody knows
	rankSystem            // below 1024 (RFC 6335 section 6)
	rankRegistered        // below the ephemeral range
	rankEphemeral         // 32768 up, where Linux takes source ports from
)

// portRank ranks a port by how likely it is to be a server's.
func portRank(p uint16) int {
	switch p {
	case 22, 25, 53, 80, 88, 110, 123, 135, 137, 139, 143, 161, 389, 443, 445, 465, 514, 587, 636, 853, 873, 993, 995,
		1433, 1521, 1883, 2049, 2181, 2375, 2376, 2379, 2380, 3128, 3268, 3269, 3306, 3389, 4317, 4318, 5060, 5353, 5432,
		5671, 5672, 5900, 5985, 5986, 6379, 6443, 7000, 7199, 8000, 8080, 8081, 8086, 8089, 8200, 8300, 8443, 8500, 8883,
		8888, 9000, 9042, 9090, 9092, 9093, 9100, 9160, 9200, 9300, 9418, 10250, 11211, 15672, 25672, 26257, 27017, 50051:
		return rankService
	}
	switch {
	case p < 1024:
		return rankSystem
	case p < 32768:
		return rankRegistered
	}
	return rankEphemeral
}

// portConfidence is how sure the ranks of client and server make it, percent.
func portConfidence(client, server int) uint8 {
	switch {
	case server == rankService && client == rankEphemeral:
		return 99
	case server <= rankSystem:
		return 95
	}
	return 75
}
