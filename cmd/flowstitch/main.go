// Command flowstitch is the operator's program: it runs the whole pipeline on
// one machine, reads flow logs without a broker, and asks a running pipeline
// questions.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, newEnv(), os.Args[1:])
	stop()
	os.Exit(code)
}
