package bench

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/flowstitch/flowstitch/internal/pipeline"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

// Result is what a run cost. Rates are records of flow logs a second.
type Result struct {
	Header Header           `json:"header"`
	Total  Total            `json:"total"`
	Stages []StageCost      `json:"stages"`
	Owners []OwnerCost      `json:"owners"`
	Topics []TopicCost      `json:"topics"`
	Commit map[string]Delay `json:"commit_seconds"`
	Alert  *Delay           `json:"alert_seconds,omitempty"`
	Probes []Probe          `json:"probes,omitempty"`
}

// Header says what ran where.
type Header struct {
	When           time.Time `json:"when"`
	CPUs           int       `json:"cpus"`
	CPUModel       string    `json:"cpu_model,omitempty"`
	Memory         int64     `json:"memory_bytes,omitempty"`
	Kernel         string    `json:"kernel,omitempty"`
	Arch           string    `json:"arch"`
	Go             string    `json:"go"`
	Version        string    `json:"version"`
	Client         string    `json:"client"` // the Kafka client library
	Broker         string    `json:"broker"`
	Preset         string    `json:"preset"`
	PGO            bool      `json:"pgo"` // built with a profile
	Partitions     int32     `json:"partitions"`
	Slots          int       `json:"slots"`
	CommitInterval string    `json:"commit_interval"`
	Rate           float64   `json:"rate"`
	Shape          any       `json:"shape"`
}

// Total is the whole process, the embedded broker and the generator included; a
// broker of its own is beside it.
type Total struct {
	Flows        int64   `json:"flows"`
	InputBytes   int64   `json:"input_bytes"`
	StartSeconds float64 `json:"start_seconds"` // until each stage had its slots: topics, groups, ledgers
	// Seconds are from there until the last flow had been judged.
	Seconds         float64 `json:"seconds"`
	FlowsPerSecond  float64 `json:"flows_per_second"`
	FlowsPerCore    float64 `json:"flows_per_second_per_core"`
	CPUPerMillion   float64 `json:"cpu_seconds_per_million_flows"`
	AllocPerFlow    float64 `json:"alloc_bytes_per_flow"`
	OurAllocPerFlow float64 `json:"our_alloc_bytes_per_flow"`
	// OurSteadyAlloc is what our own code allocated for each flow when
	// tables and panes had been filled; 0: not asked, or too short a run.
	OurSteadyAlloc   float64 `json:"our_steady_alloc_bytes_per_flow,omitempty"`
	PeakMemory       int64   `json:"peak_memory_bytes"`
	WrittenPerInByte float64 `json:"written_bytes_per_input_byte"`
	StoredPerInByte  float64 `json:"stored_bytes_per_input_byte,omitempty"` // on the brokers' disks, as compressed
	Alerts           int     `json:"alert_records"`
	// Sessions is the largest number of open sessions, TableBytes what the
	// tables of sessionize took then.
	Sessions   float64 `json:"open_sessions"`
	TableBytes float64 `json:"table_bytes"`
	// Broker is the process of a broker on this machine, if there is one.
	Broker *BrokerCost `json:"broker,omitempty"`
}

// BrokerCost is what the broker's own process took of this machine.
type BrokerCost struct {
	CPUPerMillion float64 `json:"cpu_seconds_per_million_flows"`
	Share         float64 `json:"cpu_share"` // of it and this process together
	PeakMemory    int64   `json:"peak_memory_bytes"`
}

// all is the processor time of this process and the broker's, in seconds per
// million flows.
func (t *Total) all() float64 {
	if t.Broker == nil {
		return t.CPUPerMillion
	}
	return t.CPUPerMillion + t.Broker.CPUPerMillion
}

// StageCost is what one stage took of the processor.
type StageCost struct {
	Stage         string  `json:"stage"`
	CPUPerMillion float64 `json:"cpu_seconds_per_million_flows"`
	Share         float64 `json:"share"`
	FlowsPerCore  float64 `json:"flows_per_second_per_core"`
	// AllocPerFlow is what was allocated with the stage's own code on the stack;
	// what the client's goroutines allocate for it is among "other".
	AllocPerFlow float64 `json:"alloc_bytes_per_flow"`
	SteadyAlloc  float64 `json:"steady_alloc_bytes_per_flow,omitempty"` // in the steady part
}

// OwnerCost is what one owner's code took.
type OwnerCost struct {
	Owner        string  `json:"owner"`
	Share        float64 `json:"cpu_share"` // of this process and a broker's on this machine
	AllocPerFlow float64 `json:"alloc_bytes_per_flow"`
	SteadyAlloc  float64 `json:"steady_alloc_bytes_per_flow,omitempty"` // in the steady part
}

