package kafkaclient

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"time"
)

// reloader keeps a TLS configuration that follows its files. It looks at them
// when a connection is made: a Kafka client makes few, and needs no watcher.
type reloader struct {
	t   TLS
	raw Dialer

	mu    sync.Mutex
	seen  [3]stamp
	built *tls.Config
}

// stamp tells whether a file has changed.
type stamp struct {
	size int64
	time time.Time
}

// config returns the configuration as of the files' last good state: in the
// middle of a rotation, when certificate and key do not match for a moment, the
// former one goes on.
func (r *reloader) config() (*tls.Config, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var now [3]stamp
	for i, path := range []string{r.t.CAFile, r.t.CertFile, r.t.KeyFile} {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			if r.built != nil {
				return r.built, nil
			}
			return nil, err
		}
		now[i] = stamp{info.Size(), info.ModTime()}
	}
	if r.built != nil && now == r.seen {
		return r.built, nil
	}
	built, err := r.build()
	if err != nil {
		if r.built != nil {
			return r.built, nil
		}
		return nil, err
	}
	r.built, r.seen = built, now
	return built, nil
}

func (r *reloader) build() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: r.t.ServerName}
	if r.t.CAFile != "" {
		pem, err := os.ReadFile(r.t.CAFile)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no certificate in PEM", r.t.CAFile)
		}
	}
	if r.t.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(r.t.CertFile, r.t.KeyFile)
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}
