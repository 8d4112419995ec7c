package store_test

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

// A worker claims an intent under a lease, and settles it. A second settle under the same token changes nothing.
func ExampleStore() {
	ctx := context.Background()
	db, done := mongotest.ExampleDatabase("example_store")
	defer done()
	if _, err := migrations.New(db, "").Up(ctx); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := db.Collection("outbox").InsertOne(ctx, bson.M{
		"_id": "order-7", "kind": "sms", "status": "pending", "due_at": time.Now().Add(-time.Second),
		"payload": bson.M{"to": "+4915112345678", "from": "+15005550006", "body": "Your order is in."},
	}); err != nil {
		fmt.Println(err)
		return
	}

	s := store.New(db, "", store.Options{})
	claimed, err := s.Claim(ctx, outbox.ClaimOrder{Kind: "sms", Limit: 10, Lease: time.Minute, Owner: "worker-1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	in := claimed[0]
	fmt.Println("claimed", in.ID, "as attempt", in.Attempts)

	policy := outbox.Policy{Retry: outbox.RetryPolicy{MaxAttempts: 12, Base: time.Second, Max: time.Minute}}
	sent := outbox.Verdict{Event: outbox.Delivered, Receipt: outbox.Receipt{Provider: "twilio", ID: "SM1"}}
	answers, err := s.Settle(ctx, []outbox.Settlement{{Intent: in, Decision: outbox.Decide(in, sent, policy, s.Now())}})
	if err != nil {
		fmt.Println(err)
		return
	}
	var doc struct{ Status string }
	err = db.Collection("outbox").FindOne(ctx, bson.M{"_id": "order-7"}).Decode(&doc)
	fmt.Println("settled:", !answers[0].Lost, doc.Status, err)
	// Output:
	// claimed order-7 as attempt 1
	// settled: true done <nil>
}
