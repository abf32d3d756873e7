package kafkatest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
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
	box, err := testcontainers.GenericContainer(ctx, request())
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

// request is the container that is asked for.
func request() testcontainers.GenericContainerRequest {
	return testcontainers.GenericContainerRequest{
		Started: true,
		ContainerRequest: testcontainers.ContainerRequest{
			Image:        image,
			ExposedPorts: []string{"9092/tcp"},
			Entrypoint:   []string{"bash", "-c", starter},
			// Ours run before testcontainers' own hook, which waits for the log.
			LifecycleHooks: []testcontainers.ContainerLifecycleHooks{{
				PostStarts: []testcontainers.ContainerHook{advertise},
			}},
			WaitingFor: wait.ForLog("Kafka Server started").WithStartupTimeout(2 * time.Minute),
		},
	}
}

// advertise writes the script that starts the broker under the mapped address.
func advertise(ctx context.Context, box testcontainers.Container) error {
	// A container runs a moment before its ports are mapped.
	if err := wait.ForMappedPort("9092/tcp").WaitUntilReady(ctx, box); err != nil {
		return err
	}
	addr, err := mapped(ctx, box)
	if err != nil {
		return err
	}
	return box.CopyToContainer(ctx, []byte(startScript(addr)), "/tmp/start.sh", 0o755)
}

// startScript starts the image's broker, which takes its configuration from the
// environment.
func startScript(addr string) string {
	var b strings.Builder
	env := dockerEnv(addr, "9092", "9093", "9094")
	for _, k := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(&b, "export %s='%s'\n", k, env[k])
	}
	return b.String() + "exec /etc/kafka/docker/run\n"
}

// dockerEnv is the configuration of one node that clients reach at addr. It
// reaches itself at a listener of its own: the address that clients use means
// nothing within the container, and the ends of transactions travel from the
// coordinator to the partitions' leader over the network, on one node too.
func dockerEnv(addr, clients, controller, inside string) map[string]string {
	return map[string]string{
		"KAFKA_NODE_ID":                                                     "1",
		"KAFKA_PROCESS_ROLES":                                               "broker,controller",
		"KAFKA_CONTROLLER_QUORUM_VOTERS":                                    "1@localhost:" + controller,
		"KAFKA_CONTROLLER_LISTENER_NAMES":                                   "CONTROLLER",
		"KAFKA_LISTENERS":                                                   "PLAINTEXT://:" + clients + ",INSIDE://:" + inside + ",CONTROLLER://:" + controller,
		"KAFKA_ADVERTISED_LISTENERS":                                        "PLAINTEXT://" + addr + ",INSIDE://localhost:" + inside,
		"KAFKA_INTER_BROKER_LISTENER_NAME":                                  "INSIDE",
		"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP":                              "PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR":                            "1",
		"KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR":                    "1",
		"KAFKA_TRANSACTION_STATE_LOG_MIN_ISR":                               "1",
		"KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR":            "1",
		"KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR":                       "1",
		"KAFKA_TRANSACTION_ABORT_TIMED_OUT_TRANSACTION_CLEANUP_INTERVAL_MS": "1000",
		"KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS":                            "0",
		"KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS":                                "500",
		"KAFKA_AUTO_CREATE_TOPICS_ENABLE":                                   "false",
	}
}
