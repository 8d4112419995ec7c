package httpapi

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits bound what one client, and all together, may ask for. Zero fields take their defaults.
type Limits struct {
	Rate    float64 // requests a second of one client, in the long run; 50
	Burst   int     // requests of one client at once; 100
	Streams int     // requests of one client that wait for a change; 20
	Working int     // requests that use the database at once; 128
	Waiting int     // requests that wait for a change, of all clients; 1024
}

func (l Limits) complete() (Limits, error) {
	if l.Rate < 0 || math.IsNaN(l.Rate) || l.Burst < 0 || l.Streams < 0 || l.Working < 0 || l.Waiting < 0 {
		return l, errors.New("httpapi: no limit may be negative")
	}
	return Limits{cmp.Or(l.Rate, 50), cmp.Or(l.Burst, 100), cmp.Or(l.Streams, 20), cmp.Or(l.Working, 128), cmp.Or(l.Waiting, 1024)}, nil
}

// slots is a number of places. Nobody waits for one: who waits holds memory, and its client has left by then.
type slots chan struct{}

// take returns a place, which release gives back; it may be called more than once.
func (s slots) take() (release func(), ok bool) {
	select {
	case s <- struct{}{}:
		return sync.OnceFunc(func() { <-s }), true
	default:
		return nil, false
	}
}

// maxClients bounds the memory that clients take. Beyond it, newcomers share one bucket.
const maxClients = 10_000

// clients keeps a token bucket for each client.
type clients struct {
	limits Limits

	mu     sync.Mutex
	known  map[netip.Addr]*client
	others *client
}

type client struct {
	bucket  *rate.Limiter
	streams int // that wait now
}

func newClients(l Limits) *clients {
	return &clients{limits: l, known: make(map[netip.Addr]*client), others: &client{bucket: rate.NewLimiter(rate.Limit(l.Rate), l.Burst)}}
}

// of returns the client at an address. The lock is held.
func (c *clients) of(addr netip.Addr, now time.Time) *client {
	if known := c.known[addr]; known != nil {
		return known
	}
	if len(c.known) >= maxClients {
		for addr, known := range c.known { // a full bucket says nothing that a new one does not
			if known.streams == 0 && known.bucket.TokensAt(now) >= float64(c.limits.Burst) {
				delete(c.known, addr)
			}
		}
	}
	if len(c.known) >= maxClients {
		return c.others
	}
	c.known[addr] = &client{bucket: rate.NewLimiter(rate.Limit(c.limits.Rate), c.limits.Burst)}
	return c.known[addr]
}

// admit takes a token, and tells the client what is left.
func (c *clients) admit(x *exchange, addr netip.Addr, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	bucket := c.of(addr, now).bucket
	ok := bucket.AllowN(now, 1)
	left := max(bucket.TokensAt(now), 0)
	wait := func(tokens float64) time.Duration {
		return time.Duration(tokens / c.limits.Rate * float64(time.Second))
	}
	h := x.Header()
	h.Set("RateLimit-Limit", strconv.Itoa(c.limits.Burst))
	h.Set("RateLimit-Remaining", strconv.Itoa(int(left)))
	h.Set("RateLimit-Reset", seconds(wait(float64(c.limits.Burst)-left)))
	if !ok {
		return transport(http.StatusTooManyRequests, "a client may send %v requests a second; nothing was done", c.limits.Rate).after(max(wait(1-left), time.Second))
	}
	return nil
}

// wait takes one of the client's places for requests that wait for a change.
func (c *clients) wait(addr netip.Addr) (release func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.of(addr, time.Now())
	if one != c.others && one.streams >= c.limits.Streams {
		return nil, false
	}
	one.streams++
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		one.streams--
	}), true
}

// wait changes a request from one that uses the database to one that waits for a change.
func (a *API) wait(x *exchange) (release func(), err error) {
	own, ok := a.clients.wait(a.clientOf(x.r))
	if !ok {
		return nil, transport(http.StatusTooManyRequests, "at most %d requests of a client may wait at once", a.cfg.Limits.Streams).after(time.Second)
	}
	shared, ok := a.waiting.take()
	if !ok {
		own()
		return nil, transport(http.StatusServiceUnavailable, "too many requests wait already; ask again without wait").after(time.Second)
	}
	x.release()
	return func() { own(); shared() }, nil
}

// clientOf is the address that a limit meets: of IPv6 the network of a subscriber, who has all of its addresses.
func (a *API) clientOf(r *http.Request) netip.Addr {
	text := r.RemoteAddr
	if a.cfg.ClientHeader != "" {
		// Of a list the last one: what stands before it is the client's own word.
		values := strings.Split(strings.Join(r.Header.Values(a.cfg.ClientHeader), ","), ",")
		text = strings.TrimSpace(values[len(values)-1])
	}
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		prefix, err := addr.Prefix(64)
		if err != nil {
			panic(fmt.Sprintf("httpapi: the network of an IPv6 address: %v", err)) // 64 bits fit
		}
		return prefix.Addr()
	}
	return addr
}
