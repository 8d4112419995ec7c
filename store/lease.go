package store

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// lease writes the leases of what is pending, and then of what ran out. The latter is looked for only where the first
// came home with less than was chosen. An error is one that stood after all tries.
func (s *Store) lease(ctx context.Context, q *scanner, t *taking) error {
	pending := append(bson.D{{Key: "status", Value: outbox.StatusPending}}, t.condition...)
	n, err := s.leaseAll(ctx, t, pending, t.token())
	if again := err != nil && ctx.Err() == nil && !outOfTime(err) && !ofDocument(err); again {
		// The driver does not repeat an update of many. What the first one took no longer matches, and what a majority
		// acknowledges the second time includes it.
		t.unsure = true
		n, err = s.leaseAll(ctx, t, pending, t.token())
	}
	if err != nil {
		return s.leaseEach(ctx, t, pending, err)
	}
	if t.unsure || !t.reclaims || n == int64(len(t.ids)) || !q.reclaims(n == 0) {
		return nil
	}
	// What this claim just took is left out, even if that lease has run out by now. It would be a doubt about nothing.
	abandoned := append(bson.D{{Key: "lease.token", Value: expr.Ne(t.tokens[0])}, {Key: "status", Value: outbox.StatusLeased}}, t.condition...)
	if _, err = s.leaseAll(ctx, t, abandoned, t.token()); err != nil {
		return s.leaseEach(ctx, t, abandoned, err)
	}
	return nil
}

// leaseAll leases the candidates that match, and returns how many those were.
func (s *Store) leaseAll(ctx context.Context, t *taking, condition bson.D, token string) (int64, error) {
	ctx, cancel := s.briefly(ctx, len(t.ids))
	defer cancel()
	result, err := s.updateMany(ctx, among(t.ids, condition), leasing(token, t.order), "_id")
	if err != nil {
		return 0, err
	}
	t.matched += result.MatchedCount
	return result.MatchedCount, nil
}

// among matches those of the documents that meet a condition.
func among(ids []bson.RawValue, condition bson.D) bson.D {
	return append(bson.D{{Key: "_id", Value: expr.In(ids)}}, condition...)
}

// leaseEach leases what an update left that failed by one of its documents: one cannot be leased, or somebody else
// holds it, a hand's transaction or a worker that froze in one. Any other error stands.
func (s *Store) leaseEach(ctx context.Context, t *taking, condition bson.D, err error) error {
	t.unsure = true
	if ctx.Err() == nil && ofDocument(err) {
		err = s.takeEach(ctx, t.ids, condition, leasing(t.token(), t.order))
	}
	if err != nil && ctx.Err() == nil && outOfTime(err) {
		err = s.leaseHeld(ctx, t, condition)
	}
	return err
}

// claimSplitFor is how long a claim looks for what somebody holds among its candidates.
const claimSplitFor = time.Second

// leaseHeld leases the candidates piece by piece, each piece in a transaction, and notes what somebody else holds. What
// it has no time for is the next claim's.
func (s *Store) leaseHeld(ctx context.Context, t *taking, condition bson.D) error {
	began, lease := time.Now(), leasing(t.token(), t.order)
	for parts := [][]bson.RawValue{t.ids}; len(parts) > 0; {
		part := parts[len(parts)-1]
		parts = parts[:len(parts)-1]
		if time.Since(began) > claimSplitFor {
			return nil
		}
		n, err := s.leaseWithin(ctx, part, condition, lease)
		t.matched += n
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return err
		case hasCode(err, codeLockTimeout): // the whole collection
			return err
		case contended(err) && len(part) == 1:
			t.held = append(t.held, part...)
		case contended(err):
			middle := len(part) / 2
			parts = append(parts, part[middle:], part[:middle])
		case ofDocument(err):
			if err := s.takeEach(ctx, part, condition, lease); err != nil {
				return err
			}
		default:
			return err
		}
	}
	return nil
}

// leaseWithin leases documents in a transaction of its own, which meets what somebody else holds without waiting.
func (s *Store) leaseWithin(ctx context.Context, ids []bson.RawValue, condition bson.D, lease mongo.Pipeline) (matched int64, err error) {
	err = s.transaction(ctx, func(ctx context.Context) (bool, error) {
		result, err := s.updateMany(ctx, among(ids, condition), lease, "_id")
		if err == nil {
			matched = result.MatchedCount
		}
		return matched > 0, err
	})
	if err != nil {
		return 0, err
	}
	return matched, nil
}

// leasing returns the update that begins an attempt.
func leasing(token string, order outbox.ClaimOrder) mongo.Pipeline {
	attempts := expr.Cond(expr.IsNumber("$attempts"), "$attempts", 0)
	return mongo.Pipeline{expr.Set(bson.D{
		{Key: "lease", Value: leaseOf(token, order.Owner)},
		{Key: "status", Value: outbox.StatusLeased},
		{Key: "due_at", Value: expr.Add("$$NOW", order.Lease.Milliseconds())},
		{Key: "attempts", Value: expr.Add(attempts, 1)},
		{Key: "first_attempt_at", Value: expr.IfNull("$first_attempt_at", "$$NOW")},
		{Key: "first_due_at", Value: expr.IfNull("$first_due_at", firstDue)},
	})}
}

// firstDue is the due_at that the producer wrote, if it still stands there: once an intent was attempted, it is
// another.
var firstDue = expr.Cond(expr.And(expr.Eq("$status", outbox.StatusPending), expr.Missing("$first_attempt_at")), "$due_at", "$$REMOVE")

// leaseOf returns a new lease. Where one stands already its holder may have called: it ran out, or a person made the
// intent pending while it was leased. Without $mergeObjects around it, $set would merge it into what stands there.
func leaseOf(token, owner string) bson.D {
	return expr.MergeObjects(bson.D{
		{Key: "token", Value: token},
		{Key: "owner", Value: expr.Literal(owner)},
		{Key: "at", Value: "$$NOW"},
		{Key: "reclaimed", Value: expr.Or(expr.Eq("$status", outbox.StatusLeased), expr.Present("$lease"))},
	})
}
