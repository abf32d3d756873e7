package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
)

const (
	namespace      = "flowstitch"
	componentLabel = "app.kubernetes.io/component"
)

func services() []string { return []string{"ingest", "sessionize", "detect"} }

// play is the sequence of steps; each is printed with what was seen.
type play struct {
	c    *cluster
	crds string
}

func newPlay(c *cluster, crds string) *play { return &play{c: c, crds: crds} }

// step runs one step and prints how long it took and what it saw.
func (p *play) step(name string, do func() (string, error)) error {
	began := time.Now()
	seen, err := do()
	if err != nil {
		fmt.Printf("FAIL %6.1f s  %s\n", time.Since(began).Seconds(), name)
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Printf("ok   %6.1f s  %s: %s\n", time.Since(began).Seconds(), name, seen)
	return nil
}

// run prepares the cluster and then takes one overlay after the other.
func (p *play) run(ctx context.Context, overlays []string) error {
	version, err := p.c.client.Discovery().ServerVersion()
	if err != nil {
		return err
	}
	fmt.Printf("control plane %s on loopback\n", version.GitVersion)
	if err := p.step("nodes", func() (string, error) {
		return strings.Join(zones(), ", ") + ", one node each", addNodes(ctx, p.c.client)
	}); err != nil {
		return err
	}
	k := &kubelet{client: p.c.client, since: map[string]time.Time{}}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { k.run(ctx) })
	defer wg.Wait()
	defer cancel()
	if err := p.step("custom resources", func() (string, error) { return p.customResources(ctx) }); err != nil {
		return err
	}
	for _, o := range overlays {
		if err := p.overlay(ctx, o); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(o), err)
		}
	}
	return nil
}

// customResources applies the definitions and waits until they are served.
func (p *play) customResources(ctx context.Context) (string, error) {
	if p.crds == "" {
		return "none given", nil
	}
	out, err := p.c.kubectl(ctx, "apply", "--server-side", "-f", p.crds)
	if err != nil {
		return "", err
	}
	if _, err := p.c.kubectl(ctx, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d definitions", strings.Count(out, "\n")), nil
}

// overlay applies one overlay, looks at it and takes it away again.
func (p *play) overlay(ctx context.Context, dir string) error {
	name := filepath.Base(dir)
	spreads := name != "local" // one node, one pod a service: nothing to spread
	type step struct {
		name string
		do   func() (string, error)
	}
	steps := []step{
		{"apply", func() (string, error) { return p.apply(ctx, dir) }},
		{"rollout", func() (string, error) { return p.rollout(ctx, dir, spreads) }},
		{"a root pod", func() (string, error) { return p.rootPod(ctx) }},
	}
	if spreads {
		steps = append(steps,
			step{"drain " + zones()[0], func() (string, error) { return p.drain(ctx) }},
			step{"restart", func() (string, error) { return p.restart(ctx) }})
	}
	steps = append(steps, step{"delete", func() (string, error) { return p.remove(ctx, dir) }})
	for _, s := range steps {
		if err := p.step(name+": "+s.name, s.do); err != nil {
			return err
		}
	}
	return nil
}

// apply is what the reader of docs/kubernetes.md does. A warning of the API
// server is a failure.
func (p *play) apply(ctx context.Context, dir string) (string, error) {
	out, err := p.c.kubectl(ctx, "apply", "--server-side", "--warnings-as-errors", "-k", dir)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d objects, no warning", strings.Count(out, "\n")), p.secrets(ctx)
}

// unchanged: to apply the same again, once all is settled, changes nothing.
func (p *play) unchanged(ctx context.Context, dir string) error {
	var changes error
	if err := until(ctx, 20*time.Second, "applying again changes nothing", func() (bool, error) {
		out, err := p.c.kubectl(ctx, "diff", "--server-side", "-k", dir)
		if changes = err; err != nil {
			changes = fmt.Errorf("%w: %s", err, out)
		}
		return err == nil, nil
	}); err != nil {
		return errors.Join(err, changes)
	}
	return nil
}

// secrets makes what the manifests refer to and leave to others: Strimzi's user
// operator makes one Secret a KafkaUser and one with the cluster's CA.
func (p *play) secrets(ctx context.Context) error {
	pods, err := p.c.client.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range pods.Items {
		for _, v := range pods.Items[i].Spec.Template.Spec.Volumes {
			if v.Secret == nil {
				continue
			}
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: v.Secret.SecretName}, Data: map[string][]byte{"user.crt": {}}}
			if _, err := p.c.client.CoreV1().Secrets(namespace).Create(ctx, s, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
				return err
			}
		}
	}
	return nil
}

