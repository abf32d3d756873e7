package simtest

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Dialer makes a connection, as a network or a cluster's virtual one does.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// Link is a member's network. Cut, it is to the cluster as if the member had
// been killed: whatever the member still does reaches nobody. Held, the member
// hangs: what it sends arrives when it is let go, as a zombie's words. It is safe
// for concurrent use.
type Link struct {
	dial Dialer

	mu    sync.Mutex
	conns map[net.Conn]bool
	dead  bool
	away  bool
	deaf  bool          // what is sent goes nowhere
	delay time.Duration // of each write
	gate  chan struct{} // closed: open
}

var (
	errCut  = errors.New("the link is cut")
	errAway = errors.New("no route to the broker")
)

// NewLink returns a link over a network.
func NewLink(dial Dialer) *Link {
	open := make(chan struct{})
	close(open)
	return &Link{dial: dial, gate: open, conns: map[net.Conn]bool{}}
}

// broken says why no connection can be made now, if so.
func (l *Link) broken() error {
	switch {
	case l.dead:
		return errCut
	case l.away:
		return errAway
	}
	return nil
}

// Dial is a kgo dialer.
func (l *Link) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	l.mu.Lock()
	err, gate, deaf := l.broken(), l.gate, l.deaf
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if deaf {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	select {
	case <-gate:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c, err := l.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.broken(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	lc := &linkConn{Conn: c, l: l}
	l.conns[lc] = true
	return lc, nil
}

type linkConn struct {
	net.Conn
	l *Link
}

func (c *linkConn) Write(b []byte) (int, error) {
	c.l.mu.Lock()
	gate, delay, deaf := c.l.gate, c.l.delay, c.l.deaf
	c.l.mu.Unlock()
	if deaf {
		return len(b), nil
	}
	if delay > 0 {
		wait(context.Background(), delay)
	}
	<-gate
	return c.Conn.Write(b)
}

func (c *linkConn) Close() error {
	c.l.mu.Lock()
	delete(c.l.conns, c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}

// Cut ends all connections and allows no other, for ever.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	l.drop()
}

// Break ends all connections; new ones are made at once.
func (l *Link) Break() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
}

// Away takes the network away, with all connections, or brings it back.
func (l *Link) Away(away bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away = away; away {
		l.drop()
	}
}

// Swallow makes the network take everything and deliver nothing, as one does that
// loses all packets, until it is called off; what was sent is lost.
func (l *Link) Swallow(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deaf = on; !on {
		l.drop()
	}
}

// drop ends the connections. They stay listed until their owner closes them.
func (l *Link) drop() {
	for c := range l.conns {
		_ = c.(*linkConn).Conn.Close()
	}
}

// Hold lets nothing out for d.
func (l *Link) Hold(d time.Duration) {
	gate := make(chan struct{})
	l.mu.Lock()
	l.gate = gate
	l.mu.Unlock()
	time.AfterFunc(d, func() { close(gate) })
}

// Slow makes each request wait for delay before it is sent, for d.
func (l *Link) Slow(delay, d time.Duration) {
	set := func(delay time.Duration) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.delay = delay
	}
	set(delay)
	time.AfterFunc(d, func() { set(0) })
}
