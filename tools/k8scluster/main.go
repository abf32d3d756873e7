package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/klog/v2"
)

func main() {
	if len(os.Args) > 1 && component(os.Args[1], os.Args[2:]) {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "k8scluster:", err)
		os.Exit(1)
	}
}

// run boots a control plane, plays the steps and takes it down again.
func run(ctx context.Context, args []string) error {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard) // the client library's remarks on watches that end
	fs := flag.NewFlagSet("k8scluster", flag.ContinueOnError)
	crds := fs.String("crds", "", "CustomResourceDefinitions, a `directory` of YAML")
	keep := fs.Bool("keep", false, "leave the control plane up until interrupted, for a look with kubectl")
	limit := fs.Duration("timeout", 8*time.Minute, "give up after this `time`; with -keep there is no limit")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if !*keep {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *limit)
		defer cancel()
	}
	dir, err := os.MkdirTemp("", "k8scluster-")
	if err != nil {
		return err
	}
	c, err := boot(ctx, dir)
	defer func() {
		c.stop()
		_ = os.RemoveAll(dir)
	}()
	if err == nil {
		err = newPlay(c, *crds).run(ctx, fs.Args())
	}
	if err != nil {
		c.tails(os.Stderr)
		return err
	}
	if *keep {
		fmt.Printf("up: export KUBECONFIG=%s; interrupt ends it\n", c.kubeconfig)
		<-ctx.Done()
	}
	return nil
}
