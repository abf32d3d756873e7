// Command sessionize stitches flows into sessions; package sessionizer says
// what it guarantees.
package main

import (
	"context"

	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
	"github.com/flowstitch/flowstitch/services/sessionize/sessionizer"
)

func main() {
	service.Main("sessionize", sessionizer.Default(), func(ctx context.Context, cfg sessionizer.Config, tel *telemetry.Telemetry) error {
		headroom, cancel := context.WithCancel(context.WithoutCancel(ctx)) // ctx ends before the hand-over
		defer cancel()
		sessionizer.KeepHeadroom(headroom)
		return sessionizer.Run(ctx, cfg, tel)
	})
}
