package detect

// Detectors returns every detector of the project, with the thresholds of set.
func Detectors(set *Settings) []Detector {
	t := &set.Tuning
	return []Detector{
		crafted{t.Crafted},
		brute{t.Brute},
		excess{t.Excess},
		scan{t: t.Scan},
		scan{t: t.Scan, sweep: true},
	}
}
