package operations

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/flowstitch/flowstitch/pkg/topology"
)

// layout is the one that the pages and manifests state: the default.
func layout() topology.Layout { return topology.Layout{Partitions: 24, Slots: 24} }

// pages renders every file that this package keeps, by path from the root.
func pages(all map[string]*Family) (map[string][]byte, error) {
	metrics := map[string]topology.ProductMetric{}
	for name, f := range all {
		metrics[name] = topology.ProductMetric{Type: f.Type, Labels: append([]string{}, f.Labels...)}
	}
	strimzi := topology.Strimzi{Cluster: "flowstitch", Replicas: 3, MinISR: 2, Auth: "tls"}
	out := map[string][]byte{}
	for path, write := range map[string]func(io.Writer) error{
		"docs/metrics.md":                         func(w io.Writer) error { return metricsPage(w, all) },
		"deploy/k8s/product.json":                 topology.Describe(layout(), metrics, configKeys()).Write,
		"deploy/k8s/overlays/strimzi/topics.yaml": func(w io.Writer) error { return strimzi.WriteTopics(w, layout()) },
		"deploy/k8s/overlays/strimzi/users.yaml":  func(w io.Writer) error { return strimzi.WriteUsers(w, layout()) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out[path] = b.Bytes()
	}
	return out, nil
}

// metricsPage writes the reference of metrics.
func metricsPage(w io.Writer, all map[string]*Family) error {
	var b strings.Builder
	b.WriteString(`# Metrics

Written by ` + "`go test ./internal/operations -update`" + ` from what a running pipeline exports; a test fails when it is not
current. Every service serves these at ` + "`/metrics`" + ` of its telemetry port (9600 in pods), beside the ` + "`go_`" + ` and ` + "`process_`" + `
families of the Go client. Counters count since the process began. What to watch, and what to do about it, is in
[operations.md](operations.md).
`)
	groups := map[string][]*Family{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		g := strings.SplitN(name, "_", 3)[1]
		groups[g] = append(groups[g], all[name])
	}
	for _, g := range slices.Sorted(maps.Keys(groups)) {
		fmt.Fprintf(&b, "\n## flowstitch_%s\n\n| metric | type | labels | meaning | exported by |\n|---|---|---|---|---|\n", g)
		for _, f := range groups[g] {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", strings.TrimPrefix(f.Name, "flowstitch_"), f.Type,
				strings.Join(f.Labels, ", "), strings.ReplaceAll(f.Help, "|", `\|`), strings.Join(f.Services, ", "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
