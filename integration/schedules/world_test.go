package schedules

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/simulator"
	"github.com/outboxd/outboxd/store/memory"
)

const (
	orders = "orders" // the collection of business documents
	// patience is how long a schedule may go on after its last machine has begun.
	patience = 72 * time.Hour
	// mostClaims is how many claims may find something: far more than the attempts and look-ups of a schedule can be.
	mostClaims = 2000
)

// world is everything but the machines.
type world struct {
	t         *testing.T
	plan      plan
	story     story
	store     *memory.Store
	sim       *simulator.Sim
	providers map[string]http.Handler
	wire      *wire
	changed   chan struct{} // holds one hint that something was settled
	over      context.Context
	end       context.CancelFunc

	mu   sync.Mutex
	away time.Time // until when the database is
	happened
}

// happened is what befell the intents, which says what their ends may be.
type happened struct {
	holds        map[string]hold // of each intent, the last
	reclaims     map[string]int
	unsaved      map[string]int
	ended        map[string]bool // machines that died or were stopped
	stalls       []span
	outages      []span
	refusedDials int
	keys         map[string]bool // Stripe's idempotency keys
	wrong        []string        // broken promises seen on the way
	claims       int             // that found something
}

// hold is a claim.
type hold struct {
	by, token  string
	from, till time.Time
	unclear    bool // the machine does not know of it
}

type span struct {
	who      string
	from, to time.Time
}

func (w *world) count(f func(*happened)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.happened)
}

func (w *world) wrong(text string) {
	w.count(func(h *happened) { h.wrong = append(h.wrong, text) })
}

func (w *world) goAway(d time.Duration) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if until := now.Add(d); until.After(w.away) {
		w.away = until
	}
	w.outages = append(w.outages, span{"", now, now.Add(d)})
}

func (w *world) isAway() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Before(w.away)
}

func (w *world) poke() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// after is a context that ends after d, or with the world.
func (w *world) after(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(w.over, d)
	context.AfterFunc(ctx, cancel)
	return ctx
}

// play runs the plan in a bubble, and judges it.
func play(t *testing.T, p plan) {
	w := newWorld(t, p)
	w.run()
	w.judge()
}

func newWorld(t *testing.T, p plan) *world {
	w := &world{t: t, plan: p, wire: newWire(), changed: make(chan struct{}, 1)}
	w.holds, w.reclaims, w.unsaved = make(map[string]hold), make(map[string]int), make(map[string]int)
	w.ended, w.keys = make(map[string]bool), make(map[string]bool)
	w.story.began = time.Now()
	w.over, w.end = context.WithCancel(context.Background())
	w.store = memory.New(memory.Options{Rules: outbox.Rules{WriteBack: []string{orders}, Namespace: namespace}})
	w.sim = simulator.New(simulator.Config{LogsDelay: p.logsDelay, Latency: p.latency})
	w.sim.Advance(p.skew)
	if err := w.sim.AddFaults(p.faults...); err != nil {
		t.Fatal(err)
	}
	w.providers = map[string]http.Handler{"stripe": w.sim.Stripe(), "sendgrid": w.sim.SendGrid(), "twilio": w.sim.Twilio()}
	return w
}

// run plays the plan to its end. Nothing of the world is left when it returns, but for what is to be judged.
func (w *world) run() {
	server := &http.Server{
		Handler: w, ErrorLog: log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, machineKey{}, c.(conn).from)
		},
	}
	var serving, slots sync.WaitGroup
	serving.Go(func() { _ = server.Serve(w.wire) }) // it ends with an error that says that it was closed
	w.insert()
	for n, lives := range w.plan.slots {
		slots.Go(func() { w.slot(n, lives) })
	}
	w.wait()
	w.end()
	slots.Wait()
	time.Sleep(time.Minute) // for what is still under way at the providers
	_ = server.Close()      // the wire's Close has no error
	w.sim.Close()
	serving.Wait()
}

