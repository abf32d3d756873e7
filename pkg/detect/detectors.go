package detect

// Detectors returns every detector of the project, with the thresholds of set.
func Detectors(set *Settings) []Detector {
	t := &set.Tuning
	return []Detector{
		callout{t.Callout},
		beacon{t.Beacon},
		icmpErrors{t.Crafted.Every},
		excess{t.Excess},
		scan{t: t.Scan},
		scan{t: t.Scan, sweep: true},
		brute{t.Brute},
		data{t.Data},
		surge{t.Surge},
		crafted{t.Crafted},
		newService{t.Service},
		dns{t.DNS},
		listed{t.Lists},
		gap{t.Gap},
	}
}
