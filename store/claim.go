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
// order.Spread tells of other workers and more waits than one claim takes, it takes one of the first few runs of
// order.Limit intents, eight at most, all of the first priority that waits: the order is kept within each claim, and between
// claims but for that distance.
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
// The update cannot be retried by the driver. After an error it, or the part of it that failed, is sent again: what the first
// one took no longer matches, and what a majority acknowledges the second time includes it. Each has a token of its own, for
// the first may come into effect long after the second, when what that took is settled: from a server that hung, say. Whatever
// comes of them, the read by token tells what is held, and what shows later is given back.
func (s *Store) take(ctx context.Context, doing string, ids []bson.RawValue, order outbox.ClaimOrder, condition bson.D) ([]*outbox.Intent, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	first, second := rand.Text(), rand.Text()
	matched, again, err := s.leaseAll(ctx, ids, condition, order, first, second)
	forget := func(held []*outbox.Intent) {
		s.orphans.add(without(ids, held, first), first, order.Lease)
		if again {
			s.orphans.add(without(ids, held, second), second, order.Lease)
		}
	}
	switch {
	case err != nil && ctx.Err() != nil:
		forget(nil)
		return nil, failed(err, "%s: take the lease", doing)
	case err == nil && matched == 0:
		return nil, nil // others were quicker
	}
	tokens := bson.A{first}
	if again {
		tokens = append(tokens, second)
	}
	intents, readErr := s.readBack(ctx, bson.D{
		{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}},
		{Key: "lease.token", Value: bson.D{{Key: "$in", Value: tokens}}},
	}, ids)
	if readErr != nil {
		forget(nil)
		return nil, failed(readErr, "%s: read what was claimed", doing)
	}
	if again {
		forget(intents)
	}
	if err != nil && len(intents) == 0 {
		return nil, failed(err, "%s: take the lease", doing)
	}
	return intents, nil
}

// without returns the ids that are of none of the intents held under the token.
func without(ids []bson.RawValue, intents []*outbox.Intent, token string) []bson.RawValue {
	held := make(map[string]bool, len(intents))
	for _, in := range intents {
		if in.Lease.Token != token {
			continue
		}
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

// leaseAll writes the lease to those of the candidates that match, and returns how many those were at least, and whether any
// of it was tried again, under the second token. An error is one that stood after that.
func (s *Store) leaseAll(ctx context.Context, ids []bson.RawValue, condition bson.D, order outbox.ClaimOrder, first, second string) (matched int64, again bool, err error) {
	parts := max(1, min(leaseParts, len(ids)/leasePart))
	size := (len(ids) + parts - 1) / parts
	counts, repeated, errs := make([]int64, parts), make([]bool, parts), make([]error, parts)
	var all sync.WaitGroup
	part := 0
	for some := range slices.Chunk(ids, size) {
		n := part
		part++
		do := func() { counts[n], repeated[n], errs[n] = s.lease(ctx, some, condition, order, first, second) }
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
	return matched, slices.Contains(repeated, true), errors.Join(errs...)
}

// lease writes the lease to one part of the candidates.
func (s *Store) lease(ctx context.Context, ids []bson.RawValue, condition bson.D, order outbox.ClaimOrder, first, second string) (matched int64, again bool, err error) {
	among := bson.E{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}
	result, err := s.updateMany(ctx, append(bson.D{among}, condition...), leasing(first, order), "_id")
	if err == nil {
		return result.MatchedCount, false, nil
	}
	// Not what the first one took, even if its lease has run out by now: that would be a doubt about nothing.
	condition = append(bson.D{{Key: "lease.token", Value: bson.D{{Key: "$ne", Value: first}}}}, condition...)
	_, err = s.updateMany(ctx, append(bson.D{among}, condition...), leasing(second, order), "_id")
	if ofDocument(err) {
		err = s.takeEach(ctx, ids, condition, leasing(second, order))
	}
	return int64(len(ids)), true, err // how many the first try took is not known
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
