package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
)

// Claim takes up to order.Limit intents of a kind that are due, or whose lease ran out, under a new lease. They come in
// the order in which they should run: by priority (0 first), then by due_at. Fewer come where other workers took some. Where
// order.Spread tells of other workers and more waits than one claim takes, it takes one of the first four runs of
// order.Limit intents, all of the first priority that waits: the order is kept within each claim, and between claims but
// for that distance.
//
// A document that breaks the contract comes as well, with its Problems, so that it can be settled.
func (s *Store) Claim(ctx context.Context, order outbox.ClaimOrder) ([]*outbox.Intent, error) {
	doing := fmt.Sprintf("claim intents of kind %q", order.Kind)
	ctx, cancel := s.bound(ctx)
	defer cancel()
	now, err := s.freshNow(ctx)
	if err == nil {
		err = s.adopt(ctx)
	}
	if err != nil {
		return nil, failed(err, "%s", doing)
	}
	ids, err := s.candidates(ctx, order, now)
	if err != nil {
		return nil, failed(err, "%s: find what is due", doing)
	}
	intents, err := s.take(ctx, doing, ids, order, bson.D{
		{Key: "status", Value: bson.D{{Key: "$in", Value: bson.A{outbox.StatusPending, outbox.StatusLeased}}}},
		{Key: "due_at", Value: bson.D{{Key: "$type", Value: "date"}}},
		{Key: "$expr", Value: bson.D{{Key: "$lte", Value: bson.A{"$due_at", "$$NOW"}}}},
	})
	if err == nil && len(intents) < len(ids) {
		s.clearHead(ctx)
	}
	return intents, err
}

// ClaimExpired takes up to order.Limit pending intents whose expires_at has passed, whenever they are due; order.Kind ""
// takes those of every kind. The longest expired come first. Those whose outcome is ambiguous are left to their lane: it
// has to ask the provider about them, at the time that was set for that.
func (s *Store) ClaimExpired(ctx context.Context, order outbox.ClaimOrder) ([]*outbox.Intent, error) {
	const doing = "claim expired intents"
	ctx, cancel := s.bound(ctx)
	defer cancel()
	now, err := s.freshNow(ctx)
	if err != nil {
		return nil, failed(err, doing)
	}
	found, err := read(ctx, s.expired(ctx, order.Kind, now, order.Limit))
	if err != nil {
		return nil, failed(err, "%s: find them", doing)
	}
	ids := make([]bson.RawValue, len(found))
	for i, c := range found {
		ids[i] = c.ID
	}
	return s.take(ctx, doing, ids, order, bson.D{
		{Key: "status", Value: outbox.StatusPending},
		{Key: "ambiguous_at", Value: nil},
		{Key: "expires_at", Value: bson.D{{Key: "$type", Value: "date"}}},
		{Key: "$expr", Value: bson.D{{Key: "$lte", Value: bson.A{"$expires_at", "$$NOW"}}}},
	})
}

func (s *Store) expired(ctx context.Context, kind string, now time.Time, limit int) search {
	filter := bson.D{
		{Key: "expires_at", Value: bson.D{{Key: "$lte", Value: bson.NewDateTimeFromTime(now)}}},
		{Key: "due_at", Value: bson.D{{Key: "$exists", Value: true}}},
		{Key: "status", Value: outbox.StatusPending},
		{Key: "ambiguous_at", Value: nil},
	}
	if kind != "" {
		filter = append(filter, bson.E{Key: "kind", Value: kind})
	}
	cursor, err := s.hints.Find(ctx, filter, options.Find().
		SetHint(indexExpires). // its order is wanted, and not asked for: see withPriority
		SetProjection(bson.D{{Key: "_id", Value: 1}}).
		SetLimit(int64(limit)).SetBatchSize(int32(limit)))
	return search{cursor, err}
}

// take leases those of the candidates that still match the condition and returns them in the candidates' order.
//
// The update cannot be retried by the driver. After an error it, or the part of it that failed, is sent again under the same
// token: what the first one took no longer matches, even if its lease has run out meanwhile, and what a majority acknowledges
// the second time includes it. Whatever comes of that, the read by token tells what is held.
func (s *Store) take(ctx context.Context, doing string, ids []bson.RawValue, order outbox.ClaimOrder, condition bson.D) ([]*outbox.Intent, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	token := rand.Text()
	condition = append(condition, bson.E{Key: "lease.token", Value: bson.D{{Key: "$ne", Value: token}}})
	matched, err := s.leaseAll(ctx, ids, condition, leasing(token, order))
	switch {
	case err != nil && ctx.Err() != nil:
		s.orphans.add(ids, token, order.Lease)
		return nil, failed(err, "%s: take the lease", doing)
	case err == nil && matched == 0:
		return nil, nil // others were quicker
	}
	among := bson.E{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}
	intents, readErr := s.readBack(ctx, bson.D{among, {Key: "lease.token", Value: token}}, ids)
	if readErr != nil {
		s.orphans.add(ids, token, order.Lease)
		return nil, failed(readErr, "%s: read what was claimed", doing)
	}
	if err != nil {
		s.orphans.add(without(ids, intents), token, order.Lease) // it may still come into effect
		if len(intents) == 0 {
			return nil, failed(err, "%s: take the lease", doing)
		}
	}
	return intents, nil
}

