package detect

import "slices"

// Detectors returns every detector of the project, with the thresholds of set.
func Detectors(set *Settings) []Detector {
	base := detectorsOf(&set.Tuning, set.Disabled)
	if len(set.Overrides) == 0 {
		return base
	}
	byNet := make([][]Detector, len(set.Overrides))
	for i := range set.Overrides {
		byNet[i] = detectorsOf(&set.Overrides[i].Tuning, set.Disabled)
	}
	for i := range base {
		d := overridden{Detector: base[i], set: set}
		for _, list := range byNet {
			d.others = append(d.others, list[i])
		}
		base[i] = d
	}
	return base
}

func detectorsOf(t *Tuning, disabled []string) []Detector {
	return []Detector{
		callout{t.Callout},
		beacon{t.Beacon},
		icmpErrors{t.Crafted.Every},
		excess{t.Excess},
		scan{t: t.Scan, alone: slices.Contains(disabled, "crafted-probe")},
		scan{t: t.Scan, sweep: true},
		brute{t.Brute},
		data{t.Data},
		surge{t.Surge},
		crafted{t.Crafted, t.Scan.steps()},
		newService{t.Service},
		dns{t.DNS},
		listed{t.Lists},
		gap{t.Gap},
	}
}

// overridden is a detector with other thresholds for some networks.
type overridden struct {
	Detector
	set    *Settings
	others []Detector // by override
}

// detectorFor returns the detector whose thresholds hold for an entity.
func detectorFor(d Detector, e Entity) Detector {
	o, ok := d.(overridden)
	if !ok || !e.Addr.IsValid() {
		return d
	}
	for i := range o.set.Overrides {
		if containsIP(o.set.Overrides[i].Nets, e.Addr.IP()) {
			return o.others[i]
		}
	}
	return d
}
