package simtest

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
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
	trap  func(request []byte) bool
	late  kmsg.Key // requests of this kind wait until then
	until time.Time
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
	if c.l.trap != nil && c.l.trap(b) {
		c.l.trap = nil
	}
	gate, delay, deaf := c.l.gate, c.l.delay, c.l.deaf
	if isRequest(b, c.l.late) {
		delay = max(delay, time.Until(c.l.until))
	}
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
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold(d)
}

func (l *Link) hold(d time.Duration) {
	gate := make(chan struct{})
	l.gate = gate
	time.AfterFunc(d, func() { close(gate) })
}

// HoldAt lets nothing out for d from the next request of a kind on, which is held
// too. The channel is closed when that has begun.
func (l *Link) HoldAt(key kmsg.Key, d time.Duration) <-chan struct{} {
	began := make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trap = func(request []byte) bool {
		if !isRequest(request, key) {
			return false
		}
		l.hold(d)
		close(began)
		return true
	}
	return began
}

// isRequest reports whether what is written is a request of a kind: a client
// writes each at once, 4 bytes of size and then its key.
func isRequest(b []byte, key kmsg.Key) bool {
	return len(b) >= 6 && binary.BigEndian.Uint16(b[4:]) == uint16(key)
}

// Late keeps requests of one kind for d, and with them what follows on the same
// connection.
func (l *Link) Late(key kmsg.Key, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late, l.until = key, time.Now().Add(d)
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
