// Package detector is the detect service: combine adds session events up per
// entity and pane, evaluate judges the entities and says alerts.
//
// It guarantees that the findings and their last state are a function of the
// final session events, whatever the partition counts, the order and the
// crashes, and that a finding keeps its uid from its first statement to its last.
package detector
