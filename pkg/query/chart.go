package query

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// sparks are the heights of a sparkline, bars the widths of the end of a bar.
var (
	sparks = []rune("▁▂▃▄▅▆▇█")
	bars   = []rune(" ▏▎▍▌▋▊▉█")
)

// Chart draws an answer of sums for the eye: a line over time for each group
// where there are time buckets, a bar for each group otherwise. It draws the
// first aggregate.
func (r *Result) Chart(w io.Writer, width int) error {
	value := slices.IndexFunc(r.Columns, func(c Column) bool { return c.Kind == Number && !c.Group })
	if value < 0 {
		return fmt.Errorf("a chart needs a number: group by something")
	}
	if r.Columns[0].Kind == Time && r.Columns[0].Name == "time" {
		return r.lines(w, value, width)
	}
	return r.bars(w, value, width)
}

func (r *Result) label(row []Value, from, to int) string {
	var parts []string
	for i := from; i < to; i++ {
		parts = append(parts, r.Columns[i].text(row[i]))
	}
	if len(parts) == 0 {
		return "all"
	}
	return strings.Join(parts, " ")
}

func (r *Result) bars(w io.Writer, value, width int) error {
	peak, labels, numbers := 0.0, 0, 0
	for _, row := range r.Rows {
		peak = max(peak, row[value].Number)
		labels = max(labels, utf8.RuneCountInString(r.label(row, 0, value)))
		numbers = max(numbers, utf8.RuneCountInString(r.Columns[value].text(row[value])))
	}
	room := max(width-labels-numbers-3, 10)
	var b strings.Builder
	for _, row := range r.Rows {
		label, num := r.label(row, 0, value), r.Columns[value].text(row[value])
		fmt.Fprintf(&b, "%s%s %s%s ", label, strings.Repeat(" ", labels-utf8.RuneCountInString(label)), strings.Repeat(" ", numbers-utf8.RuneCountInString(num)), num)
		b.WriteString(bar(row[value].Number, peak, room))
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func bar(v, peak float64, room int) string {
	if peak <= 0 || v <= 0 {
		return ""
	}
	eighths := int(math.Round(v / peak * float64(room) * 8))
	s := strings.Repeat(string(bars[8]), eighths/8)
	if eighths%8 > 0 {
		s += string(bars[eighths%8])
	}
	if s == "" {
		s = string(bars[1]) // something is there
	}
	return s
}

// lines draws a sparkline for each group, groups by their peak.
func (r *Result) lines(w io.Writer, value, width int) error {
	type series struct {
		label string
		at    map[float64]float64
		peak  float64
	}
	var all []*series
	var times []float64
	for _, row := range r.Rows {
		label := r.label(row, 1, value)
		i := slices.IndexFunc(all, func(s *series) bool { return s.label == label })
		if i < 0 {
			i = len(all)
			all = append(all, &series{label: label, at: map[float64]float64{}})
		}
		all[i].at[row[0].Number] = row[value].Number
		all[i].peak = max(all[i].peak, row[value].Number)
		times = append(times, row[0].Number)
	}
	slices.Sort(times)
	times = slices.Compact(times)
	if len(times) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b *series) int { return int(math.Copysign(1, b.peak-a.peak)) })
	labels := 0
	for _, s := range all {
		labels = max(labels, utf8.RuneCountInString(s.label))
	}
	grid := gridOf(times, max(width-labels-20, 10))
	var b strings.Builder
	for _, s := range all {
		fmt.Fprintf(&b, "%s%s ", s.label, strings.Repeat(" ", labels-utf8.RuneCountInString(s.label)))
		for _, cell := range grid {
			v := 0.0
			for _, t := range cell {
				v = max(v, s.at[t])
			}
			b.WriteRune(spark(v, s.peak))
		}
		fmt.Fprintf(&b, " peak %s\n", r.Columns[value].text(Value{Number: s.peak}))
	}
	first, last := r.Rows[0][0].Text, r.Rows[len(r.Rows)-1][0].Text
	fmt.Fprintf(&b, "%s %s to %s\n", strings.Repeat(" ", labels), first, last)
	_, err := io.WriteString(w, b.String())
	return err
}

// gridOf lays times out on an even grid from the first to the last, several to
// a cell where there are more than fit.
func gridOf(times []float64, room int) [][]float64 {
	step := math.Inf(1)
	for i := 1; i < len(times); i++ {
		step = min(step, times[i]-times[i-1])
	}
	if math.IsInf(step, 1) {
		return [][]float64{times}
	}
	cells := int((times[len(times)-1]-times[0])/step) + 1
	per := (cells + room - 1) / room
	grid := make([][]float64, (cells+per-1)/per)
	for _, t := range times {
		at := int((t-times[0])/step) / per
		grid[at] = append(grid[at], t)
	}
	return grid
}

func spark(v, peak float64) rune {
	if v <= 0 || peak <= 0 {
		return ' '
	}
	return sparks[min(int(v/peak*float64(len(sparks))), len(sparks)-1)]
}
