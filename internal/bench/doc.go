// Package bench drives the whole pipeline on a broker with generated traffic of
// a stated shape, and measures what it costs.
//
// It guarantees that what is measured is what runs: the services' own Run
// functions, fed with lines of a flow log through ingest's file source. CPU and
// allocations are taken from the runtime's own profiles, told apart by stage
// (profiler labels) and by whose code it is (the innermost frame that is no
// standard library).
package bench
