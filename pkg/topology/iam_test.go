package topology

import (
	"bytes"
	"strings"
	"testing"

	"github.com/segmentio/encoding/json"
)

const testARN = "arn:aws:kafka:eu-west-1:111122223333:cluster/flowstitch/0a1b-2"

// TestIAMIsTheACLs: each right of the list is in the policy, on the resource of
// that name, and nothing else is.
func TestIAMIsTheACLs(t *testing.T) {
	l := Layout{Prefix: "p.", Partitions: 24, Slots: 24}
	for _, service := range append(Services(), Admin) {
		var b bytes.Buffer
		if err := WriteIAM(&b, l, service, testARN); err != nil {
			t.Fatal(err)
		}
		var p iamPolicy
		if err := json.Unmarshal(b.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		rights := map[string]bool{}
		for _, s := range p.Statement {
			for _, a := range s.Action {
				for _, r := range s.Resource {
					rights[a+" "+r] = true
				}
			}
		}
		want := map[string]bool{"kafka-cluster:Connect " + testARN: true}
		for _, a := range ACLs(service, l) {
			kind := strings.ReplaceAll(a.Type, "transactionalId", "transactional-id")
			name := a.Name
			if a.Pattern == "prefix" {
				name += "*"
			}
			for _, o := range a.Operations {
				for _, action := range iamActions(a.Type, o) {
					want["kafka-cluster:"+action+" arn:aws:kafka:eu-west-1:111122223333:"+kind+"/flowstitch/0a1b-2/"+name] = true
				}
			}
		}
		for r := range want {
			if !rights[r] {
				t.Errorf("%s lacks %s", service, r)
			}
		}
		if len(rights) != len(want) {
			t.Errorf("%s: %d rights, want %d", service, len(rights), len(want))
		}
		for r := range rights {
			if strings.HasSuffix(r, "/*") || strings.HasPrefix(r, "kafka-cluster:* ") {
				t.Errorf("%s: %s is no least privilege", service, r)
			}
		}
	}
}

func TestIAMRefuses(t *testing.T) {
	for _, c := range []struct{ service, cluster, want string }{
		{"ingest", "b-1.example:9098", "ARN"},
		{"ingst", testARN, "ingst"},
	} {
		if err := WriteIAM(&bytes.Buffer{}, Layout{Partitions: 1, Slots: 1}, c.service, c.cluster); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c, err)
		}
	}
}
