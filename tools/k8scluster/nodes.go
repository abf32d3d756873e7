package main

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// zone and zones: three zones with one node each, the case in which a spread
// that counts cordoned nodes never lets a drain end.
const zone = "topology.kubernetes.io/zone"

func zones() []string { return []string{"zone-a", "zone-b", "zone-c"} }

// kubelet plays the kubelets of all nodes: it renews their leases, says of each
// pod that it runs once what it refers to exists, and lets go of deleted ones.
type kubelet struct {
	client *kubernetes.Clientset
	since  map[string]time.Time // pod's UID: when it was first seen in its state
	renew  time.Time
}

// addNodes registers one node a zone.
func addNodes(ctx context.Context, client *kubernetes.Clientset) error {
	capacity := corev1.ResourceList{"cpu": resource.MustParse("64"), "memory": resource.MustParse("256Gi"), "pods": resource.MustParse("110")}
	for _, z := range zones() {
		n := &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: "node-" + z, Labels: map[string]string{
				zone: z, "topology.kubernetes.io/region": "region", "kubernetes.io/hostname": "node-" + z, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}},
			Status: corev1.NodeStatus{Capacity: capacity, Allocatable: capacity,
				Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Fake",
					LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now()}}},
		}
		if _, err := client.CoreV1().Nodes().Create(ctx, n, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// run plays until the context ends.
func (k *kubelet) run(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			k.leases(ctx)
			k.pods(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// leases renews the nodes' leases; the controller manager taints a node that
// has not been heard of for 50 s.
func (k *kubelet) leases(ctx context.Context) {
	if time.Since(k.renew) < 5*time.Second {
		return
	}
	k.renew = time.Now()
	api := k.client.CoordinationV1().Leases("kube-node-lease")
	for _, z := range zones() {
		name, seconds, now := "node-"+z, int32(40), metav1.NowMicro()
		l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: coordinationv1.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &now}}
		if _, err := api.Create(ctx, l, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
			continue
		}
		if have, err := api.Get(ctx, name, metav1.GetOptions{}); err == nil {
			have.Spec.RenewTime = &now
			_, _ = api.Update(ctx, have, metav1.UpdateOptions{})
		}
	}
}

// pods moves each pod on a node one step on. What fails is tried again.
func (k *kubelet) pods(ctx context.Context) {
	list, err := k.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for i := range list.Items {
		p := &list.Items[i]
		switch api := k.client.CoreV1().Pods(p.Namespace); {
		case p.Spec.NodeName == "":
		case p.DeletionTimestamp != nil:
			if k.held(p, "ending", 500*time.Millisecond) {
				now := int64(0)
				_ = api.Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
			}
		case p.Status.Phase == corev1.PodPending && k.held(p, "starting", 700*time.Millisecond):
			k.begin(ctx, p)
			_, _ = api.UpdateStatus(ctx, p, metav1.UpdateOptions{})
		}
	}
}

// held reports that a pod has been in a state for as long as d.
func (k *kubelet) held(p *corev1.Pod, state string, d time.Duration) bool {
	key := string(p.UID) + state
	if k.since[key].IsZero() {
		k.since[key] = time.Now()
	}
	return time.Since(k.since[key]) >= d
}

// begin says of a pod that it runs and is ready, or has succeeded where it is
// not to be restarted, or what it waits for.
func (k *kubelet) begin(ctx context.Context, p *corev1.Pod) {
	if missing := k.missing(ctx, p); missing != "" {
		p.Status.Message = missing
		return
	}
	now, ready := metav1.Now(), corev1.ConditionTrue
	p.Status.Phase, p.Status.StartTime, p.Status.Message = corev1.PodRunning, &now, ""
	state := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}
	if p.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		p.Status.Phase, ready = corev1.PodSucceeded, corev1.ConditionFalse
		state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: now, FinishedAt: now}}
	}
	p.Status.Conditions = nil
	for _, t := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		status := ready
		if t == corev1.PodScheduled || t == corev1.PodInitialized {
			status = corev1.ConditionTrue
		}
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: t, Status: status, LastTransitionTime: now})
	}
	p.Status.ContainerStatuses = nil
	for _, c := range p.Spec.Containers {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, State: state, Ready: ready == corev1.ConditionTrue})
	}
}

// missing names the first thing that a kubelet would wait for.
func (k *kubelet) missing(ctx context.Context, p *corev1.Pod) string {
	core := k.client.CoreV1()
	for _, v := range p.Spec.Volumes {
		var sources []corev1.VolumeProjection
		if v.ConfigMap != nil {
			sources = append(sources, corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: v.ConfigMap.LocalObjectReference}})
		}
		if v.Secret != nil {
			sources = append(sources, corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: v.Secret.SecretName}}})
		}
		if v.Projected != nil {
			sources = append(sources, v.Projected.Sources...)
		}
		for _, s := range sources {
			if s.ConfigMap != nil {
				if _, err := core.ConfigMaps(p.Namespace).Get(ctx, s.ConfigMap.Name, metav1.GetOptions{}); err != nil {
					return fmt.Sprintf("pod %s: volume %s: %v", p.Name, v.Name, err)
				}
			}
			if s.Secret != nil {
				if _, err := core.Secrets(p.Namespace).Get(ctx, s.Secret.Name, metav1.GetOptions{}); err != nil {
					return fmt.Sprintf("pod %s: volume %s: %v", p.Name, v.Name, err)
				}
			}
		}
	}
	return ""
}
