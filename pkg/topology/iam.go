package topology

import (
	"fmt"
	"io"
	"regexp"
	"slices"

	"github.com/segmentio/encoding/json"
)

// clusterARN is an MSK cluster's: partition, region, account, name, uuid.
var clusterARN = regexp.MustCompile(`^(arn:aws[a-z-]*:kafka:[a-z0-9-]+:[0-9]{12}):cluster/([^/]+)/([^/]+)$`)

// iamActions says what an operation on a kind of resource is called in IAM on
// Amazon MSK (Semantics of IAM authorization policy actions and resources).
func iamActions(kind, operation string) []string {
	return map[string][]string{
		"topic/Create":             {"CreateTopic"},
		"topic/Describe":           {"DescribeTopic"},
		"topic/DescribeConfigs":    {"DescribeTopicDynamicConfiguration"},
		"topic/Read":               {"ReadData"},
		"topic/Write":              {"WriteData"},
		"group/Describe":           {"DescribeGroup"},
		"group/Read":               {"AlterGroup"}, // which joining and committing are
		"transactionalId/Describe": {"DescribeTransactionalId"},
		"transactionalId/Write":    {"AlterTransactionalId"},
	}[kind+"/"+operation]
}

type iamPolicy struct {
	Version   string
	Statement []iamStatement
}

type iamStatement struct {
	Sid      string
	Effect   string
	Action   []string
	Resource []string
}

// WriteIAM writes the policy document that gives a service on Amazon MSK with IAM
// what [ACLs] gives it elsewhere: the same list, and the right to connect.
// cluster is the cluster's ARN.
func WriteIAM(w io.Writer, l Layout, service, cluster string) error {
	m := clusterARN.FindStringSubmatch(cluster)
	if m == nil {
		return fmt.Errorf("topics: %q is no ARN of an MSK cluster; aws kafka list-clusters-v2 shows it (arn:aws:kafka:REGION:ACCOUNT:cluster/NAME/UUID)", cluster)
	}
	if !slices.Contains(append(Services(), Admin), service) {
		return fmt.Errorf("topics: there is no service %q; name one of %v", service, append(Services(), Admin))
	}
	p := iamPolicy{Version: "2012-10-17", Statement: []iamStatement{
		{Sid: "Connect", Effect: "Allow", Action: []string{"kafka-cluster:Connect"}, Resource: []string{cluster}},
	}}
	kinds := map[string]string{"topic": "topic", "group": "group", "transactionalId": "transactional-id"}
	at := map[string]int{} // the statement of a list of actions
	for _, a := range ACLs(service, l) {
		var actions []string
		for _, o := range a.Operations {
			found := iamActions(a.Type, o)
			if found == nil {
				return fmt.Errorf("topics: IAM has no word for %s on a %s", o, a.Type)
			}
			for _, f := range found {
				actions = append(actions, "kafka-cluster:"+f)
			}
		}
		slices.Sort(actions)
		resource := fmt.Sprintf("%s:%s/%s/%s/%s", m[1], kinds[a.Type], m[2], m[3], a.Name)
		if a.Pattern == "prefix" {
			resource += "*"
		}
		key := fmt.Sprint(actions)
		i, ok := at[key]
		if !ok {
			i = len(p.Statement)
			at[key] = i
			p.Statement = append(p.Statement, iamStatement{Sid: fmt.Sprintf("Kafka%d", i), Effect: "Allow", Action: actions})
		}
		p.Statement[i].Resource = append(p.Statement[i].Resource, resource)
	}
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(text, '\n'))
	return err
}
