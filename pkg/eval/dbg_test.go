package eval

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/flowstitch/flowstitch/pkg/session"
)

func TestDbg(t *testing.T) {
	f := "../../../shared/data/labelled/" + os.Getenv("SET")
	in, _ := os.Open(f)
	list, err := ReadLog(in, f)
	if err != nil {
		t.Fatal(err)
	}
	tab := session.NewTable(session.Default())
	emit := func(e *session.Event) {
		if !e.Opened {
			return
		}
		s := fmt.Sprintf("%d %s %v>%v/%d %s ev=%s own=%d dir=%s out=%+v in=%+v %s", e.First, e.Kind, e.Client, e.Server, e.Key.Protocol, e.Outcome, e.Evidence, e.Owned, e.Direction, e.Out, e.In, e.Reason)
		if strings.Contains(s, os.Getenv("GREP")) {
			fmt.Println(s)
		}
	}
	for i := range list {
		tab.Advance(list[i].End-360, emit, nil)
		tab.Observe(&list[i], 0, int64(i), emit)
	}
	tab.Advance(1<<62, emit, nil)
}
