// Package operations keeps what operators read in step with the program: the
// page of metrics, deploy/k8s/product.json and the Strimzi resources.
//
// Its test runs the whole pipeline, asks every service's own registry what it
// exports, and fails when a page or manifest says something else. With -update
// it writes them.
package operations
