package simtest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/stage"
)

// bubble is a toy pipeline on fake time, on three brokers: within a bubble of
// synctest only.
type bubble struct {
	t         testing.TB
	net       kfake.VirtualNetwork
	k         *kfake.Cluster
	load      *Load
	toy       *Toy
	src, fold stage.Config
	plain     []kgo.Opt // without a network
	bury      *Undertaker
	joined    int
	gone      sync.WaitGroup
	expired   context.CancelFunc
}

// simMember is a member in a bubble.
type simMember struct {
	*member
	link *Link
	id   string // client id
}

func newBubble(t testing.TB, l *Load) *bubble {
	t.Helper()
	b := &bubble{t: t, load: l, toy: &Toy{Width: 10, Cuts: 4}}
	var err error
	b.k, err = kfake.NewCluster(kfake.NumBrokers(3), kfake.ListenFn(b.net.Listen), kfake.Ports(9092, 9093, 9094),
		kfake.GroupMinSessionTimeout(100*time.Millisecond),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		t.Fatal(err)
	}
	c := &kafkatest.Cluster{Addrs: []string{"127.0.0.1:9092", "127.0.0.1:9093", "127.0.0.1:9094"}, Kind: kafkatest.KFake, Fake: b.k}
	b.src, b.fold = configs(c, "sim.", l)
	b.plain = b.src.Client
	b.src.Client, b.fold.Client = b.observer(), b.observer()
	ensure(t, &b.src, &b.fold)
	b.bury = NewUndertaker(b.observer(), b.src.Group(), b.fold.Group())
	ctx, cancel := context.WithCancel(context.Background())
	b.expired = cancel
	b.gone.Go(func() { b.bury.Run(ctx) })
	return b
}

// observer are the options of a client whose network never fails.
func (b *bubble) observer() []kgo.Opt {
	return append(append([]kgo.Opt{}, b.plain...), kgo.Dialer(b.net.DialContext))
}

// join starts a member with a source and a fold.
func (b *bubble) join() *simMember {
	b.joined++
	m := &simMember{link: NewLink(b.net.DialContext), id: fmt.Sprintf("member-%d", b.joined)}
	src, fold := b.src, b.fold
	src.Client = append(append([]kgo.Opt{}, b.plain...), kgo.Dialer(m.link.Dial), kgo.ClientID(m.id))
	fold.Client = src.Client
	m.member = start(src, fold, b.load, b.toy)
	return m
}

// judge waits until all is folded and judges it.
func (b *bubble) judge() (Verdict, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	facts, err := Collect(ctx, b.observer(), "sim.", testPartitions)
	if err != nil {
		return Verdict{}, err
	}
	return Judge(b.load.Want(b.toy.Width), facts), nil
}

// exact judges and fails the test where anything was lost or told twice.
func (b *bubble) exact() {
	b.t.Helper()
	v, err := b.judge()
	if err != nil {
		b.t.Fatal(err)
	}
	if v.Lost+v.Duplicated+v.Corrected != 0 {
		b.t.Errorf("lost, duplicated or closed early: %+v", v)
	}
}

// end ends members in order, and the bubble.
func (b *bubble) end(members ...*simMember) {
	for _, m := range members {
		m.end(b.t)
	}
	b.expired()
	b.gone.Wait()
	b.k.Close()
}
