package integration

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/providers/simulator"
)

// impatient is a configuration whose attempts are used up within a second, were they counted.
const impatient = `
lanes:
  charge: {rate: 10000/s, timeout: 1s, lease: 6s, retry: {max_attempts: 3, base: 20ms, max: 50ms}, reconcile: {wait: 50ms, interval: 1s, absent_after: 1s, give_up: 2s}, breaker: {open_for: 100ms}}
  email: {timeout: 1s, lease: 6s, retry: {max_attempts: 3, base: 20ms, max: 50ms}, reconcile: {wait: 50ms, interval: 1s, absent_after: 1s, give_up: 2s}, breaker: {open_for: 100ms}}
  sms: {timeout: 1s, lease: 6s, retry: {max_attempts: 3, base: 20ms, max: 50ms}, reconcile: {wait: 50ms, interval: 1s, absent_after: 1s, give_up: 2s}, breaker: {open_for: 100ms}}
`

// closed returns the address of a port where nobody listens, and opens a server there that passes all on to another.
func closed(tb testing.TB) (addr string, open func(to string)) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	addr = l.Addr().String()
	if err := l.Close(); err != nil {
		tb.Fatal(err)
	}
	return addr, func(to string) {
		tb.Helper()
		l, err := net.Listen("tcp", addr)
		if err != nil {
			tb.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if body, err := io.ReadAll(r.Body); err == nil {
				forward(to, w, r, body)
			}
		})}
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Serve(l) }()
		tb.Cleanup(func() { _ = server.Close(); <-done })
	}
}

// A provider that nobody can reach costs no attempt, however many intents wait: one, or a handful. When it is there
// again, all are done.
func TestAProviderThatIsAwayCostsNoAttempt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		count int
		base  func(addr string) string
	}{
		{"one of each kind, connection refused", 1, func(addr string) string { return "http://" + addr }},
		{"five of each kind, connection refused", 5, func(addr string) string { return "http://" + addr }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, impatient)
			var opens []func()
			for _, p := range []struct{ variable, to string }{{"STRIPE_API_URL", w.sim.Stripe}, {"SENDGRID_API_URL", w.sim.SendGrid}, {"TWILIO_API_URL", w.sim.Twilio}} {
				addr, open := closed(t)
				w.secrets = append(w.secrets, p.variable+"="+c.base(addr))
				opens = append(opens, func() { open(p.to) })
			}
			for n := range c.count {
				for kind, of := range makers {
					w.insert(of(kind + string(rune('0'+n))))
				}
			}
			worker := w.worker("--log-level=debug")
			w.tried(worker, 12)
			w.unspent(c.count * len(makers))
			for _, open := range opens {
				open()
			}
			w.waitFor("all are done", c.count*len(makers), bson.D{{Key: "status", Value: "done"}})
			w.once(c.count*len(makers), true)
		})
	}
}

// A name that nobody knows and a port that speaks no TLS are as far away. Only the time to give up ends what waits
// for them.
func TestWhatIsAwayForGoodEndsWhenItIsGivenUp(t *testing.T) {
	t.Parallel()
	const bounded = `
lanes:
  charge: {timeout: 1s, lease: 6s, retry: {max_attempts: 3, base: 20ms, max: 50ms, give_up: 5s}, breaker: {open_for: 100ms}}
  email: {timeout: 1s, lease: 6s, retry: {max_attempts: 3, base: 20ms, max: 50ms, give_up: 5s}, breaker: {open_for: 100ms}}
  sms: {timeout: 1s, lease: 6s, retry: {max_attempts: 3, base: 20ms, max: 50ms, give_up: 5s}, breaker: {open_for: 100ms}}
`
	w := newWorld(t, bounded)
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	addr, _ := closed(t)
	w.secrets = []string{"STRIPE_API_URL=http://no-such-name.invalid", "SENDGRID_API_URL=https" + plain[len("http"):], "TWILIO_API_URL=http://" + addr}
	began := time.Now()
	for kind, of := range makers {
		w.insert(of(kind), with(of(kind+"-later"), bson.M{"due_at": began.Add(2 * time.Second)}))
	}
	w.worker()
	for kind := range makers {
		for _, id := range []string{kind, kind + "-later"} {
			in := w.settled(id)
			if in.outcome() != "dead/exhausted" {
				t.Errorf("%s is %s with %+v, want dead/exhausted", id, in.outcome(), in.LastError)
			}
			least := 5 * time.Second
			if id != kind {
				least += 2 * time.Second
			}
			if took := time.Since(began); id == kind && took < least-time.Second || id != kind && took < least-time.Second {
				t.Errorf("%s was given up after %v, want %v", id, took, least)
			}
		}
	}
	w.once(0, false)
}

// A Stripe that answers 5xx to everybody: a charge keeps asking, and no attempt is spent on a provider that answers
// nobody.
func TestAChargeOutlivesAStripeThatIsDown(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]simulator.Fault{
		"503":              {Do: simulator.DoStatus, Status: 503},
		"a gateway's page": {Do: simulator.DoHTML, Status: 502}, "connections that are reset": {Do: simulator.DoReset},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, impatient)
			fault.Provider, fault.Match.Times = "stripe", -1
			w.sim.fail(fault)
			w.insert(charge("lone"))
			w.worker("--log-level=debug")
			eventually(t, "Stripe was asked more often than there are attempts", func() bool {
				return w.requests("stripe", "create")+w.requests("stripe", "confirm")+w.requests("stripe", "retrieve") > 3
			})
			w.unspent(1)
			w.mend()
			if in := w.settled("lone"); in.Status != "done" {
				t.Errorf("the charge is %s with %+v, want done", in.outcome(), in.LastError)
			}
			w.once(1, true)
		})
	}
}

// tried waits until so many calls reached nobody, by the worker's log.
func (w *world) tried(worker *process, times int) {
	w.Helper()
	eventually(w, "the provider was tried again and again", func() bool { return logged(worker, `"intent":`, `"code":"not_sent"`) >= times })
}

// unspent checks that so many intents still wait.
func (w *world) unspent(count int) {
	w.Helper()
	if n := w.count(bson.D{{Key: "status", Value: bson.D{{Key: "$in", Value: bson.A{"pending", "leased"}}}}}); n != count {
		w.Errorf("%d of %d intents still wait for a provider that is away", n, count)
	}
}
