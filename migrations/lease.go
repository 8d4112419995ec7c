package migrations

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/outboxd/outboxd/internal/timing"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

const (
	leaseID   = "migrate"        // _id of the lease in the meta collection
	leaseTime = 30 * time.Second // how long a dead migrator keeps the others waiting
	pollTime  = 300 * time.Millisecond
)

// lease is the right to change the schema, held by one process at a time. Its instants are the database's.
type lease struct {
	meta         *mongo.Collection
	token, owner string
	time         time.Duration // from each renewal to its end
}

// renewal is the mean time between two renewals, and the longest that one may take. Pauses vary by half.
func (l *lease) renewal() time.Duration { return l.time / 6 }

type leaseDocument struct {
	Token string    `bson:"token"`
	Owner string    `bson:"owner"`
	Until time.Time `bson:"until"`
}

func ownerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%d", host, os.Getpid())
}

// acquire takes the lease, waiting while another process has it.
func acquire(ctx context.Context, meta *mongo.Collection, d time.Duration) (*lease, error) {
	l := &lease{meta: meta, token: rand.Text(), owner: ownerName(), time: d}
	var holder leaseDocument
	for {
		err := l.try(ctx, &holder)
		switch {
		case err == nil && holder.Token == l.token:
			return l, nil
		case err != nil && !mongo.IsDuplicateKeyError(err): // two upserts at once: one of them inserted
			return nil, fmt.Errorf("taking the migration's lease in %s: %w", meta.Name(), err)
		}
		if err := timing.Sleep(ctx, timing.Jitter(pollTime)); err != nil {
			return nil, fmt.Errorf("waiting for the migration that %s runs (its lease ends %s unless renewed): %w", holder.Owner, holder.Until.Format(time.RFC3339), err)
		}
	}
}

// try takes the lease if it is free or over, and reads who has it then.
func (l *lease) try(ctx context.Context, holder *leaseDocument) error {
	free := bson.D{{Key: "$lte", Value: bson.A{bson.D{{Key: "$ifNull", Value: bson.A{"$until", time.Time{}}}}, "$$NOW"}}}
	mine := func(field string, value any) bson.E {
		return bson.E{Key: field, Value: bson.D{{Key: "$cond", Value: bson.A{free, value, "$" + field}}}}
	}
	return l.meta.FindOneAndUpdate(ctx, bson.D{{Key: "_id", Value: leaseID}},
		mongo.Pipeline{{{Key: "$set", Value: bson.D{mine("token", l.token), mine("owner", l.owner), mine("until", l.end())}}}},
		options.FindOneAndUpdate().SetUpsert(true).SetReturnDocument(options.After)).Decode(holder)
}

func (l *lease) end() bson.D {
	return bson.D{{Key: "$add", Value: bson.A{"$$NOW", l.time.Milliseconds()}}}
}

// hold renews the lease until the returned function is called, which also gives it back. The returned context ends,
// with [ErrLeaseLost] as its cause, when the lease could not be renewed in time.
func (l *lease) hold(ctx context.Context) (context.Context, func()) {
	held, cancel := context.WithCancelCause(ctx)
	var renewer sync.WaitGroup
	renewer.Go(func() { l.renew(held, cancel) })
	return held, func() {
		cancel(nil)
		renewer.Wait()
		// The caller may have been cancelled; the others should not have to wait for the lease to end all the same.
		last, done := context.WithTimeout(context.WithoutCancel(ctx), l.renewal())
		defer done()
		_, _ = l.meta.DeleteOne(last, l.mine()) // a lease that cannot be given back ends by itself
	}
}

func (l *lease) mine() bson.D {
	return bson.D{{Key: "_id", Value: leaseID}, {Key: "token", Value: l.token}}
}

func (l *lease) renew(ctx context.Context, cancel context.CancelCauseFunc) {
	renewed := time.Now() // after it was taken: at most one call late, which the half below allows for
	for timing.Sleep(ctx, timing.Jitter(l.renewal())) == nil {
		began := time.Now()
		call, done := context.WithTimeout(ctx, l.renewal())
		res, err := l.meta.UpdateOne(call, l.mine(), mongo.Pipeline{{{Key: "$set", Value: bson.D{{Key: "until", Value: l.end()}}}}})
		done()
		switch {
		case err == nil && res.MatchedCount == 1:
			renewed = began
		case err == nil || time.Since(renewed) > l.time/2:
			cancel(ErrLeaseLost)
			return
		}
	}
}