// without returns the ids that are of none of the intents.
func without(ids []bson.RawValue, intents []*outbox.Intent) []bson.RawValue {
	held := make(map[string]bool, len(intents))
	for _, in := range intents {
		if t, value, err := bson.MarshalValue(idOf(in)); err == nil { // it was read, so it can be written
			held[keyOf(bson.RawValue{Type: t, Value: value})] = true
		}
	}
	var rest []bson.RawValue
	for _, id := range ids {
		if !held[keyOf(id)] {
			rest = append(rest, id)
		}
	}
	return rest
}

// A claim of many is written by several commands at once: the server works off each by one thread, and a lane waits for it.
const (
	leasePart  = 64 // candidates in one command at least, if there are so many
	leaseParts = 4  // commands at once at most
)

// leaseAll writes the lease to those of the candidates that match, and returns how many those were at least. An error is one
// that stood after the second try.
func (s *Store) leaseAll(ctx context.Context, ids []bson.RawValue, condition bson.D, update mongo.Pipeline) (matched int64, err error) {
	parts := max(1, min(leaseParts, len(ids)/leasePart))
	size := (len(ids) + parts - 1) / parts
	counts, errs := make([]int64, parts), make([]error, parts)
	var all sync.WaitGroup
	part := 0
	for some := range slices.Chunk(ids, size) {
		n := part
		part++
		do := func() { counts[n], errs[n] = s.lease(ctx, some, condition, update) }
		if part == parts {
			do()
		} else {
			all.Go(do)
		}
	}
	all.Wait()
	for _, n := range counts {
		matched += n
	}
	return matched, errors.Join(errs...)
}

// lease writes the lease to one part of the candidates.
func (s *Store) lease(ctx context.Context, ids []bson.RawValue, condition bson.D, update mongo.Pipeline) (int64, error) {
	filter := append(bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}, condition...)
	result, err := s.updateMany(ctx, filter, update, "_id")
	if err == nil {
		return result.MatchedCount, nil
	}
	_, err = s.updateMany(ctx, filter, update, "_id")
	if ofDocument(err) {
		err = s.takeEach(ctx, ids, condition, update)
	}
	return int64(len(ids)), err // how many the first try took is not known
}

// leasing returns the update that begins an attempt.
func leasing(token string, order outbox.ClaimOrder) mongo.Pipeline {
	attempts := bson.D{{Key: "$cond", Value: bson.A{bson.D{{Key: "$isNumber", Value: "$attempts"}}, "$attempts", 0}}}
	return mongo.Pipeline{{{Key: "$set", Value: bson.D{
		{Key: "lease", Value: leaseOf(token, order.Owner)},
		{Key: "status", Value: outbox.StatusLeased},
		{Key: "due_at", Value: bson.D{{Key: "$add", Value: bson.A{"$$NOW", order.Lease.Milliseconds()}}}},
		{Key: "attempts", Value: bson.D{{Key: "$add", Value: bson.A{attempts, 1}}}},
		{Key: "first_attempt_at", Value: bson.D{{Key: "$ifNull", Value: bson.A{"$first_attempt_at", "$$NOW"}}}},
	}}}}
}

// leaseOf returns a new lease. Without $mergeObjects around it, $set would merge it into what stands there.
func leaseOf(token, owner string) bson.D {
	return bson.D{{Key: "$mergeObjects", Value: bson.A{bson.D{
		{Key: "token", Value: token},
		{Key: "owner", Value: literal(owner)},
		{Key: "at", Value: "$$NOW"},
		{Key: "reclaimed", Value: bson.D{{Key: "$eq", Value: bson.A{"$status", outbox.StatusLeased}}}},
	}}}}
}

// literal keeps a value from being read as an expression.
func literal(v any) bson.D { return bson.D{{Key: "$literal", Value: v}} }

// readBack returns the intents that match, in the order of ids.
func (s *Store) readBack(ctx context.Context, filter bson.D, ids []bson.RawValue) ([]*outbox.Intent, error) {
	cursor, err := s.intents.Find(ctx, filter, options.Find().SetHint(bson.D{{Key: "_id", Value: 1}}).
		SetLimit(int64(len(ids))).SetBatchSize(int32(len(ids))))
	if err != nil {
		return nil, err
	}
	defer cursor.Close(context.WithoutCancel(ctx))
	place := make(map[string]int, len(ids))
	for i, id := range ids {
		place[keyOf(id)] = i
	}
	ordered := make([]*outbox.Intent, len(ids))
	for cursor.Next(ctx) {
		doc, err := decode(cursor.Current)
		if err != nil {
			return nil, err
		}
		in := outbox.Parse(doc, s.rules)
		if len(cursor.Current) > maxDocument-room {
			in.Problems = append(in.Problems, roomless)
		}
		if i, ok := place[keyOf(cursor.Current.Lookup("_id"))]; ok {
			ordered[i] = in
		} else { // an _id that the index shows in another form
			ordered = append(ordered, in)
		}
		if !in.Lease.At.IsZero() {
			s.clock.tell(in.Lease.At)
		}
	}
	if err := cursor.Err(); err != nil {
		return nil, err
	}
	intents := ordered[:0]
	for _, in := range ordered {
		if in != nil {
			intents = append(intents, in)
		}
	}
	return intents, nil
}

// keyOf makes an _id usable as the key of a map.
func keyOf(id bson.RawValue) string { return string(rune(id.Type)) + string(id.Value) }
