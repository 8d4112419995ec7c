package bench

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
)

const (
	loadBatch    = 1000 // intents in one insert
	loadParallel = 4    // inserts at once
)

// text makes an intent about half a kilobyte long, as one line of an e-mail and its envelope are.
var text = strings.Repeat("Your order has left our warehouse. ", 7)

// intent returns an e-mail that is due at the given instant. All are alike but for their _id: what is measured is the
// way, not the content.
func intent(id bson.ObjectID, due time.Time) bson.D {
	return bson.D{
		{Key: "_id", Value: id}, {Key: "kind", Value: outbox.KindEmail}, {Key: "status", Value: outbox.StatusPending},
		{Key: "due_at", Value: bson.NewDateTimeFromTime(due)},
		{Key: "payload", Value: bson.D{
			{Key: "from", Value: "shop@example.com"}, {Key: "to", Value: "customer@example.com"},
			{Key: "subject", Value: "Your order"}, {Key: "text", Value: text},
		}},
		{Key: "metadata", Value: bson.D{{Key: "order", Value: id.Hex()}}},
		{Key: "created_at", Value: bson.NewDateTimeFromTime(due)},
	}
}

// finished returns an intent that was carried out and is kept for a week, as a worker leaves it.
func finished(id bson.ObjectID, at time.Time) bson.D {
	doc := bson.D{}
	for _, e := range intent(id, at) {
		switch e.Key {
		case "status":
			e.Value = outbox.StatusDone
		case "due_at":
			continue
		}
		doc = append(doc, e)
	}
	date := bson.NewDateTimeFromTime(at)
	return append(doc,
		bson.E{Key: "attempts", Value: 1}, bson.E{Key: "first_attempt_at", Value: date},
		bson.E{Key: "history", Value: bson.A{bson.D{
			{Key: "attempt", Value: 1}, {Key: "at", Value: date}, {Key: "ms", Value: int64(3)}, {Key: "outcome", Value: outbox.Done}, {Key: "worker", Value: "bench"},
		}}},
		bson.E{Key: "result", Value: bson.D{{Key: "provider", Value: "bench"}, {Key: "id", Value: id.Hex()}, {Key: "status", Value: "accepted"}}},
		bson.E{Key: "done_at", Value: date}, bson.E{Key: "purge_at", Value: bson.NewDateTimeFromTime(at.Add(week))},
	)
}

const week = 7 * 24 * time.Hour

// load inserts n documents and returns their _ids in order.
func load(ctx context.Context, c *mongo.Collection, n int, doc func(i int, id bson.ObjectID) bson.D) ([]bson.ObjectID, error) {
	ids := make([]bson.ObjectID, n)
	for i := range ids {
		ids[i] = bson.NewObjectID()
	}
	err := inParallel(ctx, loadParallel, loadBatch, n, func(ctx context.Context, from, to int) error {
		docs := make([]bson.D, to-from)
		for i := range docs {
			docs[i] = doc(from+i, ids[from+i])
		}
		_, err := c.InsertMany(ctx, docs, options.InsertMany().SetOrdered(false).SetBypassDocumentValidation(true))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("load %d intents: %w", n, err)
	}
	return ids, nil
}

// loadDue inserts n intents that became due one after another, a millisecond apart, the last one just now.
func loadDue(ctx context.Context, c *mongo.Collection, n int) ([]bson.ObjectID, error) {
	first := time.Now().Add(-time.Duration(n) * time.Millisecond)
	return load(ctx, c, n, func(i int, id bson.ObjectID) bson.D { return intent(id, first.Add(time.Duration(i)*time.Millisecond)) })
}

// inParallel calls do for the parts of n things, so many parts at once, and returns the first error.
func inParallel(ctx context.Context, parallel, size, n int, do func(ctx context.Context, from, to int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	parts := make(chan int, n/size+1)
	for from := 0; from < n; from += size {
		parts <- from
	}
	close(parts)
	var all sync.WaitGroup
	for range parallel {
		all.Go(func() {
			for from := range parts {
				if ctx.Err() != nil {
					return
				}
				if err := do(ctx, from, min(from+size, n)); err != nil {
					cancel(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}
