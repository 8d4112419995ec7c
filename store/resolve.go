package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/internal/timing"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

const (
	// resolveLease is how long workers leave alone what a person resolves.
	resolveLease = time.Minute
	busyPause    = 100 * time.Millisecond
)

// Resolve writes a person's answer about the dead letter that [Store.Get] returned, as [outbox.Resolve] decided. If the
// document is no longer what was read, nothing is written and the error wraps [ErrChanged].
//
// What was not sent stays a dead letter without the doubt: one update. What was sent is settled like an outcome that a
// worker recorded. One update writes the answer and the outcome under a lease; the transaction after it writes the
// status, the follow-ups and write_back. If that fails, or this process dies, the lease ends and a worker settles it.
func (s *Store) Resolve(ctx context.Context, raw bson.Raw, r outbox.Resolution) (outbox.Settled, error) {
	if r.Again {
		return outbox.Settled{}, nil
	}
	doing := fmt.Sprintf("resolve intent %s", raw.Lookup("_id"))
	who := texts(bson.E{Key: "by", Value: r.By}, bson.E{Key: "why", Value: r.Why})
	set := bson.D{{Key: "resolved", Value: stamped(bson.E{Key: "verdict", Value: r.Verdict()}, append(who, texts(bson.E{Key: "evidence", Value: r.Evidence})...)...)}}
	set = append(set, recording(raw, outbox.WhatResolve, append(who, texts(bson.E{Key: "ref", Value: r.Evidence})...)...)...)
	if r.Outcome == nil {
		set = append(set, bson.E{Key: "dead_reason", Value: r.Reason})
		return outbox.Settled{}, s.byHand(ctx, doing, raw, set, "ambiguous_at", "lease")
	}
	token := rand.Text()
	set = append(set,
		bson.E{Key: "status", Value: outbox.StatusLeased},
		bson.E{Key: "due_at", Value: expr.Add("$$NOW", resolveLease.Milliseconds())},
		bson.E{Key: "lease", Value: leaseOf(token, r.By)},
		bson.E{Key: "outcome", Value: stamped(bson.E{Key: "event", Value: r.Outcome.Event.String()},
			bson.E{Key: "class", Value: r.Outcome.Class}, bson.E{Key: "attempts", Value: r.Outcome.Attempts}, bson.E{Key: "tries", Value: 0},
			bson.E{Key: "receipt", Value: append(bson.D{{Key: "provider", Value: r.Outcome.Receipt.Provider}}, texts(bson.E{Key: "id", Value: r.Outcome.Receipt.ID})...)})})
	if err := s.byHand(ctx, doing, raw, set); err != nil {
		return outbox.Settled{}, err
	}
	settled, err := s.settleResolved(ctx, raw.Lookup("_id"), token)
	if err != nil {
		return outbox.Settled{}, fmt.Errorf("%s: the answer is recorded, and a worker settles the intent within minutes: %w", doing, err)
	}
	return settled, nil
}

// settleResolved settles what Resolve has just recorded.
func (s *Store) settleResolved(ctx context.Context, id bson.RawValue, token string) (outbox.Settled, error) {
	ctx, cancel := context.WithTimeout(ctx, min(s.operation, resolveLease/2))
	defer cancel()
	raw, err := s.intents.FindOne(ctx, bson.D{{Key: "_id", Value: equal(id)}, {Key: "lease.token", Value: token}}).Raw()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return outbox.Settled{}, outbox.ErrLeaseLost
	}
	if err != nil {
		return outbox.Settled{}, failed(err, "read it back")
	}
	in, err := s.intent(raw)
	if err != nil {
		return outbox.Settled{}, err
	}
	settlement := outbox.Settlement{Intent: in, Decision: outbox.Decide(in, outbox.Verdict{Event: outbox.Recorded}, outbox.Policy{}, s.Now())}
	for {
		answers, err := s.Settle(ctx, []outbox.Settlement{settlement})
		switch {
		case err != nil:
			return outbox.Settled{}, err
		case answers[0].Lost:
			return outbox.Settled{}, outbox.ErrLeaseLost
		case answers[0].Busy == "":
			return answers[0], nil
		}
		if timing.Sleep(ctx, busyPause) != nil {
			return answers[0], nil
		}
	}
}
