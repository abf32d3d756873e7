package bench

import (
	"time"

	"github.com/flowstitch/flowstitch/internal/pipeline"
)

// LowLatency gives a pipeline the settings of the low-latency preset. Each is a
// wait that is shortened: four commits in a row, the hold of a new session for its
// reply, and the time between two early looks at one address, for which an attack
// waits whose first records come in two transactions. TestDelayOfTheDesign holds
// what is left of them below half a second; the brokers pay with five times the
// transactions, and detect with an observation of a busy address ten times a second.
func LowLatency(cfg *pipeline.Config) {
	CommitEvery(cfg, 50*time.Millisecond)
	cfg.Sessionize.Sessions.UpdateHold = 100 * time.Millisecond
	cfg.Detect.EarlyHold = 100 * time.Millisecond
}

// CommitEvery sets the commit interval of all services.
func CommitEvery(cfg *pipeline.Config, d time.Duration) {
	cfg.Ingest.Pipeline.CommitInterval = d
	cfg.Sessionize.Pipeline.CommitInterval = d
	cfg.Detect.Pipeline.CommitInterval = d
}
