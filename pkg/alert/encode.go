package alert

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/pkg/flow"
)

// MaxSize is the largest encoding, in bytes. Logstash and Data Prepper fetch
// 1 MB at most and brokers refuse more than 1 MiB by default. The bounds of the
// lists keep an alert far below; an alert that is still larger, which takes
// texts made of characters that JSON escapes, loses lists until it fits.
const MaxSize = 900_000

// Format is how alerts are written.
type Format uint8

// Formats of alerts.
const (
	OCSF Format = iota // OCSF Detection Finding, class 2004 (the default)
	ECS                // Elastic Common Schema 9
)

// String is the name of the format as configuration writes it.
func (f Format) String() string { return name(f, "ocsf", "ecs") }

// ParseFormat reads the name of a format.
func ParseFormat(s string) (Format, error) {
	switch strings.ToLower(s) {
	case "ocsf", "":
		return OCSF, nil
	case "ecs":
		return ECS, nil
	}
	return 0, fmt.Errorf("alert: format %q is not known; use ocsf or ecs", s)
}

// Schema is a version of OCSF.
type Schema uint8

// Versions of OCSF. The older ones are for consumers that lag, such as the AWS
// services; they lose what the version has no attribute for.
const (
	OCSF18 Schema = iota // 1.8.0, the default
	OCSF15               // 1.5.0
	OCSF11               // 1.1.0
)

// String is the version as metadata.version has it.
func (s Schema) String() string { return name(s, "1.8.0", "1.5.0", "1.1.0") }

// ParseSchema reads a version of OCSF, with or without its patch level.
func ParseSchema(s string) (Schema, error) {
	switch strings.TrimSuffix(s, ".0") {
	case "", "1.8":
		return OCSF18, nil
	case "1.5":
		return OCSF15, nil
	case "1.1":
		return OCSF11, nil
	}
	return 0, fmt.Errorf("alert: schema_version %q is not known; use 1.8.0, 1.5.0 or 1.1.0", s)
}

// Options of an Encoder. The zero value is usable.
type Options struct {
	Format Format
	Schema Schema // of OCSF
	// Version is the product's version, "dev" when empty.
	Version string
	// DocsBase completes Detector.Doc to a link.
	DocsBase string
	// Source is the CloudEvents source: who of several deployments speaks. A
	// URI reference; "/flowstitch" when empty.
	Source string
	// Topic is the name of the topic, for metadata.log_name.
	Topic string
	// Namespace is the ECS data stream's namespace, "default" when empty.
	Namespace string
}

// DefaultDocsBase is where the pages of docs/alerts are published.
const DefaultDocsBase = "https://github.com/flowstitch/flowstitch/blob/main/"

// Encoder encodes alerts. It is safe for concurrent use.
type Encoder struct{ o Options }

// NewEncoder returns an encoder with its defaults filled in.
func NewEncoder(o Options) *Encoder {
	set := func(s *string, def string) {
		if *s == "" {
			*s = def
		}
	}
	set(&o.Version, "dev")
	set(&o.DocsBase, DefaultDocsBase)
	set(&o.Source, "/flowstitch")
	set(&o.Topic, "flowstitch.alerts.v1")
	set(&o.Namespace, "default")
	return &Encoder{o}
}

// Append appends the JSON object of a: one line, UTF-8, at most MaxSize bytes.
func (e *Encoder) Append(b []byte, a *Alert) ([]byte, error) {
	if a.Activity < Create || a.Activity > Close {
		return b, fmt.Errorf("alert %s: activity %d is none of create, update and close", a.UID, a.Activity)
	}
	c := *a
	cut := c.bound()
	for {
		out, err := e.append(b, &c, cut)
		if err != nil {
			return b, fmt.Errorf("alert %s: %w", a.UID, err)
		}
		if len(out)-len(b) <= MaxSize {
			return out, nil
		}
		if !c.shrink() {
			return b, fmt.Errorf("alert %s: larger than %d bytes without its lists", a.UID, MaxSize)
		}
		cut = true
	}
}

