// Command kafka runs a broker for a developer at the desk, on 127.0.0.1:9092: it
// prints the line to put in the environment for tests and runs until
// interrupted. Without Java it runs what tests would start.
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
	c, err := desk(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "kafka:", err)
		os.Exit(1)
	}
	fmt.Fprintf(os.Stderr, "%v; interrupt to end it\n", c)
	fmt.Printf("export %s=%s\n", kafkatest.EnvBrokers, strings.Join(c.Addrs, ","))
	<-ctx.Done()
}

// desk starts Kafka on its usual port, else whatever the machine has.
func desk(ctx context.Context) (*kafkatest.Cluster, error) {
	p, err := kafkatest.StartProcessOn(ctx, 9092)
	if err != nil {
		fmt.Fprintln(os.Stderr, "kafka: no local Kafka on port 9092:", err)
		return kafkatest.Launch(ctx)
	}
	return &kafkatest.Cluster{Addrs: []string{p.Addr()}, Kind: kafkatest.JVM, Proc: p}, nil
}
