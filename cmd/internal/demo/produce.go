package demo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

const (
	producers = 8
	beat      = 15 * time.Millisecond // between two intents, so that there is something to watch
)

// cast says which act each intent belongs to, by the text of its _id.
type cast struct {
	mu    sync.Mutex
	roles map[string]role
}

func (c *cast) add(id string, r role) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.roles[id] = r
}

// produce writes all intents: through the reference API, or in a transaction with an order.
func (s *stage) produce(ctx context.Context, list []role) (*cast, error) {
	c := &cast{roles: make(map[string]role, len(list))}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan role)
	var all sync.WaitGroup
	for range producers {
		all.Go(func() {
			for r := range work {
				id, err := s.write(ctx, r)
				if err != nil {
					cancel(fmt.Errorf("write the intent %d (%s): %w", r.number, r.name, err))
					continue
				}
				c.add(id, r)
			}
		})
	}
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for _, r := range list {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		select {
		case work <- r:
		case <-ctx.Done():
		}
	}
	close(work)
	all.Wait()
	return c, context.Cause(ctx)
}

// write writes one intent and returns the text of its _id.
func (s *stage) write(ctx context.Context, r role) (string, error) {
	switch {
	case r.api:
		return s.order(ctx, r)
	case r.broken:
		_, err := s.outbox().InsertOne(ctx, r.intent(time.Now()), options.InsertOne().SetBypassDocumentValidation(true))
		return r.id(), err
	}
	session, err := s.db.Client().StartSession()
	if err != nil {
		return "", err
	}
	defer session.EndSession(ctx)
	_, err = session.WithTransaction(ctx, func(ctx context.Context) (any, error) {
		if _, err := s.db.Collection(orders).InsertOne(ctx, bson.D{{Key: "_id", Value: r.id()}, {Key: "state", Value: "new"}}); err != nil {
			return nil, err
		}
		return s.outbox().InsertOne(ctx, r.intent(time.Now()))
	})
	if err == nil && r.cancel {
		err = s.cancelByHand(ctx, r.id())
	}
	return r.id(), err
}

// cancelByHand is the update that the contract gives to anyone.
func (s *stage) cancelByHand(ctx context.Context, id string) error {
	now := time.Now()
	result, err := s.outbox().UpdateOne(ctx, bson.D{{Key: "_id", Value: id}, {Key: "status", Value: "pending"}}, bson.D{
		{Key: "$set", Value: bson.D{{Key: "status", Value: "cancelled"}, {Key: "cancelled_at", Value: now}, {Key: "purge_at", Value: now.Add(7 * 24 * time.Hour)}}},
		{Key: "$unset", Value: bson.D{{Key: "due_at", Value: ""}}},
	})
	if err == nil && result.ModifiedCount != 1 {
		err = fmt.Errorf("cancel %s: it is not pending", id)
	}
	return err
}

// orders is the collection of the story's own business data.
const orders = "orders"

func (s *stage) outbox() *mongo.Collection { return s.db.Collection(collection) }
