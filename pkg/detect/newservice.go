package detect

import (
	"fmt"
	"slices"

	"github.com/flowstitch/flowstitch/pkg/alert"
	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/window"
)

// ServiceTuning are the thresholds of new-service.
type ServiceTuning struct {
	// Learn is for how many seconds an address must have been seen before a
	// new service means anything; Forget is how long a service stays known.
	Learn  int64 `yaml:"learn_seconds"`
	Forget int64 `yaml:"forget_seconds"`
	// Settle is for how many seconds it must have been seen before a new
	// service at an unusual port means something once AtOnce clients have
	// used it on that day. Usual are the ports at which a young address may well
	// serve what just nobody asked for yet.
	Settle int64    `yaml:"settle_seconds"`
	AtOnce int64    `yaml:"at_once"`
	Usual  []uint16 `yaml:"usual"`
	// Clients is how many different ones must ask within a pane for a port
	// that the address does not serve.
	Clients int64 `yaml:"clients"`
}

// defaultServices: a day shows nightly jobs, two weeks the fortnightly ones; a
// port that 20 clients ask for within 5 min is no scanner's round any more. An
// hour shows what is in constant use, and 3 clients are no administrator's try.
func defaultServices() ServiceTuning {
	return ServiceTuning{
		Learn: day, Forget: 14 * day, Settle: hour, AtOnce: 3, Clients: 20,
		Usual: []uint16{20, 21, 22, 25, 53, 67, 68, 80, 88, 110, 111, 123, 135, 137, 138, 139, 143, 161, 162, 179, 389, 443, 445, 464, 465, 514, 587, 636,
			853, 873, 993, 995, 1433, 1521, 2049, 2379, 2380, 3000, 3268, 3306, 3389, 5000, 5432, 5671, 5672, 5985, 5986, 6379, 6443, 8000, 8080, 8443,
			9000, 9042, 9090, 9092, 9100, 9200, 9300, 10250, 11211, 27017},
	}
}

// newService finds addresses of ours that start to serve, or to be asked for, a
// port that they never used: see docs/alerts/new-service.md.
type newService struct{ t ServiceTuning }

func (d newService) Spec() Spec {
	return Spec{
		Detector: alert.Detector{
			ID: "new-service", Name: "New service", Version: "1", Method: alert.MethodBehavioral, Doc: doc("new-service"),
		},
		Bucket: day, Attacks: []string{"T1571", "T1205"},
		FalseAlarm: "A deployment, or a service that is used less often than the memory lasts.",
	}
}

func (d newService) Wants(e Entity, p *Part) bool {
	return e.Kind == KindHost && p.Owned // from its first pane on, whatever it does there
}

func (d newService) New() State { return &serviceState{d: d} }

type serviceState struct {
	d      newService
	serves known
	asked  known
	fresh  []freshService // of today: to be told again while they go on
}

type freshService struct {
	key      RowKey
	day      flow.Time
	served   bool
	clients  window.Set
	sessions int64
	first    flow.Time
	young    bool // the address was: told of from AtOnce clients on
}

// Early implements State.
func (s *serviceState) Early(*Pane, Reporter) {}

// Final implements State.
func (s *serviceState) Final(p *Pane, r Reporter) {
	if s.serves.first == 0 {
		s.serves.first = p.Start
	}
	young := p.Start < s.serves.first.Add(s.d.t.Learn)
	s.fresh = slices.DeleteFunc(s.fresh, func(f freshService) bool { return f.day != p.Start.Floor(day) })
	for _, row := range p.Set(Served).Rows() {
		if row.Key.Port == 0 || row.Key.Port >= ephemeralFrom || row.Counts.Sessions == 0 {
			continue
		}
		h := row.Key.hash()
		isNew := false
		if row.Counts.Answered > 0 {
			isNew = !s.serves.see(h, p.Start)
		} else if set := row.Set(); set != nil && set.Count() >= s.d.t.Clients && !s.serves.has(h) {
			isNew = !s.asked.see(h, p.Start)
		}
		if isNew && s.matters(p, row, young) && len(s.fresh) < maxTargets {
			s.fresh = append(s.fresh, freshService{
				key: row.Key, day: p.Start.Floor(day), served: row.Counts.Answered > 0,
				clients: window.NewSet(rowPorts), first: row.Counts.First, young: young,
			})
		}
		s.tell(p, row, r)
	}
	s.serves.forget(p.Start.Add(-s.d.t.Forget))
	s.asked.forget(p.Start.Add(-s.d.t.Forget))
}

