package main

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/simulator"
)

// sort is one way in which an intent dies, and what a bulk retry has to make of it.
type sort struct {
	name, kind string
	by         string // customer or recipient: faults go by it
	change     bson.D // of the intent that a worker is given, or of the dead letter if reason is set
	reason     string // of a letter that is inserted dead; empty: a worker lets it die
	code       string
	fault      simulator.Fault // what kills it; none if Do is empty

	refused    string // how the reason begins under which a job counts it; empty: it is retried
	acted      bool   // the provider had acted before it died
	generation int64  // after one retry
}

// charged is the customer of charges that are made, and whose answer is lost for good.
const charged = "cus_charged"

const (
	final     = string(outbox.RefusedFinal)
	ambiguous = string(outbox.RefusedAmbiguous)
)

func only(key string, value any) bson.D { return bson.D{{Key: key, Value: value}} }

// sorts are the kinds of dead letters, by all reasons and the codes that the rules tell apart.
func sorts() []sort {
	park, once := only("on_ambiguous", "park"), only("max_attempts", 1)
	reset := func(when string) simulator.Fault { return simulator.Fault{Do: simulator.DoReset, When: when} }
	status := func(code int) simulator.Fault { return simulator.Fault{Do: simulator.DoStatus, Status: code} }
	card := func(method string) bson.D { return only("payload.payment_method", method) }
	return []sort{
		{name: "exhausted", kind: "charge", by: "cus_down", change: once, fault: status(500)},
		{name: "ambiguous, charged", kind: "charge", by: charged, acted: true},
		{name: "ambiguous, not charged", kind: "charge", by: "cus_lost", reason: "ambiguous", code: "no_answer", change: only("ambiguous_at", time.Now().Add(-time.Hour))},
		{name: "declined", kind: "charge", by: "cus_declined", change: card("pm_card_chargeDeclined"), refused: final},
		{name: "action required", kind: "charge", by: "cus_3ds", change: card("pm_card_authenticationRequired"), refused: final},
		{name: "cancelled at the provider", kind: "charge", by: "cus_cancelled", reason: "permanent", code: "canceled", refused: final},
		{name: "refused for its own sake", kind: "charge", by: "cus_refused", reason: "permanent", code: "refused", generation: 1},

		{name: "exhausted", kind: "email", by: "down@example.com", reason: "exhausted", code: "not_sent"},
		{name: "ambiguous, sent", kind: "email", by: "sent@example.com", change: park, fault: reset(simulator.After), refused: ambiguous, acted: true},
		{name: "expired", kind: "email", by: "late@example.com", change: only("expires_at", time.Now().Add(-time.Second)), refused: string(outbox.RefusedExpired)},
		{name: "rejected", kind: "email", by: "bad@example.com", fault: status(400), refused: final},
		{name: "expired, and moved", kind: "email", by: "moved@example.com", reason: "expired", code: "expired", change: only("expires_at", time.Now().Add(time.Hour))},

		{name: "exhausted", kind: "sms", by: "+4915100000001", reason: "exhausted", code: "not_sent"},
		{name: "ambiguous, sent", kind: "sms", by: "+4915100000002", fault: reset(simulator.After), refused: ambiguous, acted: true},
		{name: "ambiguous, not sent", kind: "sms", by: "+4915100000003", fault: reset(simulator.Before), refused: ambiguous},
		{name: "opted out", kind: "sms", by: "+15005550004", refused: final},
		{name: "no number", kind: "sms", by: "+15005550001", refused: final},
		{name: "a person says it was not sent", kind: "sms", by: "+4915100000004", reason: "exhausted", code: "not_sent",
			change: only("resolved", bson.D{{Key: "verdict", Value: "not_sent"}, {Key: "by", Value: "ada"}, {Key: "at", Value: time.Now()}})},
		{name: "malformed", kind: "sms", by: "nobody", refused: "it breaks the contract ("},
		{name: "a no of no known code", kind: "sms", by: "+4915100000005", reason: "permanent", code: "tired", refused: "the code of the provider's final no is not known"},
	}
}

// to is the field of a kind's payload that says who is meant.
var to = map[string]string{"charge": "customer", "email": "to", "sms": "to"}

// document returns the ith letter of the sort, as a producer wrote it or as a worker left it.
func (s sort) document(i int) bson.D {
	id := fmt.Sprintf("letter-%05d", i)
	doc := intent(s.kind, id)
	if s.reason != "" {
		doc = buried(s.kind, id, s.reason, s.code, time.Now().Add(time.Duration(i)*time.Millisecond-time.Hour))
	}
	who := s.by
	if s.kind == "email" && s.fault.Do == "" { // look-ups compare what one recipient got
		who = fmt.Sprintf("%d-%s", i, who)
	}
	for _, e := range append(only("payload."+to[s.kind], who), s.change...) {
		doc = with(doc, e)
	}
	return doc
}

