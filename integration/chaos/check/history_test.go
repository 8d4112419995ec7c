package check_test

import (
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/integration/chaos/check"
	"github.com/outboxd/outboxd/providers/simulator"
)

// began is when the told history begins; the worker "a" and the worker "b" live all the time.
var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }

const (
	chargeLease  = 12 * time.Second
	messageLease = 6 * time.Second
)

// told is a history in the making. What follows in the tests tells it wrong.
type told struct {
	check.History
	clock uint32
	token int
}

func newTold() *told {
	return &told{History: check.History{
		Docs: make(map[string]*check.Doc), Orders: make(map[string]check.Order), End: at(100_000),
		Workers: []check.Worker{
			{Name: "a", Slot: 0, Started: at(-1000), Ended: at(90_000), Told: "term", Drained: true},
			{Name: "b", Slot: 1, Started: at(-1000), Ended: at(90_000), Told: "term", Drained: true},
		},
		Rules: check.Rules{
			Lease:  map[string]time.Duration{"charge": chargeLease, "email": messageLease, "sms": messageLease},
			Expiry: 30 * time.Second, Timeout: time.Second, Fence: 2 * time.Second, Delay: 2 * time.Second, Recovery: 4 * time.Second, Skew: 500 * time.Millisecond,
		},
	}}
}

// change notes that a document was changed, in a transaction if txn is not empty.
func (h *told) change(txn string, next check.Doc) {
	h.clock++
	h.changeAt(bson.Timestamp{T: h.clock}, txn, next)
}

func (h *told) changeAt(t bson.Timestamp, txn string, next check.Doc) {
	c := check.Change{Time: t, Txn: txn, After: &next}
	if before := h.Docs[next.ID]; before != nil {
		was := *before
		c.Before = &was
	}
	now := next
	h.Docs[next.ID] = &now
	h.Changes = append(h.Changes, c)
}

// write is a committed transaction of one intent.
func (h *told) write(in check.Intent) {
	in.MaxAttempts = max(in.MaxAttempts, 3)
	order := "order-" + in.ID
	h.Journal = append(h.Journal, check.Entry{At: at(0), Order: order, Result: check.Begun, Intents: []check.Intent{in}}, check.Entry{At: at(1), Order: order, Result: check.Committed})
	h.Orders[order] = check.Order{ID: order, State: "open"}
	h.change("tx-"+in.ID, check.Doc{ID: in.ID, Kind: in.Kind, Status: "pending", DueAt: at(0), ExpiresAt: in.Expires})
}

// claim begins an attempt.
func (h *told) claim(id, owner string, ms int) {
	d := *h.Docs[id]
	length := messageLease
	if d.Kind == "charge" {
		length = chargeLease
	}
	h.token++
	d.Lease = &check.Lease{Token: fmt.Sprint("t", h.token), Owner: owner, At: at(ms), Reclaimed: d.Status == "leased"}
	d.Status, d.DueAt, d.Attempts = "leased", at(ms).Add(length), d.Attempts+1
	h.change("", d)
}

// effect is what the provider did.
func (h *told) effect(id string, ms int) simulator.Effect {
	e := simulator.Effect{Kind: h.Docs[id].Kind, ID: fmt.Sprintf("e-%s-%d", id, ms), OutboxID: id, At: at(ms)}
	switch e.Kind {
	case "charge":
		e.Provider, e.Key = "stripe", id+":confirm"
	case "email":
		e.Provider = "sendgrid"
	case "sms":
		e.Provider, e.OutboxID, e.Body = "twilio", "", check.TextPrefix+id
	}
	h.Effects = append(h.Effects, e)
	return e
}

// settle ends the attempt with the outcome of its holder.
func (h *told) settle(id, status, outcome string, e simulator.Effect) {
	d := *h.Docs[id]
	h.settleAs(id, status, outcome, e, d.Lease.Owner, d.Lease.At)
}

