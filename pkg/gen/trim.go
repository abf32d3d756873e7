package gen

// Trim leaves out the attacks that would begin after the scenario's end and
// returns how many those were: what a shorter duration asks for.
func (s *Scenario) Trim() int {
	kept := make([]Attack, 0, len(s.Attacks))
	for _, a := range s.Attacks {
		if a.At < s.Duration {
			kept = append(kept, a)
		}
	}
	gone := len(s.Attacks) - len(kept)
	s.Attacks = kept
	return gone
}
