package store_test

import (
	"fmt"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

// A worker whose user may not pass the validator by must be able to write all that it decides. So whatever two outcomes
// follow each other, the document keeps the contract.
func TestWorkersLeaveValidDocuments(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	specs, err := h.db.ListCollectionSpecifications(t.Context(), bson.D{{Key: "name", Value: migrations.DefaultCollection}})
	if err != nil || len(specs) != 1 {
		t.Fatalf("read the validator: %v, %d collections", err, len(specs))
	}
	broken := bson.D{{Key: "$nor", Value: bson.A{specs[0].Options.Lookup("validator").Document()}}}

	failure := func(c outbox.Class) *outbox.Failure {
		return &outbox.Failure{Class: c, Code: outbox.CodeUnavailable, Message: "m", Provider: "p", ProviderCode: "c", HTTPStatus: 503, RequestID: "r"}
	}
	verdicts := []outbox.Verdict{{Event: outbox.Delivered, Receipt: outbox.Receipt{Provider: "p", ID: "1"}}, {Event: outbox.Absent}, {Event: outbox.Abandoned},
		{Event: outbox.Unsent}, {Event: outbox.Unsent, Failure: failure(outbox.Transient)}, {Event: outbox.Lapsed}, {Event: outbox.Spent}}
	for _, class := range []outbox.Class{outbox.Transient, outbox.Permanent, outbox.RateLimited, outbox.Hold, outbox.Ambiguous} {
		verdicts = append(verdicts, outbox.Verdict{Event: outbox.Failed, Failure: failure(class)}, outbox.Verdict{Event: outbox.LookUpFailed, Failure: failure(class)})
	}
	policies := map[string]outbox.Policy{}
	for _, on := range []outbox.Ambiguity{outbox.Retry, outbox.Reconcile, outbox.Park} {
		for _, asks := range []bool{false, true} {
			policies[fmt.Sprint(on, asks)] = outbox.Policy{OnAmbiguous: on, AsksFirst: asks, Retry: outbox.RetryPolicy{MaxAttempts: 3, Base: time.Second, Max: time.Minute}}
		}
	}
	decide := func(step int) {
		claimed, err := h.store.Claim(t.Context(), outbox.ClaimOrder{Kind: "sms", Limit: 5000, Lease: time.Minute, Owner: "w"})
		if err != nil {
			t.Fatal(err)
		}
		batch := make([]outbox.Settlement, len(claimed))
		for i, in := range claimed {
			var first, second, policy = 0, 0, ""
			if _, err := fmt.Sscanf(in.Metadata["plan"], "%d %d %s", &first, &second, &policy); err != nil {
				t.Fatal(err)
			}
			v := verdicts[first]
			if step == 1 {
				v = verdicts[second]
			}
			batch[i] = outbox.Settlement{Intent: in, Decision: outbox.Decide(in, v, policies[policy], h.store.Now())}
		}
		h.settle(batch)
	}
	plans := map[string]string{}
	for first := range verdicts {
		for second := range verdicts {
			for name := range policies {
				id := fmt.Sprintf("%d-%d-%s", first, second, name)
				plans[id] = fmt.Sprintf("%d %d %s", first, second, name)
				h.Insert(h.intent(id, map[string]any{"metadata": map[string]any{"plan": plans[id]}}))
			}
		}
	}
	check := func(when string) {
		cursor, err := h.outbox().Find(t.Context(), broken, options.Find().SetLimit(5))
		if err != nil {
			t.Fatal(err)
		}
		var docs []bson.Raw
		if err := cursor.All(t.Context(), &docs); err != nil {
			t.Fatal(err)
		}
		for _, doc := range docs {
			t.Errorf("%s, a document breaks the contract: %s", when, doc)
		}
	}
	check("as inserted")
	for step := range 2 {
		decide(step)
		check(fmt.Sprintf("after outcome %d", step+1))
		again := bson.D{{Key: "$set", Value: bson.D{{Key: "due_at", Value: h.store.Now().Add(-time.Second)}}}}
		if _, err := h.outbox().UpdateMany(t.Context(), bson.D{{Key: "status", Value: "pending"}}, again); err != nil {
			t.Fatal(err)
		}
	}

	untried := h.intent("untried", map[string]any{"status": "dead", "dead_at": h.store.Now(), "dead_reason": "exhausted", "last_error": map[string]any{"class": "transient", "code": "unavailable"}})
	delete(untried, "due_at")
	h.Insert(untried)
	retried := 0
	for raw, err := range h.store.Dead(t.Context(), store.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		in, err := h.store.Intent(raw)
		if err != nil {
			t.Fatal(err)
		}
		retry, err := outbox.RetryDead(in, policies["parkfalse"], true, h.store.Now())
		if err != nil {
			continue // refused
		}
		if err := h.store.RetryDead(t.Context(), raw, retry, "ada", "it is back"); err != nil {
			t.Fatal(err)
		}
		retried++
	}
	if retried == 0 {
		t.Error("nothing was retried by hand")
	}
	check("after a retry by hand")
}
