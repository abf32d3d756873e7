package kafkaclient

import (
	"context"
	"net"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/config"
)

// Config is the `kafka` block.
type Config struct {
	// Brokers are the seed brokers, host:port; any of them will do.
	Brokers []string `yaml:"brokers"`
	// ClientID names the client in the brokers' logs and quotas.
	ClientID string `yaml:"client_id"`
	// Rack is where this process runs, as the brokers' broker.rack says it (on
	// AWS the id of the availability zone): reads then go to a replica in the
	// same zone, where the brokers allow it. Empty reads from leaders.
	Rack string `yaml:"rack"`
	// Racks translates the zone that a pod is told into what the brokers call
	// it, where the two differ: Amazon MSK names zones by id, Kubernetes by name
	// (eu-west-1a: euw1-az1). The ids are an account's own. A zone that is not
	// listed is taken as it is.
	Racks map[string]string `yaml:"racks"`
	TLS   TLS               `yaml:"tls"`
	SASL  SASL              `yaml:"sasl"`
	// Dial makes the connections below TLS; nil is the network. Simulations have
	// one of their own.
	Dial Dialer `yaml:"-"`
	// Codecs are how batches are compressed, the first that the broker knows;
	// nil is each stage's own choice. Simulations keep zstd out of their bubbles:
	// its decoders have finalizers, which run outside.
	Codecs []kgo.CompressionCodec `yaml:"-"`
}

// Dialer makes a connection.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// TLS encrypts connections. Files are read again when they change, so that
// rotated certificates need no restart.
type TLS struct {
	Enabled bool `yaml:"enabled"`
	// CAFile is a PEM bundle that the brokers' certificates are checked
	// against; empty means the system's.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile are the client's own certificate and key, PEM, for
	// mutual TLS.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ServerName replaces the broker's host name in the check of its
	// certificate.
	ServerName string `yaml:"server_name"`
}

// The SASL mechanisms.
const (
	None        = "none"
	Plain       = "plain"
	Scram256    = "scram-sha-256"
	Scram512    = "scram-sha-512"
	OAuthBearer = "oauthbearer"
	MSKIAM      = "aws-msk-iam"
)

// SASL authenticates the client. Secrets are in files, never in the
// configuration, and are read at each authentication.
type SASL struct {
	// Mechanism is none, plain, scram-sha-256, scram-sha-512, oauthbearer or
	// aws-msk-iam. The last takes its credentials from the AWS default chain
	// (IRSA, Pod Identity, instance role, environment).
	Mechanism string `yaml:"mechanism"`
	Username  string `yaml:"username"` // plain, scram
	// PasswordFile holds the password; a final line end does not count.
	PasswordFile string `yaml:"password_file"`
	// TokenFile holds the bearer token, as a sidecar or a projected volume
	// keeps it fresh.
	TokenFile string `yaml:"token_file"`
}

// Default is a broker on this machine, in plain text.
func Default() Config {
	return Config{Brokers: []string{"127.0.0.1:9092"}, ClientID: "flowstitch", SASL: SASL{Mechanism: None}}
}

// Validate returns every problem at once.
func (c *Config) Validate() error {
	var p config.Problems
	p.Check(len(c.Brokers) > 0, "brokers: at least one is needed, host:port")
	for _, b := range c.Brokers {
		_, _, err := net.SplitHostPort(b)
		p.Check(err == nil, "brokers: %q is not host:port", b)
	}
	c.TLS.check(&p)
	c.SASL.check(&p, c.TLS.Enabled)
	return p.Err()
}

func (t *TLS) check(p *config.Problems) {
	p.Check((t.CertFile == "") == (t.KeyFile == ""), "tls: cert_file and key_file belong together")
	p.Check(t.Enabled || *t == TLS{}, "tls: files are given but enabled is false")
}

func (s *SASL) check(p *config.Problems, tls bool) {
	all := []string{None, Plain, Scram256, Scram512, OAuthBearer, MSKIAM}
	if !slices.Contains(all, s.mechanism()) {
		p.Check(false, "sasl.mechanism: %q is none of %s", s.Mechanism, strings.Join(all, ", "))
		return
	}
	switch s.mechanism() {
	case Plain, Scram256, Scram512:
		p.Check(s.Username != "", "sasl.username: %s needs one", s.Mechanism)
		p.Check(s.PasswordFile != "", "sasl.password_file: %s needs one", s.Mechanism)
	case OAuthBearer:
		p.Check(s.TokenFile != "", "sasl.token_file: oauthbearer needs one")
		p.Check(tls, "sasl.mechanism: oauthbearer sends a token that anybody can use: enable tls")
	case MSKIAM:
		p.Check(tls, "sasl.mechanism: aws-msk-iam works over TLS only (port 9098): enable tls")
	}
}

// mechanism is the mechanism with its default.
func (s *SASL) mechanism() string {
	if s.Mechanism == "" {
		return None
	}
	return s.Mechanism
}