// TopicCost is what was produced to one topic, before compression, and what of
// it is stored.
type TopicCost struct {
	Topic     string  `json:"topic"`
	Records   float64 `json:"records"`
	Bytes     float64 `json:"bytes"`
	PerInByte float64 `json:"per_input_byte"`
	Stored    int64   `json:"stored_bytes,omitempty"` // one replica, as compressed; 0: the broker does not tell
}

// Delay is a distribution in seconds.
type Delay struct {
	N   int     `json:"n"`
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// used is what a run took of the processor and of memory.
type used struct {
	cpu, allocs, broker float64 // seconds, bytes, seconds of the broker's process
	profile             *share
	before, after       *share // allocations
	half, whole         *share // the same at the ends of the steady part; nil: not asked, or not reached
	steadyFlows         int64  // of that part
}

// steady is what one stage or owner allocated for each flow of the steady part.
func (u *used) steady(of func(*share) map[string]float64, name string) float64 {
	if u.half == nil || u.whole == nil || u.steadyFlows <= 0 {
		return 0
	}
	return (of(u.whole)[name] - of(u.half)[name]) / float64(u.steadyFlows)
}

func stagesOf(s *share) map[string]float64 { return s.byStage }

func ownersOf(s *share) map[string]float64 { return s.byOwner }

func (r *run) header() Header {
	p := r.o.Pipeline.Detect.Pipeline
	h := Header{
		When: time.Now().UTC().Truncate(time.Second), CPUs: runtime.GOMAXPROCS(0), Arch: runtime.GOARCH, Go: runtime.Version(), Version: telemetry.Version(),
		Broker: r.o.Broker, Preset: cmp.Or(r.o.Preset, "default"), Partitions: p.Partitions, Slots: p.Slots, CommitInterval: p.CommitInterval.String(), Rate: r.o.Rate, Shape: r.o.Shape,
	}
	h.CPUModel, h.Kernel, h.Memory = machine()
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, d := range b.Deps {
			if d.Path == "github.com/twmb/franz-go" {
				h.Client = "franz-go " + d.Version
			}
		}
		for _, s := range b.Settings {
			h.PGO = h.PGO || s.Key == "-pgo"
		}
	}
	return h
}

func (r *run) result(u *used) *Result {
	given, bytes, first := r.src.progress()
	seconds := r.ended.Sub(first).Seconds()
	millions := float64(given) / 1e6
	out := &Result{
		Header: r.header(),
		Total: Total{
			Flows: given, InputBytes: bytes, StartSeconds: first.Sub(r.began).Seconds(), Seconds: seconds, FlowsPerSecond: float64(given) / seconds,
			FlowsPerCore: float64(given) / u.cpu, CPUPerMillion: u.cpu / millions,
			AllocPerFlow: u.allocs / float64(given), PeakMemory: peakMemory("self"), Alerts: r.alerts,
			Sessions: r.sessions, TableBytes: r.tables,
		},
		Commit: map[string]Delay{},
	}
	ofAll := 1.0 // the share of this process
	if u.broker > 0 {
		ofAll = u.cpu / (u.cpu + u.broker)
		out.Total.Broker = &BrokerCost{CPUPerMillion: u.broker / millions, Share: 1 - ofAll, PeakMemory: peakMemory(strconv.Itoa(r.broker))}
	}
	allocs := func(now, before map[string]float64, name string) float64 {
		return (now[name] - before[name]) / float64(given)
	}
	out.Total.OurAllocPerFlow = allocs(u.after.byOwner, u.before.byOwner, OwnerOurs)
	out.Total.OurSteadyAlloc = u.steady(ownersOf, OwnerOurs)
	for _, stage := range byValue(u.profile.byStage) {
		v := u.profile.byStage[stage] / u.profile.total
		cost := StageCost{Stage: stage, CPUPerMillion: v * u.cpu / millions, Share: v, AllocPerFlow: allocs(u.after.byStage, u.before.byStage, stage), SteadyAlloc: u.steady(stagesOf, stage)}
		cost.FlowsPerCore = 1e6 / cost.CPUPerMillion
		out.Stages = append(out.Stages, cost)
	}
	for _, owner := range byValue(u.profile.byOwner) {
		out.Owners = append(out.Owners, OwnerCost{owner, ofAll * u.profile.byOwner[owner] / u.profile.total, allocs(u.after.byOwner, u.before.byOwner, owner), u.steady(ownersOf, owner)})
	}
	if out.Total.Broker != nil {
		out.Owners = append(out.Owners, OwnerCost{Owner: OwnerProcess, Share: out.Total.Broker.Share})
	}
	r.topics(out)
	for _, m := range pipeline.Metrics(r.tel.Registry, "flowstitch_stage_commit_seconds") {
		out.Commit[metricStage(m)] = histogram(m.GetHistogram())
	}
	if d := r.src.delays(); len(d) > 0 {
		out.Alert, out.Probes = quantiles(d), r.src.results()
	}
	return out
}

