package detect

import "slices"

// Tuning holds the thresholds of the detectors, with the published values that
// they start from. docs/alerts/<id>.md says how each was chosen.
type Tuning struct {
	Beacon  BeaconTuning  `yaml:"beacon"`
	Brute   BruteTuning   `yaml:"brute_force"`
	Callout CalloutTuning `yaml:"outbound_callout"`
	Crafted CraftedTuning `yaml:"crafted_probe"`
	Data    DataTuning    `yaml:"data_excess"`
	DNS     DNSTuning     `yaml:"external_dns"`
	Excess  ExcessTuning  `yaml:"session_excess"`
	Gap     GapTuning     `yaml:"coverage_gap"`
	Lists   []List        `yaml:"-"`
	Scan    ScanTuning    `yaml:"scan"`
	Service ServiceTuning `yaml:"new_service"`
	Surge   SurgeTuning   `yaml:"traffic_surge"`
}

// DefaultTuning returns the thresholds that docs/alerts documents.
func DefaultTuning() Tuning {
	return Tuning{
		Beacon: defaultBeacon(), Brute: defaultBrute(), Callout: defaultCallout(), Crafted: defaultCrafted(),
		Data: defaultData(), DNS: defaultDNS(), Excess: defaultExcess(), Gap: defaultGap(),
		Scan: defaultScan(), Service: defaultServices(), Surge: defaultSurge(),
	}
}

// Validate returns a sentence for every value that can not be meant.
func (t *Tuning) Validate() (problems []string) {
	positive := func(name string, v float64) {
		if !(v > 0) {
			problems = append(problems, name+" must be more than 0")
		}
	}
	for name, v := range map[string]float64{
		"beacon.beats": float64(t.Beacon.Beats), "beacon.memory_seconds": float64(t.Beacon.Memory),
		"brute_force.attempts": float64(t.Brute.Attempts), "brute_force.attempts_ours": float64(t.Brute.AttemptsOurs),
		"brute_force.window_seconds": float64(t.Brute.Window), "brute_force.hosts": float64(t.Brute.Hosts),
		"data_excess.bytes": float64(t.Data.Bytes), "data_excess.ratio": t.Data.Ratio, "data_excess.young": float64(t.Data.Young),
		"data_excess.rare": float64(t.Data.Rare), "data_excess.new_peer": t.Data.NewPeer,
		"session_excess.sessions": float64(t.Excess.Sessions), "session_excess.ratio": t.Excess.Ratio,
		"scan.ports": float64(t.Scan.Ports), "scan.hosts": float64(t.Scan.Hosts), "scan.lateral": float64(t.Scan.Lateral), "scan.memory_seconds": float64(t.Scan.Memory),
		"scan.walk_ours": t.Scan.WalkOurs, "traffic_surge.packets": float64(t.Surge.Packets), "traffic_surge.ratio": t.Surge.Ratio,
		"coverage_gap.busy": float64(t.Gap.Busy), "coverage_gap.silent_seconds": float64(t.Gap.Silent),
	} {
		positive(name, v)
	}
	if t.Beacon.Score <= 0 || t.Beacon.Score > 1 {
		problems = append(problems, "beacon.score must lie above 0 and be at most 1")
	}
	if t.Beacon.Regular < 0 || t.Beacon.Regular > 1 {
		problems = append(problems, "beacon.regular must lie between 0 and 1")
	}
	s := &t.Scan
	if !(0 < s.Theta1 && s.Theta1 < s.Theta0 && s.Theta0 < 1) {
		problems = append(problems, "scan.theta1 must lie between 0 and scan.theta0, which must be below 1")
	}
	if !(0 < s.FalsePositive && s.FalsePositive < s.Detection && s.Detection < 1) {
		problems = append(problems, "scan.false_positive must lie between 0 and scan.detection, which must be below 1")
	}
	slices.Sort(problems)
	return problems
}
