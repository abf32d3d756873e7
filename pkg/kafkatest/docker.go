package kafkatest

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

// image is the Apache project's own.
const image = "apache/kafka:" + Version

// starter waits for the script that tells the broker its address: the port
// that the engine maps is known only once the container runs.
const starter = "while [ ! -f /tmp/start.sh ]; do sleep 0.1; done; exec bash /tmp/start.sh"

// startDocker runs the image in a container that ends with this process
// (testcontainers' reaper sees to it). Without an engine it fails at once.
func startDocker(ctx context.Context) (c *Cluster, err error) {
	// testcontainers panics where it finds no engine's socket at all.
	defer func() {
		if r := recover(); r != nil {
			c, err = nil, fmt.Errorf("no engine: %v", r)
		}
	}()
	probe, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	provider, err := testcontainers.ProviderDocker.GetProvider()
	if err != nil {
		return nil, fmt.Errorf("no engine: %w", err)
	}
	defer func() { _ = provider.Close() }()
	if err := provider.Health(probe); err != nil {
		return nil, fmt.Errorf("engine not healthy: %w", err)
	}
	box, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		Started: true,
		ContainerRequest: testcontainers.ContainerRequest{
			Image:        image,
			ExposedPorts: []string{"9092/tcp"},
			Entrypoint:   []string{"bash", "-c", starter},
			LifecycleHooks: []testcontainers.ContainerLifecycleHooks{{
				PostStarts: []testcontainers.ContainerHook{advertise},
			}},
			WaitingFor: wait.ForLog("Kafka Server started").WithStartupTimeout(2 * time.Minute),
		},
	})
	if err != nil {
		return nil, err
	}
	addr, err := mapped(ctx, box)
	if err != nil {
		return nil, err
	}
	return &Cluster{Addrs: []string{addr}, Kind: Docker}, nil
}

func mapped(ctx context.Context, box testcontainers.Container) (string, error) {
	host, err := box.Host(ctx)
	if err != nil {
		return "", err
	}
	port, err := box.MappedPort(ctx, "9092/tcp")
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host, port.Port()), nil
}

// advertise writes the script that starts the broker under the mapped address.
func advertise(ctx context.Context, box testcontainers.Container) error {
	addr, err := mapped(ctx, box)
	if err != nil {
		return err
	}
	script := "export KAFKA_NODE_ID=1 KAFKA_PROCESS_ROLES=broker,controller" +
		" KAFKA_CONTROLLER_QUORUM_VOTERS=1@localhost:9093 KAFKA_CONTROLLER_LISTENER_NAMES=CONTROLLER" +
		" KAFKA_LISTENERS=PLAINTEXT://:9092,CONTROLLER://:9093 KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://" + addr +
		" KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT" +
		" KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR=1 KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR=1" +
		" KAFKA_TRANSACTION_STATE_LOG_MIN_ISR=1 KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS=0" +
		" KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS=500 KAFKA_AUTO_CREATE_TOPICS_ENABLE=false\n" +
		"exec /etc/kafka/docker/run\n"
	return box.CopyToContainer(ctx, []byte(script), "/tmp/start.sh", 0o755)
}