func (w *world) insert() {
	for _, i := range w.plan.intents {
		i.doc["_id"], i.doc["status"], i.doc["due_at"] = i.id, "pending", w.story.began.Add(i.due)
		if i.expires > 0 {
			i.doc["expires_at"] = w.story.began.Add(i.expires)
		}
		if i.writeBack {
			w.store.InsertBusiness(orders, map[string]any{"_id": i.id, "state": "open"})
		}
		if err := w.store.Insert(i.doc); err != nil {
			w.t.Fatal(err)
		}
	}
}

// slot runs machines one after another until everything is settled.
func (w *world) slot(n int, lives []life) {
	for k, l := range lives {
		select {
		case <-w.over.Done():
			return
		case <-time.After(l.pause):
		}
		m := newMachine(w, machineName(n, k), l)
		end := context.AfterFunc(w.over, m.endStop)
		if err := m.run(); err != nil {
			w.wrong("a machine could not start: " + err.Error())
		}
		end()
	}
}

// wait returns when every intent has ended, or when there is no hope for it.
func (w *world) wait() {
	bound := patience
	for _, lives := range w.plan.slots {
		for _, l := range lives {
			bound += l.pause
		}
	}
	late := time.After(bound)
	for !w.settled() {
		select {
		case <-w.changed:
		case <-w.over.Done():
			return
		case <-late:
			return
		}
	}
}

func (w *world) settled() bool {
	for _, doc := range w.store.All() {
		if status := doc["status"]; status != "done" && status != "dead" {
			return false
		}
	}
	return true
}

// claimed notes a claim, and whether the lease before it ran out for a reason.
func (w *world) claimed(m *machine, list []*outbox.Intent, lease time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.claims++; w.claims == mostClaims {
		w.happened.wrong = append(w.happened.wrong, "it goes round in circles")
		w.end()
	}
	for _, in := range list {
		id := in.ID.String()
		if in.Lease.Reclaimed {
			w.reclaims[id]++
			if old := w.holds[id]; !w.excused(old) {
				w.happened.wrong = append(w.happened.wrong, "the lease of "+old.by+" on "+id+" ran out without a reason")
			}
		}
		w.holds[id] = hold{m.name, in.Lease.Token, in.Lease.At, in.Lease.At.Add(lease), false}
	}
}

// unclear notes that the machine does not know of its claim.
func (w *world) unclear(list []*outbox.Intent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, in := range list {
		if h := w.holds[in.ID.String()]; h.token == in.Lease.Token {
			h.unclear = true
			w.holds[in.ID.String()] = h
		}
	}
}

// excused reports whether there is a reason for which a lease may have run out: its worker died or was stopped, it
// stalled, it never heard of the claim, or the database was away when the outcome was last tried to be written.
func (w *world) excused(h hold) bool {
	const lastTries = 3 * time.Second // outcomes are tried again at least every two seconds
	if h.unclear || w.ended[h.by] {
		return true
	}
	for _, s := range w.stalls {
		if s.who == h.by && s.to.After(h.from) && s.from.Before(h.till) {
			return true
		}
	}
	for _, s := range w.outages {
		if s.to.After(h.till.Add(-lastTries)) && s.from.Before(h.till) {
			return true
		}
	}
	return false
}

// namespace is the outbox's, as the provider knows it.
const namespace = "schedules0"

// watch checks what a request may not do.
func (w *world) watch(m *machine, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		return
	}
	w.count(func(h *happened) { h.keys[key] = true })
	path, isConfirm := strings.CutSuffix(r.URL.Path, "/confirm")
	if !isConfirm {
		return
	}
	id := strings.TrimPrefix(path, "/v1/payment_intents/")
	owner := key
	if parts := strings.SplitN(key, "/", 4); len(parts) == 4 { // namespace, type and generation, step, id
		owner = parts[3]
	}
	progress, _ := w.store.Get(owner)["progress"].(map[string]any)
	if progress["payment_intent"] != id {
		w.wrong(m.name + " confirms a PaymentIntent of " + owner + " that is not stored")
	}
}