func (e *Encoder) append(b []byte, a *Alert, cut bool) ([]byte, error) {
	if e.o.Format == ECS {
		return json.Append(b, e.ecs(a, cut), json.SortMapKeys)
	}
	return json.Append(b, e.ocsf(a, cut), json.SortMapKeys)
}

// doc is the link to the page that explains the alert.
func (e *Encoder) doc(a *Alert) string {
	d := a.Detector.Doc
	if d == "" || strings.HasPrefix(d, "https://") || strings.HasPrefix(d, "http://") {
		return d
	}
	return e.o.DocsBase + d
}

// statement names this one record: no two statements of a cause share it.
func statement(a *Alert) string { return fmt.Sprintf("%s-%d", a.UID, a.Sequence) }

// bound cuts lists and texts to their bounds and reports whether it cut any.
// It replaces slices and writes to none.
func (a *Alert) bound() bool {
	cut := false
	a.Peers, a.PeersMore = head(a.Peers, MaxPeers, a.PeersMore, &cut)
	a.Ports, a.PortsMore = head(a.Ports, MaxPorts, a.PortsMore, &cut)
	a.Evidence, a.EvidenceMore = head(a.Evidence, MaxEvidence, a.EvidenceMore, &cut)
	a.Counts, _ = head(a.Counts, MaxCounts, 0, &cut)
	a.Attacks, _ = head(a.Attacks, MaxAttacks, 0, &cut)
	a.Labels = attrs(a.Labels, &cut)
	a.Context.Tags = attrs(a.Context.Tags, &cut)
	for _, s := range []*string{&a.Title, &a.Sentence, &a.FalseAlarm} {
		*s = clean(*s, MaxText, &cut)
	}
	for _, s := range []*string{
		&a.Entity.Value, &a.Detector.ID, &a.Detector.Name, &a.Detector.Version, &a.Detector.Doc,
		&a.Context.AccountID, &a.Context.Region, &a.Context.VPCID, &a.Context.SubnetID,
		&a.Context.InterfaceID, &a.Context.InstanceID,
	} {
		*s = clean(*s, maxWord, &cut)
	}
	return cut
}

// maxWord bounds identifiers, labels and tags, in bytes: AWS's own tags end at
// 256 characters.
const maxWord = 512

func head[T any](list []T, n int, more int64, cut *bool) ([]T, int64) {
	if len(list) <= n {
		return list, more
	}
	*cut = true
	return list[:n], more + int64(len(list)-n)
}

func attrs(list []flow.Attr, cut *bool) []flow.Attr {
	list, _ = head(list, MaxLabels, 0, cut)
	out := make([]flow.Attr, len(list))
	for i, l := range list {
		out[i] = flow.Attr{Name: clean(l.Name, maxWord, cut), Value: clean(l.Value, maxWord, cut)}
	}
	return out
}

// clean cuts s to n bytes at a rune and replaces what is not UTF-8.
func clean(s string, n int, cut *bool) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if len(s) <= n {
		return s
	}
	*cut = true
	n -= len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// fewPeers is how many peers are kept for as long as there is another list to drop.
const fewPeers = 50

// shrink drops the list that matters least, or half of the peers, of whom there
// may be many, and reports whether there was anything.
func (a *Alert) shrink() bool {
	switch {
	case len(a.Context.Tags) > 0:
		a.Context.Tags = nil
	case len(a.Labels) > 0:
		a.Labels = nil
	case len(a.Peers) > fewPeers:
		half := max(len(a.Peers)/2, fewPeers)
		a.PeersMore += int64(len(a.Peers) - half)
		a.Peers = a.Peers[:half]
	case len(a.Peers) > 0:
		a.PeersMore += int64(len(a.Peers))
		a.Peers = nil
	case len(a.Ports) > 0:
		a.PortsMore += int64(len(a.Ports))
		a.Ports = nil
	case len(a.Evidence) > 0:
		a.EvidenceMore += int64(len(a.Evidence))
		a.Evidence = nil
	case len(a.Counts) > 0:
		a.Counts = nil
	default:
		return false
	}
	return true
}
