package topology

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/stage"
)

func layout() Layout { return Layout{Prefix: "t.", Partitions: 4, Slots: 2} }

func TestTopicsAreDistinctAndPrefixed(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Topics(layout()) {
		name := layout().Names().Name(s.Name)
		if seen[name] || !strings.HasPrefix(name, "t.flowstitch.") || s.Partitions < 1 {
			t.Errorf("%s: twice, without prefix or without partitions", name)
		}
		seen[name] = true
	}
	if len(seen) != 5+2*len(Stages()) {
		t.Errorf("%d topics", len(seen))
	}
}

// TestACLsCoverEachStage: what a stage reads, writes and joins is granted to
// its service, and nothing is granted to all.
func TestACLsCoverEachStage(t *testing.T) {
	l := layout()
	for _, s := range Stages() {
		acls := ACLs(s.Service, l)
		can := func(typ, name, op string) bool {
			return slices.ContainsFunc(acls, func(a ACL) bool {
				return a.Type == typ && (a.Name == name || a.Pattern == "prefix" && strings.HasPrefix(name, a.Name)) && slices.Contains(a.Operations, op)
			})
		}
		c := s.config(l)
		for _, o := range s.Outputs {
			if !can("topic", l.Names().Name(o), "Write") {
				t.Errorf("%s %s may not write %s", s.Service, s.Name, o)
			}
		}
		if s.Input != "" && !can("topic", l.Names().Name(s.Input), "Read") {
			t.Errorf("%s may not read %s", s.Service, s.Input)
		}
		if !can("topic", l.Names().Name(c.LedgerTopic()), "Write") || !can("group", c.Group(), "Read") || !can("transactionalId", "t.flowstitch."+s.Service+".main.0.1", "Write") {
			t.Errorf("%s %s: ledger, group or transactional id", s.Service, s.Name)
		}
		for _, a := range acls {
			if slices.Contains(a.Operations, "Create") {
				t.Errorf("%s may make %s: that is the topic maker's", s.Service, a.Name)
			}
		}
		if can("topic", l.Names().Name(stage.AlertsTopic), "Write") != (s.Service == "detect") {
			t.Errorf("%s: alerts are written by detect alone", s.Service)
		}
	}
	for _, a := range ACLs(Admin, l) {
		if slices.Contains(a.Operations, "Read") || slices.Contains(a.Operations, "Write") {
			t.Errorf("the topic maker may touch the records of %s", a.Name)
		}
	}
}

// TestSecondTopic: where alerts are also written in another format, the topic is
// made, and detect alone may write it.
func TestSecondTopic(t *testing.T) {
	c := Default()
	c.Alerts.Also = "ecs"
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	l := c.Layout()
	name := l.Names().Name("alerts-ecs")
	if !slices.ContainsFunc(Topics(l), func(s stage.TopicSpec) bool { return l.Names().Name(s.Name) == name }) {
		t.Errorf("%s is not among the topics", name)
	}
	for _, who := range append(Services(), Admin) {
		i := slices.IndexFunc(ACLs(who, l), func(a ACL) bool { return a.Name == name })
		if (i >= 0) != (who == "detect" || who == Admin) || i >= 0 && slices.Contains(ACLs(who, l)[i].Operations, "Write") != (who == "detect") {
			t.Errorf("%s: %v", who, ACLs(who, l))
		}
	}
	if c.Alerts.Also = "cef"; c.Validate() == nil {
		t.Error("an unknown format is accepted")
	}
}

func TestWriters(t *testing.T) {
	var topics, users, commands bytes.Buffer
	z := Strimzi{Cluster: "k", Replicas: 3, MinISR: 2, Auth: "tls"}
	if err := z.WriteTopics(&topics, layout()); err != nil {
		t.Fatal(err)
	}
	if err := z.WriteUsers(&users, layout()); err != nil {
		t.Fatal(err)
	}
	if err := WriteCommands(&commands, layout(), "User:CN=flowstitch-"); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[*bytes.Buffer]string{
		&topics:   "topicName: t.flowstitch.flows.v1\n  partitions: 4\n",
		&users:    "name: t.flowstitch.detect.combine\n",
		&commands: "--allow-principal 'User:CN=flowstitch-detect'",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// TestMoveChecksTheCluster drives Observe and Move against a broker.
func TestMoveChecksTheCluster(t *testing.T) {
	cluster := kafkatest.Embedded(t)
	from, to := layout(), Layout{Prefix: "l1.", Partitions: 8, Slots: 8}
	// A client remembers for seconds that a topic does not exist: a new one each.
	observe := func(l Layout) *State {
		cl, err := kgo.NewClient(cluster.Opts()...)
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		s, err := Observe(t.Context(), kadm.NewClient(cl), l)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if missing, _ := observe(from).Missing(from); len(missing) != len(Topics(from)) {
		t.Errorf("on an empty cluster %d topics are missing", len(missing))
	}
	c := (&Stage{Service: "topics"}).config(from)
	c.Client, c.Replication = cluster.Opts(), 1
	if err := stage.EnsureTopics(t.Context(), c, Topics(from)...); err != nil {
		t.Fatal(err)
	}
	s := observe(from)
	if missing, wrong := s.Missing(from); len(missing)+len(wrong) > 0 {
		t.Errorf("after making them: missing %v, wrong %v", missing, wrong)
	}
	if _, wrong := s.Missing(Layout{Prefix: "t.", Partitions: 6, Slots: 2}); len(wrong) == 0 {
		t.Error("another number of partitions goes unnoticed")
	}
	for _, g := range Groups(from) {
		s.Members[g] = 1
	}
	if steps, err := s.Move(from, to, observe(to)); err != nil || len(steps) == 0 {
		t.Errorf("a good move is refused: %v", err)
	}
	for name, bad := range map[string]struct {
		to   Layout
		with func(*State)
		want string
	}{
		"same prefix":   {Layout{Prefix: "t.", Partitions: 8, Slots: 8}, nil, "prefix of its own"},
		"slots":         {Layout{Prefix: "l1.", Partitions: 8, Slots: 3}, nil, "do not divide"},
		"nothing new":   {Layout{Prefix: "l1.", Partitions: 4, Slots: 2}, nil, "already"},
		"behind":        {to, func(s *State) { s.Lag[Groups(from)[1]] = MaxLag + 1 }, "behind"},
		"nobody runs":   {to, func(s *State) { clear(s.Members) }, "no member"},
		"nothing there": {to, func(s *State) { clear(s.Partitions) }, "no topic"},
	} {
		s := observe(from)
		for _, g := range Groups(from) {
			s.Members[g] = 1
		}
		if bad.with != nil {
			bad.with(s)
		}
		if _, err := s.Move(from, bad.to, observe(to)); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s: %v, want %q", name, err, bad.want)
		}
	}
}