func (h *told) settleAs(id, status, outcome string, e simulator.Effect, owner string, claimed time.Time) {
	d := *h.Docs[id]
	d.History = append([]check.Record(nil), d.History...)
	for n := len(d.History) + 1; n < d.Attempts; n++ {
		d.History = append(d.History, check.Record{Attempt: n, Outcome: "ambiguous", Code: "lease_expired"})
	}
	d.History = append(d.History, check.Record{Attempt: d.Attempts, At: claimed, Outcome: outcome, Worker: owner})
	d.Status, d.Lease, d.DueAt = status, nil, time.Time{}
	switch status {
	case "done":
		d.Result = &check.Result{Provider: e.Provider, ID: e.ID}
	case "dead":
		d.DeadReason, d.LastError = outcome, &check.Error{Code: "code"}
	case "pending":
		d.DueAt = claimed.Add(2 * time.Second)
	}
	h.change("settle-"+id, d)
}

// follow inserts a follow-up in the transaction that settled its parent, which must be the last change.
func (h *told) follow(id, kind string) {
	last := h.Changes[len(h.Changes)-1]
	h.changeAt(last.Time, last.Txn, check.Doc{ID: id, Kind: kind, Status: "pending", DueAt: at(1000)})
}

// right is a history of everything that may happen, in which every promise is kept.
func right() *told {
	h := newTold()
	// A charge that is done at once, with a follow-up and a write_back.
	h.write(check.Intent{ID: "charge", Kind: "charge", Policy: "retry", WriteBack: true,
		OnDone: []check.Intent{{ID: "charge:done:0", Kind: "email", Policy: "reconcile", MaxAttempts: 3}}, OnDead: []check.Intent{{ID: "charge:dead:0", Kind: "sms", Policy: "park", MaxAttempts: 3}}})
	h.claim("charge", "a", 100)
	e := h.effect("charge", 200)
	h.settle("charge", "done", "done", e)
	h.Orders["order-charge"] = check.Order{ID: "order-charge", State: "done", Receipt: e.ID}
	h.follow("charge:done:0", "email")
	h.claim("charge:done:0", "b", 1100)
	h.settle("charge:done:0", "done", "done", h.effect("charge:done:0", 1200))

	// An e-mail whose first answer was lost, and which a look-up found.
	h.write(check.Intent{ID: "email", Kind: "email", Policy: "reconcile"})
	h.claim("email", "a", 100)
	h.settle("email", "pending", "ambiguous", h.effect("email", 300))
	h.claim("email", "b", 2200)
	d := *h.Docs["email"]
	d.Attempts--
	d.Status, d.Lease, d.DueAt, d.Result = "done", nil, time.Time{}, &check.Result{Provider: "sendgrid", ID: "e-email-300.filter"}
	h.change("", d)

	// A text message whose first lease ran out, since its worker was frozen; it is parked.
	h.write(check.Intent{ID: "sms", Kind: "sms", Policy: "park"})
	h.Workers[0].Frozen = []check.Span{{From: at(10_000), To: at(30_000)}}
	h.claim("sms", "a", 9900)
	h.claim("sms", "b", 16_000)
	h.settle("sms", "dead", "ambiguous", simulator.Effect{})
	h.Docs["sms"].AmbiguousAt = at(16_000)

	// One that may be sent twice.
	h.write(check.Intent{ID: "twice", Kind: "sms", Policy: "retry"})
	h.claim("twice", "b", 100)
	h.effect("twice", 300)
	h.settle("twice", "pending", "ambiguous", simulator.Effect{})
	h.claim("twice", "b", 2200)
	h.settle("twice", "done", "done", h.effect("twice", 2400))

	// One that is not due yet, one that was aborted, and one of which nobody knows and which is not there.
	h.write(check.Intent{ID: "later", Kind: "email", Policy: "park", Due: at(3_600_000)})
	h.Docs["later"].DueAt = at(3_600_000)
	for id, result := range map[string]string{"aborted": check.Aborted, "unknown": check.Unknown} {
		h.Journal = append(h.Journal, check.Entry{Order: "order-" + id, Result: check.Begun, Intents: []check.Intent{{ID: id, Kind: "sms", Policy: "park", MaxAttempts: 3}}}, check.Entry{Order: "order-" + id, Result: result})
	}
	return h
}
