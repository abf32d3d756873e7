package flowlog

import (
	"bytes"
	"slices"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// prefixes are how the identifiers of AWS resources begin.
var prefixes = [...]struct{ field, prefix string }{
	{"interface-id", "eni-"}, {"vpc-id", "vpc-"}, {"subnet-id", "subnet-"}, {"instance-id", "i-"},
	{"resource-id", "nat-"}, {"tgw-id", "tgw-"}, {"tgw-attachment-id", "tgw-attach-"},
	{"tgw-pair-attachment-id", "tgw-attach-"}, {"tgw-src-vpc-id", "vpc-"}, {"tgw-dst-vpc-id", "vpc-"},
	{"tgw-src-subnet-id", "subnet-"}, {"tgw-dst-subnet-id", "subnet-"}, {"tgw-src-eni", "eni-"}, {"tgw-dst-eni", "eni-"},
	{"ecs-cluster-arn", "arn:"}, {"ecs-container-instance-arn", "arn:"},
	{"ecs-task-definition-arn", "arn:"}, {"ecs-task-arn", "arn:"},
	{"next-hop-interface-id", "eni-"}, {"next-hop-subnet-id", "subnet-"}, {"next-hop-vpc-id", "vpc-"},
}

// closed are the fields with a closed set of values.
var closed = [...]struct {
	field  string
	values []string
}{
	{"action", []string{"ACCEPT", "REJECT"}},
	{"log-status", []string{"OK", "NODATA", "SKIPDATA"}},
	{"type", []string{"IPv4", "IPv6", "EFA"}},
	{"flow-direction", []string{"ingress", "egress"}},
	{"traffic-path", []string{"1", "2", "3", "4", "5", "6", "7", "8"}},
	{"sublocation-type", []string{"wavelength", "outpost", "localzone"}},
	{"reject-reason", []string{"BPA", "EC"}},
	{"encryption-status", []string{"0", "1", "2", "3"}},
	{"resource-type", []string{"TransitGateway", "TransitGatewayAttachment"}},
}

// required never are "-".
func required(name string) bool {
	return name == "version" || name == "start" || name == "end" || name == "log-status"
}

// shaped reports whether a value could be one of the named field. It is
// stricter than decoding, for it is what tells one layout from another.
func shaped(name string, v []byte) bool {
	if len(v) == 1 && v[0] == '-' {
		return !required(name)
	}
	if ok, listed := shapedList(name, v); listed {
		return ok
	}
	s, _ := lookup(name)
	switch s.op {
	case opSrcAddr, opDstAddr, opPktSrc, opPktDst:
		var a flow.Addr
		return anyAddress(&a, v, 0) == len(v)
	case opStart, opEnd:
		return digits(v) && within(value64(v), uint64(MinTime), uint64(MaxTime)-1)
	case opAccount:
		return digits(v) || string(v) == "unknown"
	case opVersion:
		return digits(v) && within(value64(v), 2, 11)
	default:
		if s.op >= opPackets {
			return digits(v) && value64(v) <= numMax[s.op]
		}
		return shapedText(name, v)
	}
}

// shapedList judges the fields whose prefix or whose values are known.
func shapedList(name string, v []byte) (ok, listed bool) {
	for i := range prefixes {
		if prefixes[i].field == name {
			return bytes.HasPrefix(v, []byte(prefixes[i].prefix)), true
		}
	}
	for i := range closed {
		if closed[i].field == name {
			return slices.Contains(closed[i].values, string(v)), true
		}
	}
	return false, false
}

// shapedText judges the text fields that have a form but no closed set.
func shapedText(name string, v []byte) bool {
	switch {
	case name == "region":
		return isRegion(v)
	case strings.HasSuffix(name, "az-id"):
		return bytes.Contains(v, []byte("-az"))
	case strings.HasSuffix(name, "aws-service"):
		return !bytes.ContainsFunc(v, func(r rune) bool {
			return r != '_' && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
		}) && !digits(v)
	case strings.HasSuffix(name, "vpc-account-id"), strings.HasPrefix(name, "packets-lost"):
		return digits(v)
	case strings.HasSuffix(name, "interface-type"):
		return !bytes.ContainsFunc(v, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') })
	}
	return true
}

// isRegion reports a region code: us-east-1, us-gov-west-1, ap-southeast-2.
func isRegion(v []byte) bool {
	n := bytes.Count(v, []byte{'-'})
	return n >= 2 && n <= 3 && len(v) >= 9 && len(v) <= 20 &&
		v[2] == '-' && v[len(v)-1]-'0' <= 9 && v[len(v)-2] == '-' && v[0]-'a' < 26 && v[1]-'a' < 26
}

func digits(v []byte) bool {
	_, j := number(v, 0)
	return j == len(v) && j > 0 && j <= 19
}

func within(v, low, high uint64) bool { return v >= low && v <= high }
