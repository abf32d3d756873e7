package detect

// Tuning holds the thresholds of the detectors, with the published values that
// they start from. docs/alerts/<id>.md says how each was chosen.
type Tuning struct {
	Beacon  BeaconTuning
	Brute   BruteTuning
	Callout CalloutTuning
	Crafted CraftedTuning
	Data    DataTuning
	DNS     DNSTuning
	Excess  ExcessTuning
	Gap     GapTuning
	Lists   []List
	Scan    ScanTuning
	Service ServiceTuning
	Surge   SurgeTuning
}

// DefaultTuning returns the thresholds that docs/alerts documents.
func DefaultTuning() Tuning {
	return Tuning{
		Beacon: defaultBeacon(), Brute: defaultBrute(), Callout: defaultCallout(), Crafted: defaultCrafted(),
		Data: defaultData(), DNS: defaultDNS(), Excess: defaultExcess(), Gap: defaultGap(),
		Scan: defaultScan(), Service: defaultServices(), Surge: defaultSurge(),
	}
}
