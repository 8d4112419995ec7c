package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// Store is what the suite tests.
type Store interface {
	Claim(ctx context.Context, order outbox.ClaimOrder) ([]*outbox.Intent, error)
	ClaimToSettle(ctx context.Context, order outbox.ClaimOrder) ([]*outbox.Intent, error)
	Settle(ctx context.Context, batch []outbox.Settlement) ([]outbox.Settled, error)
	SaveProgress(ctx context.Context, in *outbox.Intent, p outbox.Progress) error
	Now() time.Time
}

// Harness is a store with a hand in its documents. Its methods fail the test that made it where they cannot do what
// they are for. It is used by one goroutine at a time, its store by many.
type Harness interface {
	Store() Store
	// Insert adds an intent's document past every validator.
	Insert(doc map[string]any)
	// Get returns the intent's document with the _id, nil if there is none.
	Get(id any) map[string]any
	// All returns the documents of all intents.
	All() []map[string]any
	// Change sets fields of the intent's document with the _id, past every validator; nil as a value removes the field.
	Change(id any, fields map[string]any)
	// InsertBusiness adds a document that write_back may name.
	InsertBusiness(collection string, doc map[string]any)
	// Business returns the business document with the _id, nil if there is none.
	Business(collection string, id any) map[string]any
	// Hold holds the business document with the _id, as somebody's open transaction does, until the function returned
	// is called.
	Hold(collection string, id any) (release func())
	// HoldIntent does the same with an intent.
	HoldIntent(id any) (release func())
	// RefuseKind makes the database refuse intents of the kind, as a validator does that knows more than the worker.
	RefuseKind(kind string)
}

// What the stores under test must be configured with.
const (
	Retention = 48 * time.Hour
	// Orders is a collection that write_back may name; no other is.
	Orders = "orders"
)

// Rules are the rules with which the store under test parses intents.
func Rules() outbox.Rules { return outbox.Rules{WriteBack: []string{Orders}} }

// Run runs the suite. newHarness returns a harness with an empty store; what it opens it closes when t ends.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	for _, group := range [][]test{claimTests(), sampleTests(), settleTests(), fenceTests(), consequenceTests(), waitTests()} {
		for _, c := range group {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				h := newHarness(t)
				e := &env{T: t, h: h, s: h.Store()}
				c.run(e)
				checkInvariants(t, h.All())
			})
		}
	}
}

// test is one test of the suite.
type test struct {
	name string
	run  func(*env)
}

// env is what a test has at hand.
type env struct {
	*testing.T
	h Harness
	s Store
}

// ctx returns the test's context.
func (e *env) ctx() context.Context { return e.Context() }
