// Command k8scluster applies the manifests to a control plane and looks at what
// becomes of them: etcd, the API server, the controller manager and the
// scheduler, all built from released Go modules and run on loopback, with fake
// nodes in three zones.
//
// It guarantees, where it ends with status 0, that each overlay given was taken
// by an API server without a warning, custom resources included, that every
// pod was scheduled, was admitted under the pod security of its namespace and
// found the ConfigMaps, Secrets and ServiceAccount that it names, that the pods of
// a service were spread evenly over the zones, that a zone with a single node
// was drained within its time, and that neither the drain nor a rollout took a
// service below what its disruption budget allows.
//
// A fake node starts no container. What a pod does once it runs is tested
// elsewhere (internal/images runs the images, internal/killtest the services).
package main
