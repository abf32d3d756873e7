// Package detect judges sessions: it adds them up per entity and pane
// (Combiner) and raises findings from the sums (Evaluator), one detector a file.
//
// It guarantees that the findings that it confirms, their UIDs and their last
// state are a function of the final session events alone: not of the order in
// which sessions arrive within a pane, not of how many partitions and combiners
// they were spread over, and not of when the process was stopped and its state
// restored. What is said earlier is marked provisional, and is confirmed or
// withdrawn when its pane is final. It is pure: time is an argument.
//
// An exception, stated: where more clients than Settings.FloodClients ask for
// one address within a pane and bucket, clients seen once are known only by
// the sample and the sketch that the address itself keeps. Which ones those
// are depends on the cut; that there was a flood, and how large, does not.
package detect
