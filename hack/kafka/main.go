// Command kafka runs the broker that tests would start, for a developer at the
// desk: it prints the line to put in the environment and runs until interrupted.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/flowstitch/flowstitch/pkg/kafkatest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := kafkatest.Launch(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "kafka:", err)
		os.Exit(1)
	}
	fmt.Fprintf(os.Stderr, "%v; interrupt to end it\n", c)
	fmt.Printf("export %s=%s\n", kafkatest.EnvBrokers, strings.Join(c.Addrs, ","))
	<-ctx.Done()
}
