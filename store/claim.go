package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
)

// Claim takes up to order.Limit intents of a kind that are due, or whose lease ran out, under a new lease. They come in
// the order in which they should run: by priority (0 first), then by due_at. Fewer come where other workers took some. Where
// order.Spread tells of other workers and more waits than one claim takes, it takes one of the first few runs of
// order.Limit intents, sixteen at most, all of the first priority that waits: the order is kept within each claim, and between
// claims but for that distance. Those that order.Only names are taken without a search, a single one in one round trip.
//
// A document that breaks the contract comes as well, with its Problems, so that it can be settled.
func (s *Store) Claim(ctx context.Context, order outbox.ClaimOrder) ([]*outbox.Intent, error) {
	doing := fmt.Sprintf("claim intents of kind %q", order.Kind)
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if err := s.adopt(ctx); err != nil {
		return nil, failed(err, "%s", doing)
	}
	due := bson.D{
		{Key: "due_at", Value: bson.D{{Key: "$type", Value: "date"}}},
		{Key: "$expr", Value: bson.D{{Key: "$lte", Value: bson.A{"$due_at", "$$NOW"}}}},
	}
	if order.Only != nil {
		return s.takeNamed(ctx, doing, order, append(bson.D{{Key: "kind", Value: order.Kind}}, due...))
	}
	now, err := s.freshNow(ctx)
	if err != nil {
		return nil, failed(err, "%s", doing)
	}
	ids, chosen, err := s.candidates(ctx, order, now)
	defer chosen()
	if err != nil {
		return nil, failed(err, "%s: find what is due", doing)
	}
	intents, err := s.take(ctx, doing, ids, order, due, true)
	if err == nil && len(intents) < len(ids) {
		s.clearHead(ctx)
	}
	return intents, err
}

// takeNamed leases those of the named intents that are pending and match the condition.
func (s *Store) takeNamed(ctx context.Context, doing string, order outbox.ClaimOrder, condition bson.D) ([]*outbox.Intent, error) {
	ids := make([]bson.RawValue, 0, len(order.Only))
	for _, id := range order.Only[:min(len(order.Only), order.Limit)] {
		raw, err := rawOf(encode(id))
		if err != nil {
			return nil, failed(err, "%s", doing)
		}
		ids = append(ids, raw)
	}
	if len(ids) == 1 {
		return s.takeOne(ctx, doing, ids[0], order, append(bson.D{{Key: "status", Value: outbox.StatusPending}}, condition...))
	}
	return s.take(ctx, doing, ids, order, condition, false)
}

// takeOne leases one intent if it matches the condition, and reads it, by one command. The driver repeats that once, and the
// server carries it out once. After an error that stood, what it may hold is given back as after any claim.
func (s *Store) takeOne(ctx context.Context, doing string, id bson.RawValue, order outbox.ClaimOrder, condition bson.D) ([]*outbox.Intent, error) {
	token := rand.Text()
	var raw bson.Raw
	err := s.bypassing(ctx, func(bypass bool) (err error) {
		raw, err = s.intents.FindOneAndUpdate(ctx, append(bson.D{{Key: "_id", Value: id}}, condition...), leasing(token, order),
			options.FindOneAndUpdate().SetReturnDocument(options.After).SetHint(bson.D{{Key: "_id", Value: 1}}).SetBypassDocumentValidation(bypass)).Raw()
		return err
	})
	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		return nil, nil // another was quicker
	case err != nil:
		s.orphans.add([]bson.RawValue{id}, token, order.Lease+s.operation)
		return nil, failed(err, "%s: take the lease", doing)
	}
	in, err := s.intent(raw)
	if err != nil {
		s.orphans.add([]bson.RawValue{id}, token, order.Lease+s.operation)
		return nil, failed(err, "%s: read what was claimed", doing)
	}
	return []*outbox.Intent{in}, nil
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
	return s.take(ctx, doing, idsAt(found), order, bson.D{
		{Key: "ambiguous_at", Value: nil},
		{Key: "expires_at", Value: bson.D{{Key: "$type", Value: "date"}}},
		{Key: "$expr", Value: bson.D{{Key: "$lte", Value: bson.A{"$expires_at", "$$NOW"}}}},
	}, false)
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
		SetHint(indexExpires). // its order is wanted, and not asked for: see withPriorities
		SetProjection(bson.D{{Key: "_id", Value: 1}}).
		SetLimit(int64(limit)).SetBatchSize(int32(limit)))
	return search{cursor, err}
}

