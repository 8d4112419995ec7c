package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// Claim takes up to order.Limit intents of a kind that are due, or whose lease ran out, under a new lease. They come in
// the order in which they should run: by priority (0 first), then by due_at. Fewer come where other workers took some.
// Where order.Spread tells of other workers and more waits than one claim takes, it takes one of the first few runs of
// order.Limit intents, sixteen at most, all of the first priority that waits: the order is kept within each claim, and
// between claims but for that distance. Those that order.Only names are taken without a search, a single one in one
// round trip.
//
// A document that breaks the contract comes as well, with its Problems, so that it can be settled.
func (s *Store) Claim(ctx context.Context, order outbox.ClaimOrder) ([]*outbox.Intent, error) {
	doing := fmt.Sprintf("claim intents of kind %q", order.Kind)
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if err := s.adopt(ctx); err != nil {
		return nil, failed(err, "%s", doing)
	}
	q := s.scanners.of(order.Kind)
	if order.Only != nil {
		return s.claimNamed(ctx, doing, q, order)
	}
	now, err := s.freshNow(ctx)
	if err != nil {
		return nil, failed(err, "%s", doing)
	}
	claim := q.enter(searchOf(order))
	defer q.leave(claim)
	if err := s.search(ctx, q, claim, order.Kind, now); err != nil {
		return nil, failed(err, "%s: find what is due", doing)
	}
	t := taking{ids: q.choose(claim), order: order, condition: due("due_at"), reclaims: true}
	intents, err := s.take(ctx, doing, q, &t)
	if err == nil && len(intents) < len(t.ids) {
		s.clearHead(ctx)
	}
	return intents, err
}

// due matches what has the date in the field behind it, by the database's clock.
func due(field string) bson.D {
	return bson.D{{Key: field, Value: expr.Type("date")}, expr.Expr(expr.Lte("$"+field, "$$NOW"))}
}

// taking is a claim that has chosen, on its way to its leases.
type taking struct {
	ids       []bson.RawValue
	order     outbox.ClaimOrder
	condition bson.D // what is taken, beside the status
	reclaims  bool   // leases that ran out may be among the candidates

	tokens  []string        // that were used
	matched int64           // at least so many were taken
	unsure  bool            // more may have been taken
	held    []bson.RawValue // what somebody else holds
}

// token returns a new token, under which the claim may hold something from now on. Each command that leases has its
// own. One may come into effect long after the next, when what that took is settled: from a server that hung, say.
func (t *taking) token() string {
	token := rand.Text()
	t.tokens = append(t.tokens, token)
	return token
}

// take leases those of the candidates that still match the condition and returns them in the candidates' order.
// Whatever becomes of the commands, the read by token tells what is held, and what shows later is given back.
func (s *Store) take(ctx context.Context, doing string, q *scanner, t *taking) ([]*outbox.Intent, error) {
	if len(t.ids) == 0 {
		return nil, nil
	}
	leaseErr := s.lease(ctx, q, t)
	if leaseErr == nil && !t.unsure && t.matched == 0 {
		return nil, nil // others were quicker
	}
	intents, whole, readErr := s.readBack(ctx, bson.D{
		{Key: "_id", Value: expr.In(t.ids)},
		{Key: "lease.token", Value: expr.In(t.tokens)},
	}, t.ids, nil, mostClaimed)
	if t.unsure || !whole { // more may come into effect than was read, or is held already
		s.orphan(t, intents)
	}
	q.shun(t.held)
	switch {
	case leaseErr != nil && len(intents) == 0:
		return nil, failed(leaseErr, "%s: take the lease", doing)
	case readErr != nil:
		return nil, failed(readErr, "%s: read what was claimed", doing)
	}
	q.read(len(intents), whole)
	if !whole {
		_ = s.adopt(ctx) // what fails now is tried again with the next claim
	}
	return intents, nil
}

// claimNamed takes those of the named intents that are of the kind, pending and due.
func (s *Store) claimNamed(ctx context.Context, doing string, q *scanner, order outbox.ClaimOrder) ([]*outbox.Intent, error) {
	ids := make([]bson.RawValue, min(len(order.Only), order.Limit))
	for i := range ids {
		ids[i] = rawID(order.Only[i])
	}
	condition := append(bson.D{{Key: "kind", Value: order.Kind}}, due("due_at")...)
	if len(ids) == 1 {
		return s.takeOne(ctx, doing, q, ids[0], order, condition)
	}
	return s.take(ctx, doing, q, &taking{ids: ids, order: order, condition: condition})
}

// takeOne leases one intent if it is pending and matches the condition, and reads it, by one command. The driver
// repeats that, and the server carries it out once. What somebody else holds is left alone for a while. After an error
// that stood, what it may hold is given back as after any claim.
func (s *Store) takeOne(ctx context.Context, doing string, q *scanner, id bson.RawValue, order outbox.ClaimOrder, condition bson.D) ([]*outbox.Intent, error) {
	token := rand.Text()
	filter := append(bson.D{{Key: "_id", Value: id}, {Key: "status", Value: outbox.StatusPending}}, condition...)
	var raw bson.Raw
	short, cancel := s.briefly(ctx, 1)
	defer cancel()
	err := s.bypassing(short, func(bypass bool) (err error) {
		raw, err = s.intents.FindOneAndUpdate(short, filter, leasing(token, order),
			options.FindOneAndUpdate().SetReturnDocument(options.After).SetHint(expr.Fields("_id")).SetBypassDocumentValidation(bypass)).Raw()
		return err
	})
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, nil // another was quicker
	}
	var in *outbox.Intent
	held := err != nil && ctx.Err() == nil && outOfTime(err)
	if err == nil {
		in, err = s.intent(raw)
	}
	switch {
	case err == nil:
		return []*outbox.Intent{in}, nil
	case held:
		q.shun([]bson.RawValue{id})
		err = nil
	}
	s.orphans.add([]bson.RawValue{id}, token, order.Lease+s.operation)
	return nil, failed(err, "%s: take the lease", doing)
}
