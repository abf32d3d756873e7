package scenario

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/session"
)

// Sessions is the target that stitches sessions: its facts are session events
// (update, progress, close, correct, gap) and what became of records that are
// no part of one (duplicate, late, invalid).
//
// Settings: idle-tcp, idle-other, interval, linger, skew, active, update-hold,
// unanswered-after, retain (times), max-bytes (bytes), owned (prefixes) and
// scope (id, prefix, and optionally a VPC).
type Sessions struct {
	Config session.Config
	// Hook, when set, sees each event before it becomes a fact.
	Hook  func(*session.Event)
	table *session.Table
	start flow.Time
	next  int64
	facts []Fact
}

// NewSessions returns the target with the default configuration.
func NewSessions() *Sessions { return &Sessions{Config: session.Default()} }

// Table returns the table that the script runs on.
func (s *Sessions) Table() *session.Table { return s.table }

// SetTable replaces the table, by one restored from a snapshot for example.
func (s *Sessions) SetTable(t *session.Table) { s.table = t }

// Set implements Target.
func (s *Sessions) Set(name string, args []string) error {
	c := &s.Config
	times := map[string]*int64{
		"idle-tcp": &c.IdleTCP, "idle-other": &c.IdleOther, "interval": &c.Interval, "linger": &c.Linger,
		"skew": &c.Skew, "active": &c.Active, "unanswered-after": &c.UnansweredAfter, "retain": &c.Retain,
	}
	if to := times[name]; to != nil {
		v, err := seconds(args[0])
		*to = v
		return err
	}
	switch name {
	case "update-hold":
		d, err := time.ParseDuration(args[0])
		c.UpdateHold = d.Milliseconds()
		return err
	case "max-bytes":
		v, err := strconv.ParseInt(args[0], 10, 64)
		c.MaxBytes = v
		return err
	case "owned":
		for _, a := range args {
			p, err := netip.ParsePrefix(a)
			if err != nil {
				return err
			}
			c.Owned = append(c.Owned, p)
		}
		return nil
	case "scope":
		return s.scope(args)
	}
	return fmt.Errorf("set: there is no setting %q", name)
}

func (s *Sessions) scope(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("set scope: write an id, a prefix and perhaps a VPC")
	}
	id, err := strconv.ParseUint(args[0], 10, 16)
	if err != nil {
		return err
	}
	p, err := netip.ParsePrefix(args[1])
	if err != nil {
		return err
	}
	s.Config.Scopes = append(s.Config.Scopes, session.Scope{ID: uint16(id), Ranges: []netip.Prefix{p}, VPCs: args[2:]})
	return nil
}

// Begin implements Target.
func (s *Sessions) Begin(start flow.Time) error {
	if err := s.Config.Validate(); err != nil {
		return err
	}
	s.start, s.table = start, session.NewTable(s.Config)
	return nil
}

// Observe implements Target.
func (s *Sessions) Observe(r *flow.Record) error {
	s.next++
	switch v := s.table.Observe(r, 0, s.next, s.emit); v {
	case session.Duplicate, session.Late, session.Invalid:
		s.facts = append(s.facts, Fact{Subject: v.String()})
	default: // what became of the others, their events tell
	}
	return nil
}

// Advance implements Target.
func (s *Sessions) Advance(clock flow.Time) error {
	s.table.Advance(clock, s.emit, nil)
	return nil
}

// Tick implements Target.
func (s *Sessions) Tick(wall int64) error {
	s.table.Tick(wall, s.emit)
	return nil
}

// Facts implements Target.
func (s *Sessions) Facts() []Fact {
	f := s.facts
	s.facts = nil
	return f
}

func (s *Sessions) emit(e *session.Event) {
	if s.Hook != nil {
		s.Hook(e)
	}
	s.facts = append(s.facts, SessionFact(e, s.start))
}

// SessionFact states a session event, its times since start.
func SessionFact(e *session.Event, start flow.Time) Fact {
	f := Fact{Subject: e.Kind.String(), Provisional: !e.Kind.Final()}
	add := func(name, value string) { f.Fields = append(f.Fields, Field{name, value}) }
	since := func(t flow.Time) string { return (time.Duration(t-start) * time.Second).String() }
	if e.Gap != nil {
		add("point", e.Gap.Point.ID)
		add("from", since(e.Gap.Start))
		add("to", since(e.Gap.End))
		return f
	}
	add("client", e.Client.String())
	add("server", e.Server.String())
	add("protocol", strconv.Itoa(int(e.Key.Protocol)))
	add("out", pair(e.Out.Packets, e.Out.Bytes))
	add("in", pair(e.In.Packets, e.In.Bytes))
	add("out-rejected", pair(e.Out.RejectPackets, e.Out.RejectBytes))
	add("in-rejected", pair(e.In.RejectPackets, e.In.RejectBytes))
	add("outcome", e.Outcome.String())
	add("reason", e.Reason.String())
	add("evidence", e.Evidence.String())
	add("confidence", strconv.Itoa(int(e.Confidence)))
	add("direction", e.Direction.String())
	add("first", since(e.First))
	add("last", since(e.Last))
	add("out-delta", pair(e.OutDelta.Packets, e.OutDelta.Bytes))
	add("in-delta", pair(e.InDelta.Packets, e.InDelta.Bytes))
	add("out-final", pair(e.OutFinal.Packets, e.OutFinal.Bytes))
	add("in-final", pair(e.InFinal.Packets, e.InFinal.Bytes))
	add("delta-first", since(e.DeltaFirst))
	add("new", yes(e.New))
	add("opened", yes(e.Opened))
	add("points", points(e))
	add("client-outer", e.ClientOuter.String())
	add("server-outer", e.ServerOuter.String())
	add("client-service", e.ClientService)
	add("server-service", e.ServerService)
	add("path", strconv.Itoa(int(e.Path)))
	add("scope", strconv.Itoa(int(e.Key.Scope)))
	add("id", e.ID.String())
	return f
}

func pair(packets, bytes int64) string { return fmt.Sprintf("%d/%d", packets, bytes) }

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func points(e *session.Event) string {
	var list []string
	for i := range e.Points {
		p := &e.Points[i]
		s := p.ID
		if p.LogGroup != "" {
			s += "@" + p.LogGroup
		}
		list = append(list, s)
	}
	if e.PointsMore > 0 {
		list = append(list, fmt.Sprintf("+%d", e.PointsMore))
	}
	return strings.Join(list, ",")
}