// take leases those of the candidates that still match the condition and returns them in the candidates' order; leased says
// that those whose lease ran out may be among them.
//
// The update cannot be retried by the driver. After an error it is sent again: what the first one took no longer matches, and
// what a majority acknowledges the second time includes it. Each has a token of its own, for the first may come into effect
// long after the second, when what that took is settled: from a server that hung, say. Whatever comes of them, the read by
// token tells what is held, and what shows later is given back.
func (s *Store) take(ctx context.Context, doing string, ids []bson.RawValue, order outbox.ClaimOrder, condition bson.D, leased bool) ([]*outbox.Intent, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	first, second := rand.Text(), rand.Text()
	matched, again, err := s.lease(ctx, ids, append(bson.D{{Key: "status", Value: outbox.StatusPending}}, condition...), order, first, second)
	tokens, stuck := []string{first}, false
	if again {
		tokens = append(tokens, second)
	} else if leased && matched < int64(len(ids)) && s.fronts.of(order.Kind).reclaims(matched == 0) {
		var more int64
		more, err = s.reclaim(ctx, ids, append(bson.D{{Key: "status", Value: outbox.StatusLeased}}, condition...), order, first, second)
		tokens = append(tokens, second)
		matched += more
		stuck = err != nil
	}
	forget := func(held []*outbox.Intent) {
		for _, token := range tokens {
			s.orphans.add(notHeld(ids, held, token), token, order.Lease+s.operation)
		}
	}
	switch {
	case err != nil && ctx.Err() != nil:
		forget(nil)
		return nil, failed(err, "%s: take the lease", doing)
	case err == nil && matched == 0:
		return nil, nil // others were quicker
	}
	intents, readErr := s.readBack(ctx, bson.D{
		{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}},
		{Key: "lease.token", Value: bson.D{{Key: "$in", Value: tokens}}},
	}, ids)
	if readErr != nil {
		forget(nil)
		return nil, failed(readErr, "%s: read what was claimed", doing)
	}
	if again || stuck { // more may come into effect than was read
		forget(intents)
	}
	if stuck { // the rest is as it should be
		s.fronts.of(order.Kind).shun(lacking(ids, intents))
		return intents, nil
	}
	if err != nil && len(intents) == 0 {
		return nil, failed(err, "%s: take the lease", doing)
	}
	return intents, nil
}

// reclaimFor bounds the command that takes over leases that ran out.
const reclaimFor = time.Second

// reclaim writes the lease to those candidates whose lease ran out. It is a command of its own, and a short one, because they
// may be locked: a worker that froze or lost its connection in the middle of a transaction leaves its documents locked until
// the server ends that transaction, after a minute by default, and an update that meets one waits so long, with everything
// that it has already leased. It has a token of its own for the reason that a second try has one.
func (s *Store) reclaim(ctx context.Context, ids []bson.RawValue, condition bson.D, order outbox.ClaimOrder, first, token string) (matched int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, reclaimFor)
	defer cancel()
	condition = append(bson.D{{Key: "lease.token", Value: bson.D{{Key: "$ne", Value: first}}}}, condition...)
	result, err := s.updateMany(ctx, append(bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}, condition...), leasing(token, order), "_id")
	if ofDocument(err) {
		return int64(len(ids)), s.takeEach(ctx, ids, condition, leasing(token, order))
	}
	if err != nil {
		return 0, err
	}
	return result.MatchedCount, nil
}

// notHeld returns the ids that are of none of the intents held under the token.
func notHeld(ids []bson.RawValue, intents []*outbox.Intent, token string) []bson.RawValue {
	return lacking(ids, slices.DeleteFunc(slices.Clone(intents), func(in *outbox.Intent) bool { return in.Lease.Token != token }))
}

// lacking returns the ids that are of none of the intents.
func lacking(ids []bson.RawValue, intents []*outbox.Intent) []bson.RawValue {
	held := make(map[string]bool, len(intents))
	for _, in := range intents {
		if raw, err := rawOf(idOf(in)); err == nil { // it was read, so it can be written
			held[keyOf(raw)] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id bson.RawValue) bool { return held[keyOf(id)] })
}

// lease writes the lease to those of the candidates that match, and returns how many those were at least, and whether it was
// tried again, under the second token. An error is one that stood after that.
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
		in, err := s.intent(cursor.Current)
		if err != nil {
			return nil, err
		}
		if i, ok := place[keyOf(cursor.Current.Lookup("_id"))]; ok {
			ordered[i] = in
		} else { // an _id that the index shows in another form
			ordered = append(ordered, in)
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

// intent reads a claimed intent, which tells the database's time as well.
func (s *Store) intent(raw bson.Raw) (*outbox.Intent, error) {
	doc, err := decode(raw)
	if err != nil {
		return nil, err
	}
	in := outbox.Parse(doc, s.rules)
	if len(raw) > maxDocument-room {
		in.Problems = append(in.Problems, roomless)
	}
	if !in.Lease.At.IsZero() {
		s.clock.atLeast(in.Lease.At)
	}
	return in, nil
}

// rawOf returns a value as the driver writes it.
func rawOf(v any) (bson.RawValue, error) {
	t, value, err := bson.MarshalValue(v)
	return bson.RawValue{Type: t, Value: value}, err
}

// keyOf makes an _id usable as the key of a map.
func keyOf(id bson.RawValue) string { return string(rune(id.Type)) + string(id.Value) }
