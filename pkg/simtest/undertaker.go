package simtest

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Undertaker takes dead members out of their groups, which is the brokers' task:
// Kafka does it when the session times out, and kfake does not where an answer to
// the member was due at the moment that its connection went away (groups.go,
// reply: the session timer is then not started again).
type Undertaker struct {
	opts   []kgo.Opt
	groups []string

	mu   sync.Mutex
	dead map[string]bool // by client id; true: for a whole period
}

// NewUndertaker returns the undertaker of some groups, which reaches the cluster
// by opts.
func NewUndertaker(opts []kgo.Opt, groups ...string) *Undertaker {
	return &Undertaker{opts: opts, groups: groups, dead: map[string]bool{}}
}

// Died tells that the member with this client id is no more.
func (u *Undertaker) Died(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.dead[id] = false
}

// overdue lists those that have been dead for a period.
func (u *Undertaker) overdue() map[string]bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := maps.Clone(u.dead)
	for id := range u.dead {
		u.dead[id] = true
	}
	return out
}

// undertakes is the period; it is above every session timeout of the simulations.
const undertakes = 2500 * time.Millisecond

// Run works until ctx ends.
func (u *Undertaker) Run(ctx context.Context) {
	cl, err := kgo.NewClient(u.opts...)
	if err != nil {
		return
	}
	defer cl.Close()
	for ; ctx.Err() == nil; wait(ctx, undertakes) {
		dead := u.overdue()
		groups, err := kadm.NewClient(cl).DescribeGroups(ctx, u.groups...)
		if err != nil {
			continue // the next turn asks again
		}
		for _, g := range groups {
			for _, m := range g.Members {
				if !dead[m.ClientID] {
					continue
				}
				req := kmsg.NewPtrLeaveGroupRequest()
				lm := kmsg.NewLeaveGroupRequestMember()
				lm.MemberID = m.MemberID
				req.Group, req.Members = g.Group, append(req.Members, lm)
				_, _ = req.RequestWith(ctx, cl) // again at the next turn if it failed
			}
		}
	}
}