// rollout waits until every pod runs and looks where they are. The services are
// scaled to one pod a zone, as KEDA would where it owns the number.
func (p *play) rollout(ctx context.Context, dir string, spreads bool) (string, error) {
	if err := errors.Join(p.rolledOut(ctx), p.jobs(ctx)); err != nil {
		return "", err
	}
	if err := p.unchanged(ctx, dir); err != nil {
		return "", err
	}
	for _, s := range services() {
		if !spreads {
			break
		}
		if _, err := p.c.kubectl(ctx, "-n", namespace, "scale", "deployment/"+s, fmt.Sprintf("--replicas=%d", len(zones()))); err != nil {
			return "", err
		}
	}
	if err := p.rolledOut(ctx); err != nil {
		return "", err
	}
	seen, err := p.placed(ctx, spreads, zones())
	return "applied again nothing changes; " + seen, err
}

// rolledOut waits for the three Deployments.
func (p *play) rolledOut(ctx context.Context) error {
	for _, s := range services() {
		if _, err := p.c.kubectl(ctx, "-n", namespace, "rollout", "status", "deployment/"+s, "--timeout=60s"); err != nil {
			return fmt.Errorf("%w; %s", err, p.waiting(ctx))
		}
	}
	return nil
}

// waiting tells what the pods that do not run wait for.
func (p *play) waiting(ctx context.Context) string {
	pods, err := p.c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	var out []string
	for i := range pods.Items {
		if pod := &pods.Items[i]; pod.Status.Phase == corev1.PodPending {
			why := pod.Status.Message
			for _, c := range pod.Status.Conditions {
				why += c.Message
			}
			out = append(out, pod.Name+": "+why)
		}
	}
	return strings.Join(out, "; ")
}

// jobs waits until every Job is complete.
func (p *play) jobs(ctx context.Context) error {
	return until(ctx, 30*time.Second, "the Jobs are complete", func() (bool, error) {
		jobs, err := p.c.client.BatchV1().Jobs(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		for i := range jobs.Items {
			if jobs.Items[i].Status.Succeeded == 0 {
				return false, nil
			}
		}
		return true, nil
	})
}

// running lists the pods of a service that run and are not about to end.
func (p *play) running(ctx context.Context, service string) ([]corev1.Pod, error) {
	list, err := p.c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: componentLabel + "=" + service})
	if err != nil {
		return nil, err
	}
	var out []corev1.Pod
	for i := range list.Items {
		if pod := list.Items[i]; pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
			out = append(out, pod)
		}
	}
	return out, nil
}

// placed checks that the pods of each service differ by at most one between the
// zones, lie in no other zone, and carry their zone as the label that they read
// as their rack.
func (p *play) placed(ctx context.Context, spreads bool, in []string) (string, error) {
	var seen []string
	for _, s := range services() {
		pods, err := p.running(ctx, s)
		if err != nil {
			return "", err
		}
		count := map[string]int{}
		for i := range pods {
			z := strings.TrimPrefix(pods[i].Spec.NodeName, "node-")
			count[z]++
			if got := pods[i].Labels[zone]; got != z {
				return "", fmt.Errorf("pod %s on a node of %s has the zone label %q", pods[i].Name, z, got)
			}
		}
		least, most, sum, each := len(pods), 0, 0, []string{}
		for _, z := range in {
			least, most, sum = min(least, count[z]), max(most, count[z]), sum+count[z]
			each = append(each, fmt.Sprint(count[z]))
		}
		if sum != len(pods) || spreads && most-least > 1 {
			return "", fmt.Errorf("%s: pods by zone are %v, wanted even over %v", s, count, in)
		}
		seen = append(seen, s+" "+strings.Join(each, "/"))
	}
	return strings.Join(seen, ", ") + " over " + strings.Join(in, ", "), nil
}