// with sets a field, or one of the payload.
func with(doc bson.D, e bson.E) bson.D {
	for i := range doc {
		if payload, ok := doc[i].Value.(bson.D); ok && len(e.Key) > 8 && e.Key[:8] == "payload." && doc[i].Key == "payload" {
			doc[i].Value = with(payload, bson.E{Key: e.Key[8:], Value: e.Value})
			return doc
		}
		if doc[i].Key == e.Key {
			doc[i].Value = e.Value
			return doc
		}
	}
	return append(doc, e)
}

// buried is a dead letter with all that a worker records of its one attempt.
func buried(kind, id, reason, code string, at time.Time) bson.D {
	class := map[string]string{"exhausted": "transient"}[reason]
	if class == "" {
		class = reason
	}
	at = at.Truncate(time.Millisecond)
	doc := append(deadLetter(id, kind, reason, code, at), bson.E{Key: "first_attempt_at", Value: at.Add(-time.Second)},
		bson.E{Key: "history", Value: bson.A{bson.D{{Key: "what", Value: "attempt"}, {Key: "attempt", Value: 1}, {Key: "at", Value: at.Add(-time.Second)},
			{Key: "outcome", Value: class}, {Key: "code", Value: code}, {Key: "worker", Value: "w"}}}})
	doc = with(with(doc, bson.E{Key: "attempts", Value: 1}), intent(kind, id)[4])
	return with(doc, bson.E{Key: "last_error", Value: bson.D{{Key: "class", Value: class}, {Key: "code", Value: code}, {Key: "at", Value: at}}})
}

// die inserts n letters of the sorts in turn, and lets a worker process make dead letters of those that are none yet.
// It returns the sort of each letter by its id.
func (w *world) die(t *testing.T, n int, file string) map[string]sort {
	t.Helper()
	all, of := sorts(), make(map[string]sort, n)
	for _, s := range all {
		if s.fault.Do == "" {
			continue
		}
		f := s.fault
		f.Provider = map[string]string{"charge": simulator.ProviderStripe, "email": simulator.ProviderSendGrid, "sms": simulator.ProviderTwilio}[s.kind]
		f.Route, f.Match = "send", simulator.Match{To: s.by, Times: -1}
		if s.kind == "charge" {
			f.Route = "create"
		}
		w.fault(t, f)
	}
	var docs []any
	for i := range n {
		s := all[i%len(all)]
		of[fmt.Sprintf("letter-%05d", i)] = s
		docs = append(docs, s.document(i))
		if len(docs) == 1000 || i == n-1 {
			w.insertMany(t, docs)
			docs = nil
		}
	}
	p := launch(t, w.env, "worker", "--config", file, "--log-level", "error", "--log-format", "json")
	w.settled(t)
	p.signal(t, syscall.SIGTERM)
	if code := p.end(t); code != exitDone {
		t.Fatalf("the worker that lets the letters die: exit code %d\n%s", code, p.log)
	}
	w.sim.Sim.ClearFaults()
	w.loseAnswers(t)
	return of
}

// loseAnswers makes of the charges of one customer what a worker leaves that was charged and was never told so: all
// look-ups failed as well. The provider keeps the charges.
func (w *world) loseAnswers(t *testing.T) {
	t.Helper()
	at := time.Now().Truncate(time.Millisecond)
	_, err := w.outbox().UpdateMany(t.Context(), bson.D{{Key: "payload.customer", Value: charged}, {Key: "status", Value: "done"}}, bson.D{
		{Key: "$set", Value: bson.D{{Key: "status", Value: "dead"}, {Key: "dead_at", Value: at}, {Key: "dead_reason", Value: "ambiguous"}, {Key: "ambiguous_at", Value: at},
			{Key: "last_error", Value: bson.D{{Key: "class", Value: "ambiguous"}, {Key: "code", Value: "no_answer"}, {Key: "at", Value: at}}},
			{Key: "history.0.outcome", Value: "ambiguous"}, {Key: "history.0.code", Value: "no_answer"}}},
		{Key: "$unset", Value: bson.D{{Key: "result", Value: ""}, {Key: "done_at", Value: ""}, {Key: "purge_at", Value: ""}, {Key: "history.0.ref", Value: ""}}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// settled waits until nothing is left for a worker to do.
func (w *world) settled(t *testing.T) {
	t.Helper()
	open := bson.D{{Key: "status", Value: bson.D{{Key: "$in", Value: bson.A{"pending", "leased"}}}}}
	t.Cleanup(func() {
		if t.Failed() {
			doc, _ := w.outbox().FindOne(context.WithoutCancel(t.Context()), open).Raw() // it says more of a failure
			t.Logf("not settled: %s", doc)
		}
	})
	within(t, 5*patience, "all letters end", func() bool { return w.count(t, open) == 0 })
}