func (r *run) topics(out *Result) {
	bytes, records := map[string]float64{}, map[string]float64{}
	for _, m := range pipeline.Metrics(r.tel.Registry, "flowstitch_stage_bytes_out_total") {
		bytes[pipeline.Label(m, "topic")] += m.GetCounter().GetValue()
	}
	for _, m := range pipeline.Metrics(r.tel.Registry, "flowstitch_stage_records_out_total") {
		records[pipeline.Label(m, "topic")] += m.GetCounter().GetValue()
	}
	for _, m := range pipeline.Metrics(r.tel.Registry, "flowstitch_stage_ledger_bytes_total") {
		bytes[metricStage(m)+".ledger"] += m.GetCounter().GetValue()
	}
	in := float64(out.Total.InputBytes)
	for _, topic := range byValue(bytes) {
		out.Topics = append(out.Topics, TopicCost{topic, records[topic], bytes[topic], bytes[topic] / in, r.stored[topic]})
		out.Total.WrittenPerInByte += bytes[topic] / in
	}
	for _, n := range r.stored {
		out.Total.StoredPerInByte += float64(n) / in
	}
}

func metricStage(m *dto.Metric) string {
	name := pipeline.Label(m, "service")
	if s := pipeline.Label(m, "stage"); s != "" {
		name += "." + s
	}
	return name
}

func byValue(m map[string]float64) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if m[a] != m[b] {
			return int(math.Copysign(1, m[b]-m[a]))
		}
		if a < b {
			return -1
		}
		return 1
	})
}

func quantiles(d []time.Duration) *Delay {
	slices.Sort(d)
	at := func(q float64) float64 { return d[min(len(d)-1, int(q*float64(len(d))))].Seconds() }
	return &Delay{N: len(d), P50: at(0.5), P99: at(0.99)}
}

// histogram gives the upper bounds of the buckets that hold the quantiles.
func histogram(h *dto.Histogram) Delay {
	n := h.GetSampleCount()
	at := func(q float64) float64 {
		for _, b := range h.GetBucket() {
			if float64(b.GetCumulativeCount()) >= q*float64(n) {
				return b.GetUpperBound()
			}
		}
		return math.MaxFloat64
	}
	return Delay{N: int(n), P50: at(0.5), P99: at(0.99)}
}

