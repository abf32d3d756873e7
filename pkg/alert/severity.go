package alert

// Severity is how much it matters if it is true. The numbers are OCSF's
// severity_id.
type Severity uint8

// Severities of an alert. Fatal is never reached by rule: only a user's own
// rule may claim it.
const (
	Informational Severity = 1
	Low           Severity = 2
	Medium        Severity = 3
	High          Severity = 4
	Critical      Severity = 5
	Fatal         Severity = 6
)

// String is the OCSF caption of the severity.
func (s Severity) String() string {
	return name(s, "Unknown", "Informational", "Low", "Medium", "High", "Critical", "Fatal")
}

// Impact is what the rule of severity asks about an alert. Each answer comes
// from the sessions, never from a guess.
type Impact struct {
	// Base is where the detector starts: Informational for a remark, Low for
	// attempts, Medium for what is notable even alone (an exfiltration).
	Base Severity
	// ActorOurs: the one who does it is one of our own hosts. Then it is not
	// Internet weather but a host that is compromised or misconfigured.
	ActorOurs bool
	// Answered: at least one attempt got an answer other than a refusal.
	Answered bool
	// Reached: it obtained something. A guesser's session went on past the
	// login, a scanned port was then used, data left.
	Reached bool
	// Ratio is observed over normal (or over threshold where there is no
	// normal); 0 where neither exists.
	Ratio float64
}

// Ratios from which the rule calls something unusual, and very unusual. One
// order of magnitude is what people mean by "far more"; two leave no doubt.
const (
	unusual     = 10
	veryUnusual = 100
)

// Rate is the written rule of severity:
//
//  1. Start at Base.
//  2. One up if an answer was got, one more if something was reached.
//  3. One up if the actor is ours.
//  4. One up if it is at least 10 times the normal, and was answered, done by
//     ours, or at least 100 times the normal.
//  5. What nobody answered, from outside, stays at Low, or at Medium from 100
//     times the normal (a flood is felt unanswered). What was answered but
//     reached nothing stays at High. The rest stays at Critical.
func Rate(i Impact) Severity {
	s := max(i.Base, Informational)
	s += step(i.Answered || i.Reached) + step(i.Reached) + step(i.ActorOurs)
	s += step(i.Ratio >= veryUnusual || i.Ratio >= unusual && (i.Answered || i.Reached || i.ActorOurs))
	return min(s, i.ceiling())
}

func (i Impact) ceiling() Severity {
	switch {
	case i.Reached:
		return Critical
	case i.Answered || i.ActorOurs:
		return High
	case i.Ratio >= veryUnusual:
		return Medium
	}
	return Low
}

func step(b bool) Severity {
	if b {
		return 1
	}
	return 0
}
