package flowlog

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// shared returns the path of shared test data, or skips the test.
func shared(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			path := filepath.Join(dir, "..", "shared", "data", name)
			if _, err := os.Stat(path); err != nil {
				t.Skipf("no shared test data: %s is not there", name)
			}
			return path
		}
	}
	t.Skip("no go.mod above the test")
	return ""
}

// layouts of the custom lines, as the flow logs that wrote them were set up.
const (
	additions20 = " vpc-id subnet-id instance-id tcp-flags flow-direction region"
	additions24 = " ecs-cluster-name ecs-cluster-arn ecs-container-instance-id ecs-container-instance-arn ecs-service-name" +
		" ecs-task-definition-arn ecs-task-id ecs-task-arn ecs-container-id ecs-second-container-id"
	layout23 = "version vpc-id subnet-id interface-id instance-id srcaddr dstaddr pkt-srcaddr pkt-dstaddr srcport dstport" +
		" protocol packets bytes start end action log-status flow-direction traffic-path pkt-src-aws-service pkt-dst-aws-service reject-reason"
	layout21 = "version vpc-id subnet-id instance-id interface-id account-id type srcaddr dstaddr srcport dstport pkt-srcaddr" +
		" pkt-dstaddr protocol bytes packets start end action tcp-flags log-status"
	layout29 = "version srcaddr dstaddr srcport dstport protocol start end type packets bytes account-id vpc-id subnet-id" +
		" instance-id interface-id region az-id sublocation-type sublocation-id action tcp-flags pkt-srcaddr pkt-dstaddr" +
		" pkt-src-aws-service pkt-dst-aws-service traffic-path flow-direction log-status"
)

// layoutOf returns the field names of a line of the shared list, and the
// configuration that a user would have to give, if the values do not tell.
func layoutOf(kind, line string) (fields []string, format string) {
	v2 := strings.Join(V2().Names(), " ")
	n := len(strings.Fields(line))
	switch {
	case kind == "custom20":
		format = v2 + additions20
	case kind == "custom24":
		format = v2 + additions24
	case kind == "custom23":
		format = layout23
	case n == 36:
		return TransitGateway().Names(), ""
	case n == 21:
		return strings.Fields(layout21), ""
	case n == 29 && strings.HasPrefix(line, "5 10."):
		return strings.Fields(layout29), ""
	case n == 29:
		return UpTo(5).Names(), ""
	case n == 13:
		return V2().Names()[:13], ""
	default:
		return strings.Fields(v2), ""
	}
	return strings.Fields(format), format
}

// unwrap takes the wrapping off a line, by other means than the decoder.
func unwrap(t *testing.T, kind, line string) string {
	t.Helper()
	if strings.HasPrefix(line, "{") {
		var m struct{ Message string }
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		return m.Message
	}
	words := strings.SplitN(line, " ", 3)
	switch kind {
	case "cw_prefix":
		return words[1] + " " + words[2]
	case "cw_tail_prefix":
		return words[2]
	}
	return line
}

// refused are the lines that are no records, by a part of the line, with the
// class and the field of the reason.
var refused = []struct{ part, class, field string }{
	{"51316 999 999 2", "range", "protocol"},
	{"- 172.31.16.21 20641", "missing", "srcaddr"},
	{"172.31.16.139 - 20641", "missing", "dstaddr"},
	{"- - 20641", "missing", "srcaddr"},
	{"BADPORT", "value", "srcport"},
	{"NaN 80 6", "value", "srcport"},
	{"80 NaN 6", "value", "dstport"},
	{"NOTANUMBER", "value", "start"},
	{"1418530010 1818530070", "time", "end"},
	{"320 1 2 ACCEPT", "time", "start"},
	{"164000066", "time", "start"},
	{"eni-33333333333333333", "missing", "start"},         // no time in the layout
	{"- eni-1235b8ca123456789 10", "missing", "protocol"}, // no protocol in the layout
	{"- eni-1235b8ca123456789 203", "missing", "protocol"},
	{"Phony", "layout", ""},
	{"2 eni-1235b8ca123456789 172.31.16.139 172.31.16.21", "layout", ""},
	{"eni-abc123 10.0.1.3", "layout", ""},
	{"AWSLogs/", "layout", ""},
	{"#Traffic", "layout", ""},
	{"#Response", "layout", ""},
	{"...", "layout", ""},
}

// sharedTable is what becomes of the shared list: for each kind the lines, how
// many of them are records, headers, and rejects by class. The closing note of
// the project's third issue shows it.
const sharedTable = `
kind          lines  records  headers  rejects  by class
custom1           2        0        0        2  2 layout
custom13          1        1        0        0
custom16          1        0        0        1  1 layout
custom17          2        0        0        2  1 layout, 1 missing
custom20          6        6        0        0
custom21          4        4        0        0
custom23          1        1        0        0
custom24          2        2        0        0
custom29          2        1        0        1  1 time
custom36          1        1        0        0
custom4           3        0        0        3  3 layout
custom6           2        0        0        2  2 missing
cw_prefix         4        4        0        0
cw_tail_prefix    5        5        0        0
header            5        0        5        0
ipv6              3        3        0        0
json_wrapper      4        4        0        0
nodata            4        4        0        0
skipdata          3        3        0        0
v2               97       86        0       11  3 missing, 1 range, 3 time, 4 value
all             152      125        5       22  7 layout, 6 missing, 1 range, 4 time, 4 value
`

