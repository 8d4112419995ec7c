package store

import (
	"context"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
)

// orphan is a claim that may have been made although nobody was told: its update or the read after it failed. What it
// holds was never sent. If its lease just ran out, the next worker would have to take it for ambiguous.
type orphan struct {
	ids   []bson.RawValue
	token string
	ends  time.Time // the lease's end at the latest, by the local clock
}

// mostOrphans bounds what is remembered while the database is away; a lane without it claims every few seconds.
const mostOrphans = 1000

// orphans are claims to be given back. It is safe for concurrent use.
type orphans struct {
	mu   sync.Mutex
	list []orphan
}

func (o *orphans) add(ids []bson.RawValue, token string, lease time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.list) < mostOrphans {
		o.list = append(o.list, orphan{ids, token, time.Now().Add(lease)})
	}
}

// take returns all orphans whose lease may still run, and forgets them.
func (o *orphans) take() []orphan {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.list
	o.list = nil
	now := time.Now()
	running := list[:0]
	for _, each := range list {
		if now.Before(each.ends) {
			running = append(running, each)
		}
	}
	return running
}

// adopt gives back what earlier claims hold without anybody knowing, unsent and without an attempt. What cannot be given
// back now is remembered for the next claim.
func (s *Store) adopt(ctx context.Context) error {
	var failure error
	for _, each := range s.orphans.take() {
		if failure == nil {
			failure = s.giveBack(ctx, each)
		}
		if failure != nil {
			s.orphans.add(each.ids, each.token, time.Until(each.ends))
		}
	}
	return failed(failure, "give back what an earlier claim holds")
}

func (s *Store) giveBack(ctx context.Context, each orphan) error {
	held, err := s.readBack(ctx, bson.D{
		{Key: "_id", Value: bson.D{{Key: "$in", Value: each.ids}}},
		{Key: "lease.token", Value: each.token},
	}, each.ids)
	if err != nil || len(held) == 0 {
		return err
	}
	// The policy matters only for how many attempts there may be, of which this is none.
	unlimited := outbox.Policy{Retry: outbox.RetryPolicy{MaxAttempts: 100}}
	batch := make([]outbox.Settlement, len(held))
	for i, in := range held {
		batch[i] = outbox.Settlement{Intent: in, Decision: outbox.Decide(in, outbox.Verdict{Event: outbox.Unsent}, unlimited, s.Now())}
	}
	_, err = s.Settle(ctx, batch)
	return err
}