// WriteTable writes the result for a person.
func (r *Result) WriteTable(w io.Writer) error {
	h, t := &r.Header, &r.Total
	fmt.Fprintf(w, "%s, %d CPUs, %s, %d GiB, %s\n", cmp.Or(h.CPUModel, h.Arch), h.CPUs, h.Arch, h.Memory>>30, h.Kernel)
	fmt.Fprintf(w, "%s, flowstitch %s%s, %s, broker %s\n", h.Go, h.Version, map[bool]string{true: " with PGO"}[h.PGO], h.Client, h.Broker)
	fmt.Fprintf(w, "%d partitions, %d slots, preset %s, commit every %s; %+v\n\n", h.Partitions, h.Slots, h.Preset, h.CommitInterval, h.Shape)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "flows\t%d in %.1f s, after %.1f s to start\n", t.Flows, t.Seconds, t.StartSeconds)
	fmt.Fprintf(tw, "rate\t%.0f flows/s, %.0f flows/s a core used\n", t.FlowsPerSecond, t.FlowsPerCore)
	fmt.Fprintf(tw, "CPU\t%.2f s per million flows\n", t.CPUPerMillion)
	if b := t.Broker; b != nil {
		fmt.Fprintf(tw, "CPU of the broker\t%.2f s per million flows, so %.2f s in all; peak memory %d MiB\n", b.CPUPerMillion, t.all(), b.PeakMemory>>20)
	}
	fmt.Fprintf(tw, "allocated\t%.0f bytes a flow, %.0f of them by our own code\n", t.AllocPerFlow, t.OurAllocPerFlow)
	if t.OurSteadyAlloc > 0 {
		fmt.Fprintf(tw, "steady\t%.0f bytes a flow by our own code, once tables and panes are filled\n", t.OurSteadyAlloc)
	}
	fmt.Fprintf(tw, "peak memory\t%d MiB\n", t.PeakMemory>>20)
	if t.Sessions > 0 {
		fmt.Fprintf(tw, "sessionize\t%.0f bytes an open session, at %.0f of them\n", t.TableBytes/t.Sessions, t.Sessions)
	}
	fmt.Fprintf(tw, "written\t%.2f bytes per input byte, before compression\n", t.WrittenPerInByte)
	if t.StoredPerInByte > 0 {
		fmt.Fprintf(tw, "stored\t%.2f bytes per input byte, on the brokers' disks\n", t.StoredPerInByte)
	}
	if r.Alert != nil {
		fmt.Fprintf(tw, "alert delay\tp50 %.3f s, p99 %.3f s over %d probes\n", r.Alert.P50, r.Alert.P99, r.Alert.N)
	}
	fmt.Fprintf(tw, "\nstage\tCPU s/million\tshare\tflows/s a core\tbytes allocated a flow%s\n", r.steadyHeader())
	for _, s := range r.Stages {
		fmt.Fprintf(tw, "%s\t%.3f\t%.0f %%\t%.0f\t%.1f%s\n", s.Stage, s.CPUPerMillion, 100*s.Share, s.FlowsPerCore, s.AllocPerFlow, r.steadyCell(s.SteadyAlloc))
	}
	fmt.Fprintf(tw, "\nwhose code\tCPU share\tbytes allocated a flow%s\n", r.steadyHeader())
	for _, o := range r.Owners {
		fmt.Fprintf(tw, "%s\t%.0f %%\t%.1f%s\n", o.Owner, 100*o.Share, o.AllocPerFlow, r.steadyCell(o.SteadyAlloc))
	}
	fmt.Fprintf(tw, "\ntopic\trecords\tMB\tper input byte\tMB stored\n")
	for _, c := range r.Topics {
		fmt.Fprintf(tw, "%s\t%.0f\t%.1f\t%.3f\t%.1f\n", c.Topic, c.Records, c.Bytes/1e6, c.PerInByte, float64(c.Stored)/1e6)
	}
	fmt.Fprintf(tw, "\ncommit of\tp50 s\tp99 s\n")
	for _, name := range slices.Sorted(maps.Keys(r.Commit)) {
		fmt.Fprintf(tw, "%s\t%.3f\t%.3f\n", name, r.Commit[name].P50, r.Commit[name].P99)
	}
	writeProbes(tw, r.Probes)
	return tw.Flush()
}

// steadyHeader and steadyCell are the column of the steady part, if there is one.
func (r *Result) steadyHeader() string {
	if r.Total.OurSteadyAlloc == 0 {
		return ""
	}
	return "\tsteady"
}

func (r *Result) steadyCell(v float64) string {
	if r.Total.OurSteadyAlloc == 0 {
		return ""
	}
	return fmt.Sprintf("\t%.1f", v)
}

// Compare writes the figures of two results beside each other.
func Compare(w io.Writer, a, b *Result) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\tbefore\tafter\tratio\t")
	row := func(name string, x, y float64) { fmt.Fprintf(tw, "%s\t%.4g\t%.4g\t%.3f\t\n", name, x, y, y/x) }
	row("flows/s", a.Total.FlowsPerSecond, b.Total.FlowsPerSecond)
	row("CPU s/million", a.Total.CPUPerMillion, b.Total.CPUPerMillion)
	row("CPU s/million, broker's process too", a.Total.all(), b.Total.all())
	row("bytes allocated/flow", a.Total.AllocPerFlow, b.Total.AllocPerFlow)
	row("of them ours", a.Total.OurAllocPerFlow, b.Total.OurAllocPerFlow)
	row("peak memory", float64(a.Total.PeakMemory), float64(b.Total.PeakMemory))
	row("written/input byte", a.Total.WrittenPerInByte, b.Total.WrittenPerInByte)
	row("stored/input byte", a.Total.StoredPerInByte, b.Total.StoredPerInByte)
	for _, s := range a.Stages {
		for _, o := range b.Stages {
			if s.Stage == o.Stage {
				row(s.Stage+" CPU s/million", s.CPUPerMillion, o.CPUPerMillion)
			}
		}
	}
	if a.Alert != nil && b.Alert != nil {
		row("alert delay p99 s", a.Alert.P99, b.Alert.P99)
	}
	return tw.Flush()
}
