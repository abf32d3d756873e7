package operations

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/session"
	"github.com/flowstitch/flowstitch/pkg/wire"
)

// recorded holds records of the topics as an earlier release wrote them, one a
// line: topic, key and value in hex. It is only ever added to (-record writes it
// when it is missing): an upgrade must read what is on the topics.
const recorded = "testdata/wire-v1.txt"

// TestOldRecordsThroughNewCode is the promise of an upgrade: records of flows
// and sessions and marks that an earlier release wrote are read, and written
// again they are the same bytes. Sessions of the first release, which had no
// statement, are written shorter and say the same.
func TestOldRecordsThroughNewCode(t *testing.T) {
	text, err := os.ReadFile(recorded)
	if os.IsNotExist(err) && *update {
		text = record(t)
		if err := os.WriteFile(recorded, text, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var topic, k, v string
		if _, err := fmt.Sscanf(strings.ReplaceAll(lines.Text(), " -", " 00"), "%s %s %s", &topic, &k, &v); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		key, err1 := hex.DecodeString(k)
		value, err2 := hex.DecodeString(v)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		n[kindOf(topic, value)]++
		if again, err := reread(topic, key, value); err != nil {
			t.Errorf("%s %s: %v", topic, v, err)
		} else if !bytes.Equal(again, value) {
			t.Errorf("%s: read and written again, %s became %x", topic, v, again)
		}
	}
	if n["mark"] == 0 || n["flows"] == 0 || n["sessions"] == 0 {
		t.Errorf("the record holds %v: not every kind", n)
	}
}

func kindOf(topic string, value []byte) string {
	if wire.IsMark(value) {
		return "mark"
	}
	return topic
}

// reread parses a value and encodes it again.
func reread(topic string, key, value []byte) ([]byte, error) {
	if wire.IsMark(value) {
		var m wire.Mark
		err := wire.ParseMark(value, &m)
		return wire.AppendMark(nil, &m), err
	}
	if topic == "flows" {
		var r flow.Record
		_, err := wire.ParseFlow(key, value, &r)
		return wire.AppendFlow(nil, &r), err
	}
	var e, f session.Event
	err := wire.ParseSession(key, value, &e)
	again := wire.AppendSession(nil, &e)
	if err != nil || bytes.Equal(again, value) {
		return again, err
	}
	if err := wire.ParseSession(key, again, &f); err != nil || !reflect.DeepEqual(e, f) || len(again) >= len(value) {
		return again, fmt.Errorf("%x says %+v, written again %+v (%w)", value, e, f, err)
	}
	return value, nil
}

// record runs the example and keeps the first records of each topic.
func record(t *testing.T) []byte {
	cluster := kafkatest.Embedded(t)
	run{cluster: cluster, partitions: 2, slots: 2}.toEnd(t, example)
	var b bytes.Buffer
	for _, topic := range []string{"flows", "sessions"} {
		marks, data := 0, 0
		for _, r := range readAll(t, cluster, "flowstitch."+topic+".v1", 2) {
			switch {
			case wire.IsMark(r.Value) && marks < 5:
				marks++
			case !wire.IsMark(r.Value) && data < 60:
				data++
			default:
				continue
			}
			key := "-"
			if len(r.Key) > 0 {
				key = hex.EncodeToString(r.Key)
			}
			fmt.Fprintf(&b, "%s %s %x\n", topic, key, r.Value)
		}
	}
	return b.Bytes()
}