// rootPod: the namespace refuses what the restricted standard forbids.
func (p *play) rootPod(ctx context.Context) (string, error) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "root"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "root", Image: "root:1"}}}}
	_, err := p.c.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) {
		return "", fmt.Errorf("was not refused: %w", err)
	}
	return "refused by the namespace's pod security", nil
}

// drain empties the zone with its single node as an operator does, and lets it
// come back.
func (p *play) drain(ctx context.Context) (string, error) {
	node := "node-" + zones()[0]
	began := time.Now()
	least, err := p.watch(ctx, func() error {
		_, err := p.c.kubectl(ctx, "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=90s")
		return err
	})
	if err != nil {
		return "", err
	}
	took := time.Since(began)
	if floor := len(zones()) - 1; least < floor {
		return "", fmt.Errorf("a service was down to %d running pods; its budget allows %d", least, floor)
	}
	if err := p.rolledOut(ctx); err != nil {
		return "", err
	}
	seen, err := p.placed(ctx, true, zones()[1:])
	if err != nil {
		return "", err
	}
	_, err = p.c.kubectl(ctx, "uncordon", node)
	return fmt.Sprintf("ended after %.1f s, never below %d of %d pods; %s", took.Seconds(), least, len(zones()), seen), err
}

// restart rolls all services, after which they are spread over all zones again.
func (p *play) restart(ctx context.Context) (string, error) {
	before := sets.New[string]()
	for _, s := range services() {
		pods, err := p.running(ctx, s)
		if err != nil {
			return "", err
		}
		for i := range pods {
			before.Insert(string(pods[i].UID))
		}
	}
	least, err := p.watch(ctx, func() error {
		if _, err := p.c.kubectl(ctx, "-n", namespace, "rollout", "restart", "deployment"); err != nil {
			return err
		}
		return p.rolledOut(ctx)
	})
	if err != nil {
		return "", err
	}
	if least < len(zones()) {
		return "", fmt.Errorf("a service was down to %d running pods: the new one must come before the old one goes", least)
	}
	for _, s := range services() {
		pods, err := p.running(ctx, s)
		if err != nil {
			return "", err
		}
		for i := range pods {
			if before.Has(string(pods[i].UID)) {
				return "", fmt.Errorf("pod %s was not replaced", pods[i].Name)
			}
		}
	}
	seen, err := p.placed(ctx, true, zones())
	return fmt.Sprintf("every pod is new, never below %d of %d; %s", least, len(zones()), seen), err
}

// watch returns the least number of running pods that a service had while do
// was going on.
func (p *play) watch(ctx context.Context, do func() error) (int, error) {
	inner, cancel := context.WithCancel(ctx)
	least := 1 << 20
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-inner.Done():
				return
			}
			for _, s := range services() {
				if pods, err := p.running(inner, s); err == nil {
					least = min(least, len(pods))
				}
			}
		}
	})
	err := do()
	cancel()
	wg.Wait()
	return least, err
}

// remove deletes what the overlay made and waits until the namespace is gone.
func (p *play) remove(ctx context.Context, dir string) (string, error) {
	if _, err := p.c.kubectl(ctx, "delete", "-k", dir, "--wait=true", "--timeout=90s"); err != nil {
		return "", err
	}
	return "nothing is left", until(ctx, time.Minute, "the namespace is gone", func() (bool, error) {
		_, err := p.c.client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
}
