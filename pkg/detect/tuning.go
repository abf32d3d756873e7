package detect

// Tuning holds the thresholds of the detectors, with the published values that
// they start from. docs/alerts/<id>.md says how each was chosen.
type Tuning struct {
	Brute   BruteTuning
	Crafted CraftedTuning
	Excess  ExcessTuning
	Scan    ScanTuning
}

// DefaultTuning returns the thresholds that docs/alerts documents.
func DefaultTuning() Tuning {
	return Tuning{Brute: defaultBrute(), Crafted: defaultCrafted(), Excess: defaultExcess(), Scan: defaultScan()}
}
