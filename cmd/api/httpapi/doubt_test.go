package httpapi_test

import (
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/api/payments"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

// settled ends the charge of a payment as a worker does that got the given verdict.
func (a *api) settled(s *store.Store, id string, v outbox.Verdict) {
	a.t.Helper()
	list, err := s.Claim(a.t.Context(), outbox.ClaimOrder{Kind: outbox.KindCharge, Limit: 1, Lease: time.Minute, Owner: "test", Only: []outbox.ID{outbox.NewStringID("charge:" + id)}})
	if err != nil || len(list) != 1 {
		a.t.Fatalf("%d intents are claimed, error %v", len(list), err)
	}
	if len(list[0].Problems) > 0 {
		a.t.Fatalf("the intent has %v", list[0].Problems)
	}
	d := outbox.Decide(list[0], v, parking(), s.Now())
	answers, err := s.Settle(a.t.Context(), []outbox.Settlement{{Intent: list[0], Decision: d}})
	if err != nil || len(answers) != 1 || answers[0].Lost || answers[0].Busy+answers[0].Waiting != "" || len(answers[0].Notes) > 0 {
		a.t.Fatalf("settling answered %+v, error %v", answers, err)
	}
}

// parking is a policy that leaves every doubt to a person.
func parking() outbox.Policy {
	return outbox.Policy{Retry: outbox.RetryPolicy{MaxAttempts: 1, Base: time.Second, Max: time.Second}, OnAmbiguous: outbox.Park,
		Reconcile: outbox.ReconcilePolicy{Interval: time.Second, GiveUp: time.Second}}
}

// subjects are what the customer was written.
func (a *api) subjects() []string {
	a.t.Helper()
	var list []string
	_, intents := a.written()
	for _, in := range intents {
		if payload, ok := in["payload"].(bson.D); ok && in["kind"] == "email" {
			for _, e := range payload {
				if e.Key == "subject" {
					list = append(list, e.Value.(string))
				}
			}
		}
	}
	return list
}

// Where nobody knows whether the card was charged, the customer reads that we are checking, never that it failed. When
// a person has found the charge at Stripe, the payment is paid, and nothing of a failure is left.
func TestDoubtIsNoFailure(t *testing.T) {
	a := start(t)
	s := store.New(a.db, "outbox", store.Options{Rules: outbox.Rules{WriteBack: []string{payments.Collection}}})
	id := a.order()
	a.set(id, bson.D{{Key: "failure", Value: bson.D{{Key: "reason", Value: "permanent"}}}}) // of an earlier death
	r := a.stream(id)
	r.next()
	a.settled(s, id, outbox.Verdict{Event: outbox.Failed, Failure: &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodeNoAnswer, Provider: "stripe"}})

	name, v := r.next()
	got := a.do("GET", "/payments/"+id, "")
	if name != "payment" || v.State != payments.StateChecking || got.body.State != payments.StateChecking || got.body.Failure != nil || !strings.Contains(got.body.Msg, "We are checking") {
		t.Errorf("the stream has %s %+v, GET has %s", name, v, got.text)
	}
	if said := a.subjects(); len(said) != 1 || said[0] != "We are checking your payment of 19.99 EUR" {
		t.Errorf("the customer was written %q", said)
	}

	if list, _ := a.written(); list[0].State != payments.StateChecking || list[0].Failure != nil {
		t.Errorf("the doubtful payment is %+v", list[0])
	}
	a.set(id, bson.D{{Key: "failure", Value: bson.D{{Key: "reason", Value: "permanent"}}}})

	raw, err := s.Get(t.Context(), "charge:"+id)
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Intent(raw)
	if err != nil {
		t.Fatal(err)
	}
	resolution, err := outbox.Resolve(in, outbox.PersonVerdict{Sent: true, Evidence: "pi_1", By: "a test"}, parking(), s.Now())
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := s.Resolve(t.Context(), raw, resolution); err != nil || len(answer.Notes) > 0 {
		t.Fatalf("resolving answered %+v, error %v", answer, err)
	}
	got = a.do("GET", "/payments/"+id, "")
	if got.body.State != payments.StatePaid || got.body.Failure != nil || got.body.Receipt == nil || got.body.Receipt.ID != "pi_1" {
		t.Errorf("after it was found: %s", got.text)
	}
	list, _ := a.written()
	if list[0].Failure != nil || list[0].State != payments.StatePaid {
		t.Errorf("the payment is %+v", list[0])
	}
	if said := a.subjects(); len(said) != 2 || strings.Contains(strings.Join(said, " "), "failed") {
		t.Errorf("the customer was written %q", said)
	}
}

// A decline is a failure, and the customer is told what to do; nobody speaks of checking.
func TestADeclineIsAFailure(t *testing.T) {
	a := start(t)
	s := store.New(a.db, "outbox", store.Options{Rules: outbox.Rules{WriteBack: []string{payments.Collection}}})
	id := a.order()
	a.settled(s, id, outbox.Verdict{Event: outbox.Failed, Failure: &outbox.Failure{Class: outbox.Permanent, Code: outbox.CodeDeclined, Provider: "stripe"}})
	got := a.do("GET", "/payments/"+id, "")
	if got.body.State != payments.StateFailed || got.body.Failure == nil || got.body.Failure.Code != "declined" || !strings.Contains(got.body.Msg, "Please use another card") {
		t.Errorf("GET has %s", got.text)
	}
	if said := a.subjects(); len(said) != 1 || said[0] != "Your payment of 19.99 EUR failed" {
		t.Errorf("the customer was written %q", said)
	}
}
