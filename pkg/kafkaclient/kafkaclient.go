// Package kafkaclient turns the `kafka` block of a configuration into client
// options.
//
// It guarantees that every service and the operator's program reach a cluster
// in the same way, that what is wrong with the block is told before the
// cluster is, and that certificates, passwords and tokens which change on disk
// are used from the next connection on.
package kafkaclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/aws"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// dialTimeout bounds a connection attempt, TLS handshake included.
const dialTimeout = 10 * time.Second

// Opts returns the client options that reach the cluster. It fails on files
// that can not be read now, since they would fail at each connection.
func (c *Config) Opts() ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.SeedBrokers(c.Brokers...)}
	if c.ClientID != "" {
		opts = append(opts, kgo.ClientID(c.ClientID))
	}
	if c.Rack != "" {
		opts = append(opts, kgo.Rack(c.Rack))
	}
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	if c.TLS.Enabled {
		r := &reloader{t: c.TLS, raw: dial}
		if _, err := r.config(); err != nil {
			return nil, fmt.Errorf("kafka.tls: %w", err)
		}
		dial = r.dial
	}
	opts = append(opts, kgo.Dialer(bounded(dial)))
	m, err := c.SASL.method()
	if err != nil {
		return nil, fmt.Errorf("kafka.sasl: %w", err)
	}
	if m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	return opts, nil
}

// method returns franz-go's mechanism, or nil for none.
func (s *SASL) method() (sasl.Mechanism, error) {
	switch s.mechanism() {
	case Plain:
		if _, err := secret(s.PasswordFile); err != nil {
			return nil, err
		}
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			pass, err := secret(s.PasswordFile)
			return plain.Auth{User: s.Username, Pass: pass}, err
		}), nil
	case Scram256, Scram512:
		if _, err := secret(s.PasswordFile); err != nil {
			return nil, err
		}
		auth := func(context.Context) (scram.Auth, error) {
			pass, err := secret(s.PasswordFile)
			return scram.Auth{User: s.Username, Pass: pass}, err
		}
		if s.mechanism() == Scram256 {
			return scram.Sha256(auth), nil
		}
		return scram.Sha512(auth), nil
	case OAuthBearer:
		if _, err := secret(s.TokenFile); err != nil {
			return nil, err
		}
		return oauth.Oauth(func(context.Context) (oauth.Auth, error) {
			token, err := secret(s.TokenFile)
			return oauth.Auth{Token: token}, err
		}), nil
	case MSKIAM:
		return mskIAM(), nil
	}
	return nil, nil
}

// mskIAM signs with the credentials of the AWS default chain, which the SDK
// refreshes; the chain is looked up once, at the first authentication.
func mskIAM() sasl.Mechanism {
	var once sync.Mutex
	var retrieve func(context.Context) (aws.Auth, error)
	return aws.ManagedStreamingIAM(func(ctx context.Context) (aws.Auth, error) {
		once.Lock()
		defer once.Unlock()
		if retrieve == nil {
			cfg, err := awsconfig.LoadDefaultConfig(ctx)
			if err != nil {
				return aws.Auth{}, fmt.Errorf("kafka.sasl: AWS configuration: %w", err)
			}
			retrieve = func(ctx context.Context) (aws.Auth, error) {
				cr, err := cfg.Credentials.Retrieve(ctx)
				if err != nil {
					return aws.Auth{}, fmt.Errorf("kafka.sasl: AWS credentials: %w", err)
				}
				return aws.Auth{AccessKey: cr.AccessKeyID, SecretKey: cr.SecretAccessKey, SessionToken: cr.SessionToken, UserAgent: "flowstitch"}, nil
			}
		}
		return retrieve(ctx)
	})
}

// maxSecret bounds a password or token, in bytes.
const maxSecret = 64 << 10

func secret(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	s := strings.TrimRight(string(b), "\r\n")
	if s == "" || len(s) > maxSecret {
		return "", fmt.Errorf("%s: %d bytes; want 1 to %d", path, len(s), maxSecret)
	}
	return s, nil
}

// bounded is dial with a bound on each attempt.
func bounded(dial Dialer) Dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		return dial(ctx, network, addr)
	}
}

// dial makes a connection and shakes hands over it.
func (r *reloader) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	cfg, err := r.config()
	if err != nil {
		return nil, fmt.Errorf("kafka.tls: %w", err)
	}
	raw, err := r.raw(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if cfg.ServerName == "" {
		cfg = cfg.Clone()
		if cfg.ServerName, _, err = net.SplitHostPort(addr); err != nil {
			return nil, errors.Join(err, raw.Close())
		}
	}
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return conn, nil
}
