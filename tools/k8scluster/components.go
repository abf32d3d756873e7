package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// component runs one program of Kubernetes in this process and never returns.
// The driver starts this executable anew for each: they keep their flags,
// metrics and signal handlers in package variables and would not share a process.
func component(name string, args []string) bool {
	commands := map[string]func() *cobra.Command{
		"kube-apiserver":          apiserver.NewAPIServerCommand,
		"kube-controller-manager": controllers.NewControllerManagerCommand,
		"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
		"kubectl":                 kubectl.NewDefaultKubectlCommand,
	}
	if name == "etcd" {
		etcdmain.Main(append([]string{"etcd"}, args...))
		return true
	}
	build, ok := commands[name]
	if !ok {
		return false
	}
	os.Args = append([]string{name}, args...)
	if name == "kubectl" {
		signal.Ignore(syscall.SIGPIPE)
	}
	command := build()
	command.SetArgs(args)
	if code := cli.Run(command); code != 0 {
		fmt.Fprintf(os.Stderr, "%s: ended with status %d\n", name, code)
		os.Exit(code)
	}
	return true
}
