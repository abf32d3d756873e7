package kafkaclient

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/config"
)

func TestDefaultIsValid(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
}

func TestValidateTellsEveryProblem(t *testing.T) {
	c := Default()
	err := config.Parse([]byte("brokers: [nohost]\ntls: {cert_file: a}\nsasl: {mechanism: scram-sha-512}\n"), &c)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"nohost", "cert_file and key_file", "enabled is false", "username", "password_file"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not mention %q", err, want)
		}
	}
	for _, bad := range []string{"sasl: {mechanism: kerberos}", "sasl: {mechanism: aws-msk-iam}", "sasl: {mechanism: oauthbearer}", "brokers: []", "borkers: [a:1]"} {
		c := Default()
		if err := config.Parse([]byte(bad), &c); err == nil {
			t.Errorf("%s: accepted", bad)
		}
	}
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func ping(t *testing.T, c *Config) error {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	opts, err := c.Opts()
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(append(opts, kgo.RequestRetries(0))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return cl.Ping(ctx)
}

func TestPasswords(t *testing.T) {
	for _, mechanism := range []string{Plain, Scram256, Scram512} {
		t.Run(mechanism, func(t *testing.T) {
			k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser(strings.ToUpper(mechanism), "flow", "right"))
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			c := Default()
			c.Brokers, c.Rack = k.ListenAddrs(), "euc1-az1"
			c.SASL = SASL{Mechanism: mechanism, Username: "flow", PasswordFile: write(t, filepath.Join(t.TempDir(), "pw"), "wrong\n")}
			if err := ping(t, &c); err == nil {
				t.Error("a wrong password was accepted")
			}
			write(t, c.SASL.PasswordFile, "right\n")
			if err := ping(t, &c); err != nil {
				t.Error(err)
			}
			c.SASL.PasswordFile += ".missing"
			if err := ping(t, &c); err == nil {
				t.Error("a missing password file was accepted")
			}
		})
	}
}

func TestTokenIsReadAtEachAuthentication(t *testing.T) {
	c := Default()
	c.TLS.Enabled = true
	c.SASL = SASL{Mechanism: OAuthBearer, TokenFile: write(t, filepath.Join(t.TempDir(), "token"), "one")}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	m, err := c.SASL.method()
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"one", "two"} {
		write(t, c.SASL.TokenFile, token)
		_, first, err := m.Authenticate(context.Background(), "broker:9092")
		if err != nil || !strings.Contains(string(first), "Bearer "+token) {
			t.Errorf("first message %q, %v; want the token %s", first, err, token)
		}
	}
}

func TestMSKIAMUsesTheDefaultChain(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_REGION", "eu-central-1")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	c := Default()
	c.TLS.Enabled, c.SASL.Mechanism = true, MSKIAM
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	m, err := c.SASL.method()
	if err != nil {
		t.Fatal(err)
	}
	_, first, err := m.Authenticate(context.Background(), "b-1.msk.x1.c2.kafka.eu-central-1.amazonaws.com:9098")
	if err != nil || !strings.Contains(string(first), "AKIAEXAMPLE") || !strings.Contains(string(first), "eu-central-1") {
		t.Errorf("first message %q, %v; want a request signed for the key and region", first, err)
	}
}

// authority makes certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

func (a *authority) issue(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	kb, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kb}))
}

// TestMutualTLSFollowsRotation: a client whose certificates are replaced on
// disk uses the new ones without a restart.
func TestMutualTLSFollowsRotation(t *testing.T) {
	old, fresh := newAuthority(t, "old"), newAuthority(t, "fresh")
	cert, key := fresh.issue(t)
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(fresh.cert)
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	dir := t.TempDir()
	c := Default()
	c.Brokers = k.ListenAddrs()
	oldCert, oldKey := old.issue(t)
	c.TLS = TLS{
		Enabled: true, CAFile: write(t, filepath.Join(dir, "ca"), old.pem),
		CertFile: write(t, filepath.Join(dir, "cert"), oldCert), KeyFile: write(t, filepath.Join(dir, "key"), oldKey),
	}
	opts, err := c.Opts()
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(append(opts, kgo.RequestRetries(0))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := cl.Ping(ctx); err == nil {
		t.Error("the old authority was accepted")
	}
	// In the middle of the rotation the key does not match the certificate.
	newCert, newKey := fresh.issue(t)
	write(t, c.TLS.CertFile, newCert)
	if err := cl.Ping(ctx); err == nil {
		t.Error("half a rotation was accepted")
	}
	write(t, c.TLS.KeyFile, newKey)
	write(t, c.TLS.CAFile, fresh.pem)
	if err := cl.Ping(ctx); err != nil {
		t.Errorf("after the rotation: %v", err)
	}
	bad := c
	bad.TLS.CAFile = write(t, filepath.Join(dir, "empty"), "no PEM")
	if _, err := bad.Opts(); err == nil {
		t.Error("a CA file without a certificate was accepted")
	}
}
