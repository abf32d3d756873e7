package flowlog

import "slices"

// op says what the decoder does with a column. The order matters: numbers come
// last, so that one comparison finds them.
type op uint8

const (
	opAttr op = iota // kept as text in Attrs
	opAccount
	opInterface
	opResource
	opVPC
	opSubnet
	opInstance
	opRegion
	opSrcService
	opDstService
	opSrcAddr
	opDstAddr
	opPktSrc
	opPktDst
	opAction
	opStatus
	opDirection
	opPackets // first of the numbers, see numMax
	opBytes
	opStart
	opEnd
	opSrcPort
	opDstPort
	opProtocol
	opVersion
	opFlags
	opPath
	opCount
)

// numMax is the largest value of a number: the size of its place in a record,
// and 63 bits for counters and times, which travel as signed integers.
var numMax = [opCount]uint64{
	opPackets: 1<<63 - 1, opBytes: 1<<63 - 1, opStart: 1<<63 - 1, opEnd: 1<<63 - 1,
	opSrcPort: 1<<16 - 1, opDstPort: 1<<16 - 1,
	opProtocol: 255, opVersion: 255, opFlags: 255, opPath: 255,
}

// spec describes a field that AWS defines.
type spec struct {
	name    string
	version uint8 // the version that brought the field
	op      op
}

// vpcFields are the fields of VPC flow logs, versions 2 to 11, in the order of
// the table in the VPC user guide ("Flow log records").
var vpcFields = [...]spec{
	{"version", 2, opVersion}, {"account-id", 2, opAccount}, {"interface-id", 2, opInterface},
	{"srcaddr", 2, opSrcAddr}, {"dstaddr", 2, opDstAddr}, {"srcport", 2, opSrcPort}, {"dstport", 2, opDstPort},
	{"protocol", 2, opProtocol}, {"packets", 2, opPackets}, {"bytes", 2, opBytes},
	{"start", 2, opStart}, {"end", 2, opEnd}, {"action", 2, opAction}, {"log-status", 2, opStatus},

	{"vpc-id", 3, opVPC}, {"subnet-id", 3, opSubnet}, {"instance-id", 3, opInstance}, {"tcp-flags", 3, opFlags},
	{"type", 3, opAttr}, {"pkt-srcaddr", 3, opPktSrc}, {"pkt-dstaddr", 3, opPktDst},

	{"region", 4, opRegion}, {"az-id", 4, opAttr}, {"sublocation-type", 4, opAttr}, {"sublocation-id", 4, opAttr},

	{"pkt-src-aws-service", 5, opSrcService}, {"pkt-dst-aws-service", 5, opDstService},
	{"flow-direction", 5, opDirection}, {"traffic-path", 5, opPath},

	{"ecs-cluster-arn", 7, opAttr}, {"ecs-cluster-name", 7, opAttr},
	{"ecs-container-instance-arn", 7, opAttr}, {"ecs-container-instance-id", 7, opAttr},
	{"ecs-container-id", 7, opAttr}, {"ecs-second-container-id", 7, opAttr}, {"ecs-service-name", 7, opAttr},
	{"ecs-task-definition-arn", 7, opAttr}, {"ecs-task-arn", 7, opAttr}, {"ecs-task-id", 7, opAttr},

	{"reject-reason", 8, opAttr}, {"resource-id", 9, opResource}, {"encryption-status", 10, opAttr},

	{"instance-tag", 11, opAttr}, {"instance-tag-2", 11, opAttr}, {"interface-tag", 11, opAttr},
	{"interface-tag-2", 11, opAttr}, {"asg-tag", 11, opAttr}, {"asg-tag-2", 11, opAttr},
	{"interface-type", 11, opAttr}, {"next-hop-interface-id", 11, opAttr}, {"next-hop-subnet-id", 11, opAttr},
	{"next-hop-az-id", 11, opAttr}, {"next-hop-vpc-id", 11, opAttr}, {"next-hop-interface-type", 11, opAttr},
}

// tgwFields is the default format of transit gateway flow logs, versions 2 to
// 6, in the order of the transit gateway guide. The attachment is what records,
// so it takes the interface's place.
var tgwFields = [...]spec{
	{"version", 2, opVersion}, {"resource-type", 6, opAttr}, {"account-id", 2, opAccount}, {"tgw-id", 6, opAttr},
	{"tgw-attachment-id", 6, opInterface},
	{"tgw-src-vpc-account-id", 6, opAttr}, {"tgw-dst-vpc-account-id", 6, opAttr},
	{"tgw-src-vpc-id", 6, opAttr}, {"tgw-dst-vpc-id", 6, opAttr},
	{"tgw-src-subnet-id", 6, opAttr}, {"tgw-dst-subnet-id", 6, opAttr},
	{"tgw-src-eni", 6, opAttr}, {"tgw-dst-eni", 6, opAttr}, {"tgw-src-az-id", 6, opAttr}, {"tgw-dst-az-id", 6, opAttr},
	{"tgw-pair-attachment-id", 6, opAttr}, {"srcaddr", 2, opSrcAddr}, {"dstaddr", 2, opDstAddr},
	{"srcport", 2, opSrcPort}, {"dstport", 2, opDstPort}, {"protocol", 2, opProtocol}, {"packets", 2, opPackets},
	{"bytes", 2, opBytes}, {"start", 2, opStart}, {"end", 2, opEnd}, {"log-status", 2, opStatus},
	{"type", 3, opAttr}, {"packets-lost-no-route", 6, opAttr}, {"packets-lost-blackhole", 6, opAttr},
	{"packets-lost-mtu-exceeded", 6, opAttr}, {"packets-lost-ttl-expired", 6, opAttr}, {"tcp-flags", 3, opFlags},
	{"region", 4, opRegion}, {"flow-direction", 5, opDirection},
	{"pkt-src-aws-service", 5, opSrcService}, {"pkt-dst-aws-service", 5, opDstService},
}

// FieldNames returns the names of all fields of VPC flow logs, versions 2 to
// 11, in AWS's order.
func FieldNames() []string { return names(vpcFields[:]) }

func names(specs []spec) []string {
	out := make([]string, len(specs))
	for i := range specs {
		out[i] = specs[i].name
	}
	return out
}

// lookup finds a known field by its name, VPC fields first.
func lookup(name string) (spec, bool) {
	for _, list := range [2][]spec{vpcFields[:], tgwFields[:]} {
		if i := slices.IndexFunc(list, func(s spec) bool { return s.name == name }); i >= 0 {
			return list[i], true
		}
	}
	return spec{}, false
}

// lookupLoose finds a known field by its name without regard to case, hyphens
// and underscores: Parquet columns say interface_id, transformed JSON says
// interfaceId.
func lookupLoose(name string) (spec, bool) {
	for _, list := range [2][]spec{vpcFields[:], tgwFields[:]} {
		for i := range list {
			if sameLoose(list[i].name, name) {
				return list[i], true
			}
		}
	}
	return spec{}, false
}

func sameLoose(known, name string) bool {
	i := 0
	for j := 0; j < len(name); j++ {
		c := name[j]
		if c == '-' || c == '_' {
			continue
		}
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if i < len(known) && known[i] == '-' {
			i++
		}
		if i >= len(known) || known[i] != c {
			return false
		}
		i++
	}
	return i == len(known)
}
