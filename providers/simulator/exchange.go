package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// api is one provider's side of an exchange.
type api interface {
	name() string
	bodyLimit() int64
	// identify fills in what faults are matched by; it must not change anything.
	identify(*call)
	// serve processes the request; it calls begin once, at the point where a slow provider would be slow.
	serve(*call) reply
	// failure is the provider's own answer for a status that has no other cause than a fault.
	failure(status int) reply
}

// call is one request, read and identified.
type call struct {
	sim  *Sim
	req  *http.Request
	body []byte
	now  time.Time

	route, outboxID, to, key string
	parsed                   any // what identify has parsed, for serve

	arrived func()        // counts the request as arrived, once
	hold    time.Duration // real time to wait in begin
	forced  *reply        // the answer to give, and for Stripe to store, whatever execution says
	skip    bool          // with forced: do not execute
	aborted bool          // the Sim was closed in begin: no answer
}

// begin waits as long as the latency and the fault say. From its start on the request counts as arrived: whoever was
// waiting for it may rely on its holding its idempotency key. False: the Sim was closed meanwhile, and the call must
// have no effect.
func (c *call) begin() bool {
	c.arrived()
	if !c.sim.wait(c.hold) {
		c.aborted = true
		return false
	}
	c.now = c.sim.Now()
	return true
}

// reply is an answer before it is written.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func jsonReply(status int, v any) reply {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		// Every value passed here is made of strings, numbers and maps of them; not encodable means a bug in this
		// package.
		panic("simulator: encode an answer: " + err.Error())
	}
	return reply{status: status, header: http.Header{"Content-Type": {"application/json"}}, body: buf.Bytes()}
}

// exchange reads one request, lets it meet its fault, and answers.
func (s *Sim) exchange(w http.ResponseWriter, r *http.Request, p api) {
	c := &call{sim: s, req: r, now: s.Now()}
	var err error
	if c.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, p.bodyLimit())); err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			c.route = routeUnknown
			s.requests.arrive(p.name(), c.route)
			s.bell.ring()
			s.write(w, c, p, p.failure(http.StatusRequestEntityTooLarge))
			return
		}
		panic(http.ErrAbortHandler) // the client went away in the middle of its request
	}
	p.identify(c)
	c.arrived = sync.OnceFunc(func() {
		s.requests.arrive(p.name(), c.route)
		s.bell.ring()
	})
	c.hold = time.Duration(s.settings.latency.Load())
	s.perform(w, c, p, s.faults.take(p.name(), c))
}

// perform processes the call, before or after what the fault wants.
func (s *Sim) perform(w http.ResponseWriter, c *call, p api, f *Fault) {
	switch {
	case f == nil:
	case f.When == Before && f.Do != DoDelay && !f.Saved:
		c.hold += f.Delay
		if !c.begin() {
			s.abandon(w, c, p)
			return
		}
		s.lie(w, c, p, f, reply{})
		return
	case f.When == Before:
		c.hold += f.Delay
	}
	if f != nil && f.Saved {
		c.forced = new(f.answer(p))
		c.skip = f.When == Before
	}
	rep := p.serve(c)
	c.arrived() // for what was refused before it began
	if c.aborted {
		s.abandon(w, c, p)
		return
	}
	if f == nil || f.When == Before {
		s.write(w, c, p, rep)
		return
	}
	if !s.wait(f.Delay) {
		s.abandon(w, c, p)
		return
	}
	if f.Do == DoDelay || f.Saved {
		s.write(w, c, p, rep)
		return
	}
	s.lie(w, c, p, f, rep)
}

// write answers truly.
func (s *Sim) write(w http.ResponseWriter, c *call, p api, rep reply) {
	h := w.Header()
	maps.Copy(h, rep.header)
	h["Content-Length"] = []string{strconv.Itoa(len(rep.body))}
	if !bodyAllowed(rep.status) {
		delete(h, "Content-Length")
		rep.body = nil
	}
	s.requests.answer(p.name(), c.route, rep.status)
	w.WriteHeader(rep.status)
	_, _ = w.Write(rep.body) // a client that left does not get its answer; what was done is done
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
