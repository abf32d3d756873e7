package eval

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// Truth is one labelled attacker and kind of attack.
type Truth struct {
	Attacker   flow.Addr
	Victims    []flow.Addr
	Kind       string
	Start, End flow.Time
	Flows      int64
	Ports      int64
}

// ReadTruth reads a truth file, whose header names the columns.
func ReadTruth(in io.Reader) (out []Truth, err error) {
	rows, err := csv.NewReader(in).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("the truth is no CSV: %w", err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("the truth has no header")
	}
	col := map[string]int{}
	for i, name := range rows[0] {
		col[name] = i
	}
	for n, row := range rows[1:] {
		t, err := parseTruth(row, col)
		if err != nil {
			return nil, fmt.Errorf("line %d of the truth: %w", n+2, err)
		}
		out = append(out, t)
	}
	return out, nil
}

func parseTruth(row []string, col map[string]int) (t Truth, err error) {
	if t.Attacker, err = flow.ParseAddr(row[col["attacker_ip"]]); err != nil {
		return t, err
	}
	for s := range strings.SplitSeq(row[col["victim_ip"]], ";") {
		a, err := flow.ParseAddr(s)
		if err != nil {
			return t, err
		}
		t.Victims = append(t.Victims, a)
	}
	t.Kind = row[col["kind"]]
	for _, f := range []struct {
		name string
		to   *int64
	}{{"start", (*int64)(&t.Start)}, {"end", (*int64)(&t.End)}, {"flows", &t.Flows}, {"n_dst_ports", &t.Ports}} {
		if *f.to, err = strconv.ParseInt(row[col[f.name]], 10, 64); err != nil {
			return t, err
		}
	}
	return t, nil
}
