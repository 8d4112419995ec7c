package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

const (
	// aliveFor is how long a worker counts as live after it was last seen: three of its heartbeats.
	aliveFor = 15 * time.Second
	// forgetAfter is when the entry of a worker that did not leave is deleted.
	forgetAfter = time.Hour
)

// Heartbeat enters a worker in the registry and returns how many live workers serve each kind, itself included. Live is
// who was seen within 15 seconds by the database's clock.
func (s *Store) Heartbeat(ctx context.Context, w outbox.Worker) (map[string]int, error) {
	doing := fmt.Sprintf("enter worker %s in the registry", w.Name)
	ctx, cancel := s.bound(ctx)
	defer cancel()
	inFlight := make(map[string]any, len(w.InFlight))
	for kind, n := range w.InFlight {
		inFlight[kind] = int64(n)
	}
	entry := bson.D{
		{Key: "_id", Value: w.Name}, {Key: "kinds", Value: append([]string{}, w.Kinds...)}, {Key: "in_flight", Value: encodeDocument(inFlight)},
		{Key: "started", Value: bson.NewDateTimeFromTime(w.Started)}, {Key: "version", Value: w.Version},
	}
	seen := bson.D{{Key: "seen", Value: "$$NOW"}}
	_, err := s.workers.UpdateOne(ctx, bson.D{{Key: "_id", Value: w.Name}},
		mongo.Pipeline{{{Key: "$replaceWith", Value: expr.MergeObjects(expr.Literal(entry), seen)}}},
		options.UpdateOne().SetUpsert(true))
	if err != nil {
		return nil, failed(err, "%s", doing)
	}
	workers, stale, err := s.registry(ctx)
	if err != nil {
		return nil, failed(err, "%s: count the live ones", doing)
	}
	if stale {
		long := expr.Lt("$seen", fromNow(-forgetAfter))
		if _, err := s.workers.DeleteMany(ctx, bson.D{expr.Expr(long)}); err != nil {
			return nil, failed(err, "%s: forget the dead ones", doing)
		}
	}
	live := make(map[string]int)
	for _, other := range workers {
		for _, kind := range other.Kinds {
			live[kind]++
		}
	}
	return live, nil
}

// Workers returns the live workers, by name.
func (s *Store) Workers(ctx context.Context) ([]outbox.Worker, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	workers, _, err := s.registry(ctx)
	slices.SortFunc(workers, func(a, b outbox.Worker) int { return cmp.Compare(a.Name, b.Name) })
	return workers, failed(err, "read the registry of workers")
}

// registry returns the live workers, and whether there are entries to forget.
func (s *Store) registry(ctx context.Context) (live []outbox.Worker, stale bool, err error) {
	cursor, err := s.workers.Aggregate(ctx, mongo.Pipeline{expr.Set(bson.D{{Key: "now", Value: "$$NOW"}})})
	if err != nil {
		return nil, false, err
	}
	defer cursor.Close(context.WithoutCancel(ctx))
	for cursor.Next(ctx) {
		doc, err := decode(cursor.Current)
		if err != nil {
			return nil, false, err
		}
		w, now := workerOf(doc), doc["now"].(time.Time)
		switch age := now.Sub(w.Seen); {
		case age <= aliveFor:
			live = append(live, w)
		case age > forgetAfter:
			stale = true
		}
	}
	return live, stale, cursor.Err()
}

func workerOf(doc map[string]any) outbox.Worker {
	w := outbox.Worker{InFlight: make(map[string]int)}
	w.Name, _ = doc["_id"].(string)
	w.Version, _ = doc["version"].(string)
	w.Started, _ = doc["started"].(time.Time)
	w.Seen, _ = doc["seen"].(time.Time)
	kinds, _ := doc["kinds"].([]any)
	for _, kind := range kinds {
		if text, ok := kind.(string); ok {
			w.Kinds = append(w.Kinds, text)
		}
	}
	inFlight, _ := doc["in_flight"].(map[string]any)
	for kind, n := range inFlight {
		if n, ok := n.(int64); ok {
			w.InFlight[kind] = int(n)
		}
	}
	return w
}

// Leave takes a worker out of the registry.
func (s *Store) Leave(ctx context.Context, worker string) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	_, err := s.workers.DeleteOne(ctx, bson.D{{Key: "_id", Value: worker}})
	return failed(err, "take worker %s out of the registry", worker)
}
