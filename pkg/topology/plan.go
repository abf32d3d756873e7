package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
)

// State is what a cluster has of a deployment.
type State struct {
	Partitions map[string]int32 // by full topic name; a topic that does not exist is missing
	Lag        map[string]int64 // by group, in records behind the committed end
	Members    map[string]int   // by group
}

// Observe reads the state of a deployment. It changes nothing.
func Observe(ctx context.Context, adm *kadm.Client, l Layout) (*State, error) {
	s := &State{Partitions: map[string]int32{}, Lag: map[string]int64{}, Members: map[string]int{}}
	var names []string
	for _, t := range Topics(l) {
		names = append(names, l.Names().Name(t.Name))
	}
	details, err := adm.ListTopics(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("topology: listing topics: %w", err)
	}
	for _, d := range details {
		if d.Err == nil {
			s.Partitions[d.Topic] = int32(len(d.Partitions))
		}
	}
	lags, err := adm.Lag(ctx, Groups(l)...)
	if err != nil {
		return nil, fmt.Errorf("topology: reading the groups' lag: %w", err)
	}
	for _, g := range lags {
		s.Members[g.Group] = len(g.Members)
		s.Lag[g.Group] = 0
		for topic, byPartition := range g.Lag {
			if strings.HasSuffix(topic, ".slots.v1") {
				continue // the control topic carries no work
			}
			for _, p := range byPartition {
				s.Lag[g.Group] += max(0, p.Lag)
			}
		}
	}
	return s, nil
}

// MaxLag is how far behind, in records, a pipeline may be when a move to
// another layout begins: the overlap of old and new must be what was planned,
// not a backlog.
const MaxLag = 1_000_000

// Move plans the change to another number of partitions or slots. Keys live in
// a partition by their hash, so the topics of a running pipeline never change:
// a second pipeline under another prefix takes over, the two overlap, and
// findings that both raise have the same uid. It refuses what would lose or
// split sessions, with every reason at once.
func (s *State) Move(from, to Layout, target *State) ([]string, error) {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(to.Partitions > 0 && to.Slots > 0 && to.Partitions%int32(max(to.Slots, 1)) == 0,
		"%d slots do not divide %d partitions; 24, 48 and 96 of both scale best", to.Slots, to.Partitions)
	check(to.Prefix != from.Prefix, "the new layout needs a prefix of its own, such as -new-prefix %q: under the old one the keys of open sessions would move to partitions that do not know them", nextPrefix(from.Prefix))
	flows := from.Names().Name("flows")
	have, ok := s.Partitions[flows]
	check(ok, "there is no topic %s: nothing to move; run flowstitch topics ensure", flows)
	check(!ok || have == from.Partitions, "%s has %d partitions and the configuration says %d: mend the configuration first", flows, have, from.Partitions)
	check(!ok || have != to.Partitions || from.Slots != to.Slots, "%s has %d partitions already", flows, have)
	for _, g := range Groups(from) {
		check(s.Lag[g] <= MaxLag, "group %s is %d records behind: let it catch up (below %d) first", g, s.Lag[g], MaxLag)
		check(s.Members[g] > 0, "group %s has no member: the old pipeline must run while the new one warms up", g)
	}
	for _, t := range Topics(to) {
		n, exists := target.Partitions[to.Names().Name(t.Name)]
		check(!exists || n == t.Partitions || to.Prefix == from.Prefix, "%s exists with %d partitions, not %d: choose another prefix or delete it", to.Names().Name(t.Name), n, t.Partitions)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return steps(from, to), nil
}

func nextPrefix(p string) string {
	if p == "" {
		return "l1."
	}
	return strings.TrimSuffix(p, ".") + "b."
}

func steps(from, to Layout) []string {
	return []string{
		fmt.Sprintf("Deploy a second pipeline: pipeline.prefix %q, pipeline.partitions %d, pipeline.slots %d, in a namespace of its own, its source starting one day back (or as far as the stream keeps). Its topics are made with flowstitch topics ensure.", to.Prefix, to.Partitions, to.Slots),
		"Wait until it has caught up: FlowstitchClockBehind is silent for the new namespace and flowstitch topics list shows no lag.",
		fmt.Sprintf("Let both run for at least an hour. Findings that both raise carry the same uid, so a SIEM that deduplicates by uid shows each once; compare with flowstitch tail alerts under %q and %q.", from.Prefix, to.Prefix),
		fmt.Sprintf("Point the consumers of alerts and sessions at %s and %s.", to.Names().Name("alerts"), to.Names().Name("sessions")),
		"Scale the old pipeline's ingest to 0, wait until its lag is 0, then remove the old deployment.",
		fmt.Sprintf("When nothing reads them any more, delete the topics that begin with %q.", from.Prefix+"flowstitch."),
		"To go back at any step before the last: point the consumers at the old topics again and remove the new deployment.",
	}
}

// Missing returns the topics that do not exist, and those whose number of
// partitions is not the layout's.
func (s *State) Missing(l Layout) (missing, wrong []string) {
	for _, t := range Topics(l) {
		name := l.Names().Name(t.Name)
		n, ok := s.Partitions[name]
		switch {
		case !ok:
			missing = append(missing, name)
		case n != t.Partitions:
			wrong = append(wrong, fmt.Sprintf("%s has %d partitions, not %d", name, n, t.Partitions))
		}
	}
	slices.Sort(wrong)
	return missing, wrong
}
