package alert

// Header is a header of a Kafka record: small UTF-8 text.
type Header struct{ Key, Value string }

// Record is an alert as it is produced.
type Record struct {
	Key       []byte // the UID in hex: printable, as consumers show it
	Value     []byte // one JSON object, never null
	Headers   []Header
	Timestamp int64 // event time in Unix milliseconds; the producer clamps it to now
}

// Record encodes a as a Kafka record with CloudEvents headers in binary mode:
// the value stays the plain OCSF or ECS object that SIEMs read.
func (e *Encoder) Record(a *Alert) (Record, error) { return e.RecordIn(nil, a) }

// RecordIn is Record with the value in the room of b.
func (e *Encoder) RecordIn(b []byte, a *Alert) (Record, error) {
	v, err := e.Append(b[:0], a)
	if err != nil {
		return Record{}, err
	}
	uid := a.UID.String()
	return Record{Key: []byte(uid), Value: v, Timestamp: millis(a.Time), Headers: []Header{
		{"content-type", "application/json"},
		{"ce_specversion", "1.0"},
		{"ce_type", "io.flowstitch.finding." + a.Activity.String()},
		{"ce_source", e.o.Source},
		{"ce_id", statement(a)},
		{"ce_time", t0(a.Time)},
		{"ce_subject", subject(a)},
		{"ce_dataschema", e.dataSchema()},
		{"ce_partitionkey", uid},
		{"ce_severity", a.Severity.String()},
		{"ce_verdict", a.Verdict.String()},
	}}, nil
}

// subject is never empty: CloudEvents forbids an empty subject.
func subject(a *Alert) string {
	if s := clip(a.Entity.Value); s != "" {
		return s
	}
	return "unknown"
}

func (e *Encoder) dataSchema() string {
	if e.o.Format == ECS {
		return "https://www.elastic.co/docs/reference/ecs"
	}
	return "https://schema.ocsf.io/" + e.o.Schema.String() + "/classes/detection_finding"
}
