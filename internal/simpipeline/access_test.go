package simpipeline

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/flowstitch/flowstitch/internal/facts"
	"github.com/flowstitch/flowstitch/pkg/kafkaclient"
	"github.com/flowstitch/flowstitch/pkg/stage"
	"github.com/flowstitch/flowstitch/pkg/topology"
)

const password = "correct horse"

// users are the topic maker and the services, each with what pkg/topology grants
// it and nothing else, and one that may do everything.
func users(l topology.Layout) []kfake.Opt {
	types := map[string]kmsg.ACLResourceType{"topic": kmsg.ACLResourceTypeTopic, "group": kmsg.ACLResourceTypeGroup, "transactionalId": kmsg.ACLResourceTypeTransactionalId}
	patterns := map[string]kmsg.ACLResourcePatternType{"literal": kmsg.ACLResourcePatternTypeLiteral, "prefix": kmsg.ACLResourcePatternTypePrefixed}
	operations := map[string]kmsg.ACLOperation{
		"Create": kmsg.ACLOperationCreate, "Describe": kmsg.ACLOperationDescribe, "DescribeConfigs": kmsg.ACLOperationDescribeConfigs,
		"Read": kmsg.ACLOperationRead, "Write": kmsg.ACLOperationWrite,
	}
	opts := []kfake.Opt{kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "root", password)}
	for _, user := range append(topology.Services(), topology.Admin) {
		var acls []kfake.ACL
		for _, a := range topology.ACLs(user, l) {
			for _, op := range a.Operations {
				acls = append(acls, kfake.ACL{Resource: types[a.Type], Name: a.Name, Pattern: patterns[a.Pattern], Operation: operations[op], Allow: true})
			}
		}
		opts = append(opts, kfake.User("PLAIN", user, password, acls...))
	}
	return opts
}

func login(user string) kgo.Opt {
	return kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism())
}

// TestLeastPrivilege: with the access rights that flowstitch topics acls lists and
// no other, a service makes no topic and says who can; once the topic maker has
// made them, all three work, and the facts are the same.
func TestLeastPrivilege(t *testing.T) {
	log := flowLog(t)
	want, _ := run(t, log, 0, 0)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	l := topology.Layout{Prefix: prefix, Partitions: partitions, Slots: slots}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, log, 0, users(l)...)
		w.observer = []kgo.Opt{login("root")}
		w.sasl = func(service int) kafkaclient.SASL {
			return kafkaclient.SASL{Mechanism: kafkaclient.Plain, Username: topology.Services()[service], PasswordFile: file}
		}
		for s := range services {
			m := w.join(s)
			<-m.done
			if m.err == nil || !strings.Contains(m.err.Error(), "flowstitch topics ensure") {
				t.Errorf("%s without topics ended with %v", topology.Services()[s], m.err)
			}
			w.remove(0)
		}
		c := stage.Default()
		c.Client, c.Service, c.Prefix = []kgo.Opt{kgo.SeedBrokers(brokers...), kgo.Dialer(w.net.DialContext), login(topology.Admin)}, topology.Admin, prefix
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := stage.EnsureTopics(ctx, &c, topology.Topics(l)...); err != nil {
			t.Fatal(err)
		}
		for s := range services {
			w.join(s)
		}
		if err := facts.Check(want, w.finish(limit)); err != nil {
			t.Error(err)
		}
		if w.restarts != 0 {
			t.Errorf("%d services ended by themselves", w.restarts)
		}
	})
}