// outcomes of lines by name: record, header, a class of reject, or wrong.
type outcomes map[string]int

func (o outcomes) row(kind string) string {
	total, rejects, classes := 0, 0, []string(nil)
	for _, name := range sortedKeys(o) {
		total += o[name]
		if name != "record" && name != "header" {
			rejects += o[name]
			classes = append(classes, fmt.Sprintf("%d %s", o[name], name))
		}
	}
	return strings.TrimRight(fmt.Sprintf("%-14s %4d %8d %8d %8d  %s", kind, total, o["record"], o["header"], rejects, strings.Join(classes, ", ")), " ") + "\n"
}

// TestSharedLines reads every real and documented line of the shared list, each
// by itself, and holds the result against the slow decoder.
func TestSharedLines(t *testing.T) {
	data, err := os.ReadFile(shared(t, "lines/vpc-flow-lines.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	kinds, all := map[string]outcomes{}, outcomes{}
	for i, row := range strings.Split(strings.TrimSpace(string(data)), "\n")[1:] {
		cols := strings.SplitN(row, "\t", 3)
		kind, line := cols[0], cols[2]
		if kinds[kind] == nil {
			kinds[kind] = outcomes{}
		}
		outcome := sharedLine(t, fmt.Sprintf("row %d (%s)", i+2, kind), kind, line)
		kinds[kind][outcome]++
		all[outcome]++
	}
	table := "\nkind          lines  records  headers  rejects  by class\n"
	for _, kind := range sortedKeys(kinds) {
		table += kinds[kind].row(kind)
	}
	table += all.row("all")
	t.Log(table)
	if d := cmp.Diff(sharedTable, table); d != "" {
		t.Errorf("the table of outcomes has changed:\n%s", d)
	}
}

func sharedLine(t *testing.T, name, kind, line string) (outcome string) {
	t.Helper()
	inner := unwrap(t, kind, line)
	names, format := layoutOf(kind, inner)
	d := mustNew(t, Config{Format: format})
	var k keep
	d.Payload([]byte(line), flow.Origin{Source: "f"}, &k)
	balance(t, d, len(k.records), len(k.rejects))
	if kind == "header" {
		if d.Stats().Headers != 1 {
			t.Errorf("%s: no header: %s", name, line)
		}
		return "header"
	}
	at := slices.IndexFunc(refused, func(r struct{ part, class, field string }) bool { return strings.Contains(line, r.part) })
	if at >= 0 && refused[at].part == "..." && line != "..." {
		at = -1
	}
	if at >= 0 {
		if len(k.rejects) != 1 || k.rejects[0].Class.String() != refused[at].class || k.rejects[0].Field != refused[at].field {
			t.Errorf("%s: %s\n want a reject for %s of %q, got %d records, rejects %+v", name, line, refused[at].class, refused[at].field, len(k.records), k.rejects)
			return "wrong"
		}
		if string(k.rejects[0].Raw) != inner && string(k.rejects[0].Raw) != line {
			t.Errorf("%s: the reject has lost its bytes: %q", name, k.rejects[0].Raw)
		}
		t.Logf("%s is rejected for %s: %s", name, k.rejects[0].Class, k.rejects[0].Reason)
		return k.rejects[0].Class.String()
	}
	want, ok := slow(names, inner)
	if !ok || len(k.records) != 1 {
		t.Errorf("%s: %s\n %d records, rejects %+v; slow decoder %v", name, line, len(k.records), k.rejects, ok)
		return "wrong"
	}
	got := k.records[0]
	got.Origin = want.Origin
	if d := diff(got, want); d != "" {
		t.Errorf("%s: %s", name, d)
	}
	return "record"
}

// TestSharedFlowLogs reads the labelled flow logs, with a header and without,
// and finds the same traffic in both.
func TestSharedFlowLogs(t *testing.T) {
	for _, set := range []string{"sdt001_njrat", "slips_hscan", "zeek_sshguess", "bss_backscatter"} {
		var sums [2]uint64
		for i, version := range []string{"v2", "v3"} {
			f, err := os.Open(shared(t, "labelled/"+set+"."+version+".log.gz"))
			if err != nil {
				t.Fatal(err)
			}
			d := mustNew(t, Config{})
			var c count
			if err := d.Stream(f, flow.Origin{Source: set}, &c); err != nil {
				t.Error(err)
			}
			f.Close()
			balance(t, d, c.records, c.rejects)
			if c.rejects > 0 || c.records == 0 {
				t.Errorf("%s.%s: %d records, %d rejects", set, version, c.records, c.rejects)
			}
			sums[i] = c.sum
		}
		if sums[0] != sums[1] {
			t.Errorf("%s: %d bytes in version 2, %d in version 3", set, sums[0], sums[1])
		}
	}
}
