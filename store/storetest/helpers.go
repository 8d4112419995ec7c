package storetest

import (
	"maps"
	"reflect"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

const (
	kind   = outbox.KindSMS
	owner  = "worker-1"
	lease  = time.Minute
	zombie = "worker-0"
)

// policy is the one by which the tests decide.
var policy = outbox.Policy{
	Retry:       outbox.RetryPolicy{MaxAttempts: 5, Base: time.Second, Max: time.Minute},
	OnAmbiguous: outbox.Reconcile,
	Reconcile:   outbox.ReconcilePolicy{Wait: 30 * time.Second, Interval: 30 * time.Second, AbsentAfter: 2 * time.Minute, GiveUp: 15 * time.Minute},
}

// fields are those of a document that differ from the smallest valid intent's.
type fields map[string]any

// intent returns the smallest valid intent, due a second ago, with the given fields; nil as a value leaves a field out.
func (e *env) intent(id any, more fields) map[string]any {
	doc := map[string]any{
		"_id": id, "kind": kind, "status": "pending", "due_at": e.ago(time.Second),
		"payload": map[string]any{"to": "+4915112345678", "from": "+15550001111", "body": "Your code is 4711"},
	}
	maps.Copy(doc, more)
	for name, value := range doc {
		if value == nil {
			delete(doc, name)
		}
	}
	return doc
}

// insert adds intents as intent makes them.
func (e *env) insert(id any, more fields) {
	e.Helper()
	e.h.Insert(e.intent(id, more))
}

func (e *env) ago(d time.Duration) time.Time { return e.s.Now().Add(-d).Truncate(time.Millisecond) }

// claim claims up to n intents.
func (e *env) claim(n int) []*outbox.Intent {
	e.Helper()
	return e.claimAs(owner, n)
}

func (e *env) claimAs(owner string, n int) []*outbox.Intent {
	e.Helper()
	claimed, err := e.s.Claim(e.ctx(), outbox.ClaimOrder{Kind: kind, Limit: n, Lease: lease, Owner: owner})
	if err != nil {
		e.Fatalf("Claim: %v", err)
	}
	return claimed
}

// claimOne claims the only intent that is due.
func (e *env) claimOne() *outbox.Intent {
	e.Helper()
	claimed := e.claim(10)
	if len(claimed) != 1 {
		e.Fatalf("Claim returned %d intents, want 1", len(claimed))
	}
	return claimed[0]
}

// insertAndClaim inserts an intent and claims it.
func (e *env) insertAndClaim(id any, more fields) *outbox.Intent {
	e.Helper()
	e.insert(id, more)
	return e.claimOne()
}

// lapse lets the lease, or the wait, of an intent run out.
func (e *env) lapse(id any) {
	e.Helper()
	e.h.Change(id, map[string]any{"due_at": e.ago(time.Millisecond)})
}

// decide makes the settlement of a claimed intent by the rules of the domain.
func (e *env) decide(in *outbox.Intent, v outbox.Verdict) outbox.Settlement {
	return outbox.Settlement{Intent: in, Decision: outbox.Decide(in, v, policy, e.s.Now()), Took: 250 * time.Millisecond}
}

func delivered() outbox.Verdict {
	return outbox.Verdict{Event: outbox.Delivered, Receipt: outbox.Receipt{Provider: "twilio", ID: "SM1", Status: "queued"}}
}

func fails(class outbox.Class, code string) outbox.Verdict {
	return outbox.Verdict{Event: outbox.Failed, Failure: &outbox.Failure{
		Class: class, Code: code, Message: "the provider said so", Provider: "twilio", ProviderCode: "30001", HTTPStatus: 503, RequestID: "RQ1",
	}}
}

func unsent() outbox.Verdict { return outbox.Verdict{Event: outbox.Unsent} }

// settle settles a batch and returns the answers.
func (e *env) settle(batch ...outbox.Settlement) []outbox.Settled {
	e.Helper()
	answers, err := e.s.Settle(e.ctx(), batch)
	if err != nil {
		e.Fatalf("Settle: %v", err)
	}
	if len(answers) != len(batch) {
		e.Fatalf("Settle gave %d answers to %d settlements", len(answers), len(batch))
	}
	return answers
}

// settled settles a batch, none of which may be lost.
func (e *env) settled(batch ...outbox.Settlement) {
	e.Helper()
	for i, answer := range e.settle(batch...) {
		if answer.Lost || len(answer.Notes) > 0 {
			e.Fatalf("settlement %d was answered by %+v, want neither lost nor notes", i, answer)
		}
	}
}

// get returns the document with the _id, which must be there.
func (e *env) get(id any) map[string]any {
	e.Helper()
	doc := e.h.Get(id)
	if doc == nil {
		e.Fatalf("there is no intent %v", id)
	}
	return doc
}

// want checks fields of a document; nil as a value means that the field must not be there.
func (e *env) want(doc map[string]any, want fields) {
	e.Helper()
	for name, value := range want {
		got, ok := doc[name]
		switch {
		case value == nil && ok:
			e.Errorf("%s is %v, want none", name, got)
		case value != nil && !reflect.DeepEqual(got, value):
			e.Errorf("%s is %#v, want %#v", name, got, value)
		}
	}
}

// wantSoon checks that a document's instant is about so far from now. A minute of tolerance is far more than a test
// takes and far less than what the tests tell apart.
func (e *env) wantSoon(doc map[string]any, field string, from time.Duration) {
	e.Helper()
	at, ok := doc[field].(time.Time)
	if off := at.Sub(e.s.Now().Add(from)); !ok || off.Abs() > 20*time.Second {
		e.Errorf("%s is %v, want about %v from %v", field, doc[field], from, e.s.Now())
	}
}

// unchanged checks that a document is as it was.
func (e *env) unchanged(before map[string]any) {
	e.Helper()
	if after := e.h.Get(before["_id"]); !reflect.DeepEqual(before, after) {
		e.Errorf("intent %v changed:\n  from %v\n    to %v", before["_id"], before, after)
	}
}

// ids returns the texts of the intents' ids.
func ids(intents []*outbox.Intent) []string {
	texts := make([]string, len(intents))
	for i, in := range intents {
		texts[i] = in.ID.String()
	}
	return texts
}
