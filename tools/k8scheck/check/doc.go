// Package check judges rendered Kubernetes manifests without a cluster.
//
// It guarantees that an object which it passes would be admitted by the API
// server of the Kubernetes version in go.mod (decoding, defaulting, validation,
// pod security "restricted" and, for custom resources, schema and CEL are the
// server's own code), and that the objects of one set agree with each other and
// with the program: what is referred to exists, what selects something selects
// what was meant, ports, topics, groups, environment variables and metrics are
// those that the program really has. Every finding is an error: there are no
// warnings to get used to.
package check