// matters reports whether the address is known for long enough for a new
// service to mean something, be it only once enough clients have used it.
func (s *serviceState) matters(p *Pane, row *Row, young bool) bool {
	return !young || p.Start >= s.serves.first.Add(s.d.t.Settle) && row.Counts.Answered > 0 && !slices.Contains(s.d.t.Usual, row.Key.Port)
}

func (s *serviceState) tell(p *Pane, row *Row, r Reporter) {
	i := slices.IndexFunc(s.fresh, func(f freshService) bool { return f.key == row.Key })
	if i < 0 {
		return
	}
	x := &s.fresh[i]
	x.sessions += row.Counts.Sessions
	x.served = x.served || row.Counts.Answered > 0
	if set := row.Set(); set != nil {
		x.clients.Merge(*set)
	}
	if x.young && x.clients.Count() < s.d.t.AtOnce {
		return
	}
	what := service(row.Key.Protocol, row.Key.Port)
	f := p.finding()
	f.Weight = uint64(x.sessions)
	f.Entity = alert.ServiceEntity(p.Entity.Scope, row.Key.Protocol,
		flow.Endpoint{Addr: p.Entity.Addr, Port: row.Key.Port}, true, alert.RoleAffected)
	verb := "was asked for"
	if x.served {
		verb = "answers at"
	}
	f.Title = fmt.Sprintf("%s %s %s", p.Entity.Addr, verb, what)
	f.Sentence = fmt.Sprintf("Our host %s %s %s, which it never did in the %s that it is known: %s from %s so far today.",
		p.Entity.Addr, verb, what, span(int64(p.Start-s.serves.first)), plural(x.sessions, "session"), plural(x.clients.Count(), "client"))
	f.Severity = alert.Rate(alert.Impact{Base: alert.Informational, Answered: x.served})
	f.Confidence = 60
	f.Ports = append(f.Ports, alert.Port{Protocol: row.Key.Protocol, Port: row.Key.Port, Sessions: x.sessions})
	f.Counts = append(f.Counts,
		against("sessions", "sessions", float64(x.sessions), 0, "this host before", 1),
		count("clients", "clients", float64(x.clients.Count()), 0),
	)
	f.First, f.Last = x.first, max(row.Counts.Last, x.first)
	f.Window = dayOf(p.Start)
	f.EvidenceMore = x.sessions
	r.Raise(f)
}

// AppendTo implements State.
func (s *serviceState) AppendTo(b []byte) []byte {
	b = s.asked.appendTo(s.serves.appendTo(b))
	b = window.AppendUint(b, uint64(len(s.fresh)))
	for i := range s.fresh {
		x := &s.fresh[i]
		b = window.AppendBool(window.AppendInt(appendKey(b, x.key), int64(x.day)), x.served)
		b = x.clients.AppendTo(window.AppendBool(window.AppendInt(window.AppendInt(b, x.sessions), int64(x.first)), x.young))
	}
	return b
}

// Restore implements State.
func (s *serviceState) Restore(r *window.Reader) {
	s.serves.restore(r)
	s.asked.restore(r)
	for range r.Len() {
		x := freshService{key: readKey(r), day: flow.Time(r.Varint()), served: r.Bool(), sessions: r.Varint()}
		x.first, x.young = flow.Time(r.Varint()), r.Bool()
		x.clients = window.ReadSet(r)
		s.fresh = append(s.fresh, x)
	}
}
