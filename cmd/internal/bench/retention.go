package bench

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

const (
	retained     = 500_000         // finished intents whose time comes together: far more than ever in practice
	retainedLoad = time.Minute     // for loading them before their time comes
	deleteWithin = 5 * time.Minute // by when the server has begun to delete them; it looks once a minute by default
)

// errKept is returned where the server deletes nothing, so that there is nothing to measure beside.
var errKept = errors.New("the server does not delete what has expired; is its TTL monitor switched off?")

// retention measures the throughput while the server deletes finished intents as fast as it does, each time right
// after the throughput while it deletes none.
func (r *run) retention(ctx context.Context) error {
	result := &Retention{Finished: retained}
	var rates, shares, deleted []float64
	for range r.rounds {
		none, err := r.besideNone(ctx)
		if err != nil {
			return err
		}
		err = r.within(ctx, func(c *mongo.Collection) error {
			r.say("retention: loading %d finished intents and waiting until the server deletes them", retained)
			at := time.Now().Add(retainedLoad - week)
			if _, err := load(ctx, c, retained, func(_ int, id bson.ObjectID) bson.D { return finished(id, at) }); err != nil {
				return err
			}
			if _, err := loadDue(ctx, c, r.Intents+8*r.Slots); err != nil {
				return err
			}
			before, err := awaitDeletion(ctx, c)
			if err != nil {
				return err
			}
			began := time.Now()
			with, err := r.drive(ctx, c, 1, r.Intents)
			if err != nil {
				return err
			}
			after, err := c.EstimatedDocumentCount(ctx)
			if err == nil && after == before {
				err = errKept
			}
			if err != nil {
				return err
			}
			rates, shares = append(rates, with.rate), append(shares, with.rate/none.rate)
			deleted = append(deleted, float64(before-after)/time.Since(began).Seconds())
			return nil
		})
		if err != nil {
			return err
		}
	}
	result.Rate, result.OfNone, result.Deleted = spread(rates), spread(shares), spread(deleted)
	r.say("retention: while %.0f finished intents a second are deleted: %.0f intents/s, %.2f of while none are", result.Deleted.Median, result.Rate.Median, result.OfNone.Median)
	r.report.Retention = result
	return nil
}

// awaitDeletion returns how many documents there are when the server has begun to delete what has expired. Its own
// counter moves only when a pass is over.
func awaitDeletion(ctx context.Context, c *mongo.Collection) (int64, error) {
	before, err := c.EstimatedDocumentCount(ctx)
	if err != nil {
		return 0, err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(deleteWithin); time.Now().Before(deadline); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		if now, err := c.EstimatedDocumentCount(ctx); err != nil || now < before {
			return now, err
		}
	}
	return 0, errKept
}
