package providers

import (
	"context"
	"errors"
	"net"
	"sync"
)

// errGone is returned to net/http in place of writing a request to a connection that must not carry it.
var errGone = errors.New("the kept connection is not trusted")

// conn is a connection that knows whether a trip's request was written to it. What it refuses to write surely never
// left.
type conn struct {
	net.Conn

	mu   sync.Mutex
	trip *trip // whose request it carries, or carried last
	kept bool  // it was kept, and the peer may have closed it: to be asked right before the request is written
	gone bool  // nothing may be written any more
}

// watch wraps the connections that dial makes.
func watch(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &conn{Conn: c}, nil
	}
}

// watched returns the conn below a connection of net/http's, which may be one of TLS; nil if there is none.
func watched(c net.Conn) *conn {
	for {
		switch inner := c.(type) {
		case *conn:
			return inner
		case interface{ NetConn() net.Conn }: // TLS, perhaps within that of a proxy
			c = inner.NetConn()
		default:
			return nil
		}
	}
}

// claim begins a trip on the connection. A kept one is asked before the request is written whether the peer has
// closed it; a refused one takes no request.
func (c *conn) claim(t *trip, kept, refused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trip, c.kept = t, kept
	c.gone = c.gone || refused
}

// Write writes unless the connection must not carry the request.
func (c *conn) Write(b []byte) (int, error) {
	if !c.mayWrite() {
		return 0, errGone
	}
	return c.Conn.Write(b)
}

func (c *conn) mayWrite() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept && !c.gone {
		c.gone = closedByPeer(c.Conn)
	}
	c.kept = false
	if c.gone {
		return false
	}
	if c.trip != nil {
		c.trip.wrote.Store(true)
	}
	return true
}

// seal refuses everything of the trip from now on, and reports whether something of it was written. The connection
// may carry another trip by now: net/http gives an answer without a body out after it has given the connection back.
func (c *conn) seal(t *trip) (wrote bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trip == t {
		c.gone = true
	}
	return t.wrote.Load()
}

// refuseUnlessWritten refuses everything of the trip from now on if nothing of it was written, and reports whether it
// does.
func (c *conn) refuseUnlessWritten(t *trip) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.wrote.Load() {
		return false
	}
	if c.trip == t {
		c.gone = true
	}
	return true
}
