// Package gen writes synthetic VPC flow logs: ordinary traffic of a small VPC
// with attacks placed on a timeline, and the shapes of load that benchmarks
// need.
//
// It guarantees that a scenario and a seed give the same records in the same
// order on every machine (there is no floating point in it), that leaving the
// attacks out leaves every ordinary record as it was, and that neither [Stream]
// nor [Load] allocates for each record.
//
// What it models: two records (one a direction) for each interface that saw a
// conversation in each aggregation interval, each interface with its own phase
// and delivery delay, so that the log is about as disordered as a real one;
// addresses as VPC flow logs show them, always the private one of an interface.
package gen
