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
	"github.com/outboxd/outboxd/store/internal/expr"
	"github.com/outboxd/outboxd/store/internal/scan"
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
	due := bson.D{
		{Key: "due_at", Value: expr.Type("date")},
		expr.Expr(expr.Lte("$due_at", "$$NOW")),
	}
	if order.Only != nil {
		return s.takeNamed(ctx, doing, order, append(bson.D{{Key: "kind", Value: order.Kind}}, due...))
	}
	now, err := s.freshNow(ctx)
	if err != nil {
		return nil, failed(err, "%s", doing)
	}
	search, err := searchOf(order)
	if err != nil {
		return nil, failed(err, "%s", doing)
	}
	q := s.scanners.of(order.Kind)
	claim := q.enter(search)
	defer q.leave(claim)
	if err := s.search(ctx, q, claim, order.Kind, now); err != nil {
		return nil, failed(err, "%s: find what is due", doing)
	}
	ids := q.choose(claim)
	intents, err := s.take(ctx, doing, ids, order, due, order.Kind)
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
	return s.take(ctx, doing, ids, order, condition, order.Kind)
}

// takeOne leases one intent if it matches the condition, and reads it, by one command. The driver repeats that, and the
// server carries it out once. What somebody else holds is left alone for a while. After an error that stood, what it
// may hold is given back as after any claim.
func (s *Store) takeOne(ctx context.Context, doing string, id bson.RawValue, order outbox.ClaimOrder, condition bson.D) ([]*outbox.Intent, error) {
	token := rand.Text()
	var raw bson.Raw
	short, cancel := s.briefly(ctx, 1)
	defer cancel()
	err := s.bypassing(short, func(bypass bool) (err error) {
		raw, err = s.intents.FindOneAndUpdate(short, append(bson.D{{Key: "_id", Value: id}}, condition...), leasing(token, order),
			options.FindOneAndUpdate().SetReturnDocument(options.After).SetHint(expr.Fields("_id")).SetBypassDocumentValidation(bypass)).Raw()
		return err
	})
	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		return nil, nil // another was quicker
	case err != nil && ctx.Err() == nil && outOfTime(err):
		s.orphans.add([]bson.RawValue{id}, token, order.Lease+s.operation)
		s.scanners.of(order.Kind).shun([]bson.RawValue{id})
		return nil, nil
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

// ClaimToSettle takes up to order.Limit intents that need no call to a provider, whatever their lane is doing:
// order.Kind "" takes those of every kind. The outcomes that are recorded and due come first, then what has expired,
// the longest expired first.
//
// What expired is taken while it is pending, whenever it is due, and when its lease ran out, as far as order.Doubts
// says that this can be decided without asking the provider. Where the provider has to be asked it is left to its lane.
func (s *Store) ClaimToSettle(ctx context.Context, order outbox.ClaimOrder) ([]*outbox.Intent, error) {
	const doing = "claim what needs no call"
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if err := s.adopt(ctx); err != nil {
		return nil, failed(err, doing)
	}
	now, err := s.freshNow(ctx)
	if err != nil {
		return nil, failed(err, doing)
	}
	var claimed []*outbox.Intent
	for _, search := range []func(context.Context, outbox.ClaimOrder, time.Time) ([]*outbox.Intent, error){s.claimRecorded, s.claimExpired} {
		if order.Limit <= len(claimed) {
			break
		}
		part := order
		part.Limit = order.Limit - len(claimed)
		more, err := search(ctx, part, now)
		if claimed = append(claimed, more...); err != nil && len(claimed) == 0 {
			return nil, err
		}
	}
	return claimed, nil
}

// claimRecorded takes intents whose recorded outcome is due to be written, and those that were claimed for that and
// whose lease ran out.
func (s *Store) claimRecorded(ctx context.Context, order outbox.ClaimOrder, now time.Time) ([]*outbox.Intent, error) {
	const doing = "claim recorded outcomes"
	q := s.scanners.of(settling)
	claim := q.enter(scan.Order{Limit: order.Limit})
	defer q.leave(claim)
	cursor, err := s.recorded(ctx, order.Kind, now, claim.Reads())
	if claim.Found, err = read(ctx, cursor, err); err != nil {
		return nil, failed(err, "%s: find them", doing)
	}
	return s.take(ctx, doing, q.choose(claim), order, bson.D{
		{Key: "outcome", Value: expr.Type("object")},
		{Key: "due_at", Value: expr.Type("date")},
		expr.Expr(expr.Lte("$due_at", "$$NOW")),
	}, settling)
}

func (s *Store) recorded(ctx context.Context, kind string, now time.Time, limit int) (*mongo.Cursor, error) {
	filter := bson.D{}
	if kind != "" {
		filter = bson.D{{Key: "kind", Value: kind}}
	}
	bounds := func(due, rest any) bson.D {
		return bson.D{{Key: "due_at", Value: due}, {Key: "kind", Value: rest}, {Key: "outcome.at", Value: rest}, {Key: "_id", Value: rest}}
	}
	return s.hints.Find(ctx, filter, options.Find().
		SetMin(bounds(earliest, bson.MinKey{})).SetMax(bounds(bson.NewDateTimeFromTime(now), bson.MaxKey{})).
		SetHint(indexRecorded).
		SetProjection(expr.Fields("_id")).
		SetLimit(int64(limit)).SetBatchSize(int32(limit)))
}

// settling is the queue of what needs no call. It is no kind of an intent.
const settling = ""

// claimExpired takes intents whose expires_at has passed and about which nothing has to be asked.
func (s *Store) claimExpired(ctx context.Context, order outbox.ClaimOrder, now time.Time) ([]*outbox.Intent, error) {
	const doing = "claim expired intents"
	q := s.scanners.of(settling)
	claim := q.enter(scan.Order{Limit: order.Limit})
	defer q.leave(claim)
	cursor, err := s.expired(ctx, order, now, claim.Reads())
	if claim.Found, err = read(ctx, cursor, err); err != nil {
		return nil, failed(err, "%s: find them", doing)
	}
	return s.take(ctx, doing, q.choose(claim), order, append(bson.D{
		{Key: "expires_at", Value: expr.Type("date")},
		expr.Expr(expr.Lte("$expires_at", "$$NOW")),
	}, undoubted(order, "$$NOW")...), settling)
}

// undoubted matches the expired intents about which nothing has to be asked: those of which nobody doubts what became
// of them, and those whose doubt is decided without the provider. now is the database's time, as an expression.
func undoubted(order outbox.ClaimOrder, now any) bson.D {
	var doubts, decided bson.A
	for kind, policy := range order.Doubts {
		if doubts = append(doubts, kind); policy != outbox.Reconcile {
			decided = append(decided, kind)
		}
	}
	free := bson.D{{Key: "status", Value: outbox.StatusPending}, {Key: "lease", Value: nil}}
	if len(doubts) == 0 {
		return append(bson.D{{Key: "ambiguous_at", Value: nil}}, free...)
	}
	policy := bson.A{bson.D{{Key: "on_ambiguous", Value: expr.In(bson.A{outbox.Park, outbox.Retry})}}}
	if len(decided) > 0 {
		policy = append(policy, bson.D{{Key: "on_ambiguous", Value: nil}, {Key: "kind", Value: expr.In(decided)}})
	}
	return bson.D{{Key: "ambiguous_at", Value: nil}, {Key: "$or", Value: bson.A{
		free,
		bson.D{
			{Key: "kind", Value: expr.In(doubts)},
			{Key: "$or", Value: policy},
			{Key: "$or", Value: bson.A{
				bson.D{{Key: "status", Value: outbox.StatusPending}},
				bson.D{{Key: "status", Value: outbox.StatusLeased}, expr.Expr(expr.Lte("$due_at", now))},
			}},
		},
	}}}
}

func (s *Store) expired(ctx context.Context, order outbox.ClaimOrder, now time.Time, limit int) (*mongo.Cursor, error) {
	filter := append(bson.D{
		{Key: "expires_at", Value: expr.Lte(bson.NewDateTimeFromTime(now))},
		{Key: "due_at", Value: expr.Exists(true)},
	}, undoubted(order, bson.NewDateTimeFromTime(now))...)
	if order.Kind != "" {
		filter = append(filter, bson.E{Key: "kind", Value: order.Kind})
	}
	return s.hints.Find(ctx, filter, options.Find().
		SetHint(indexExpires). // its order is wanted, and not asked for: see findRange
		SetProjection(expr.Fields("_id")).
		SetLimit(int64(limit)).SetBatchSize(int32(limit)))
}

// take leases those of the candidates that still match the condition and returns them in the candidates' order. queue
// is whose front is told of what could not be taken; "" is what needs no call.
//
// What was pending and what was leased take one command each: the leases that ran out are looked for only where the
// first came home with less than was chosen. The update cannot be retried by the driver. After an error it is sent
// again: what the first one took no longer matches, and what a majority acknowledges the second time includes it. Each
// has a token of its own, for the first may come into effect long after the second, when what that took is settled:
// from a server that hung, say. Whatever comes of them, the read by token tells what is held, and what shows later is
// given back.
//
// A document that somebody else holds, a hand's transaction or a worker that froze in one, makes an update wait. So
// updates are short, and what they missed is taken piece by piece by transactions, to which the server says at once
// that something is held. That is left alone for a while.
func (s *Store) take(ctx context.Context, doing string, ids []bson.RawValue, order outbox.ClaimOrder, condition bson.D, queue string) ([]*outbox.Intent, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	t := &taking{ids: ids, order: order, first: rand.Text(), second: rand.Text(), reclaims: order.Only == nil}
	t.pending = append(bson.D{{Key: "status", Value: outbox.StatusPending}}, condition...)
	t.leased = append(bson.D{{Key: "status", Value: outbox.StatusLeased}}, condition...)
	q := s.scanners.of(queue)
	err := s.lease(ctx, t, q)
	tokens := bson.A{t.first}
	if t.again {
		tokens = append(tokens, t.second)
	}
	forget := func(held []*outbox.Intent) {
		for _, token := range tokens {
			s.orphans.add(notHeld(ids, held, token.(string)), token.(string), order.Lease+s.operation)
		}
	}
	switch {
	case err != nil && ctx.Err() != nil:
		forget(nil)
		return nil, failed(err, "%s: take the lease", doing)
	case err == nil && !t.unsure && t.matched == 0:
		return nil, nil // others were quicker
	}
	intents, whole, readErr := s.readBack(ctx, bson.D{
		{Key: "_id", Value: expr.In(ids)},
		{Key: "lease.token", Value: expr.In(tokens)},
	}, ids, nil, mostClaimed)
	if readErr != nil {
		forget(nil)
		return nil, failed(readErr, "%s: read what was claimed", doing)
	}
	q.read(len(intents), whole)
	if t.unsure || !whole { // more may come into effect than was read, or is held already
		forget(intents)
	}
	if !whole {
		_ = s.adopt(ctx) // what fails now is tried again with the next claim
	}
	q.shun(t.held)
	if err != nil && len(intents) == 0 {
		return nil, failed(err, "%s: take the lease", doing)
	}
	return intents, nil
}

// taking is a claim under way.
type taking struct {
	ids             []bson.RawValue
	order           outbox.ClaimOrder
	pending, leased bson.D // what is taken
	first, second   string // tokens
	reclaims        bool   // leases that ran out may be among the candidates

	matched int64           // at least so many were taken
	again   bool            // the second token was used
	unsure  bool            // more may have been taken
	held    []bson.RawValue // what somebody else holds
}

// lease writes the leases. An error is one that stood after the second try.
func (s *Store) lease(ctx context.Context, t *taking, q *scanner) error {
	n, err := s.leaseAll(ctx, t, t.pending, t.first)
	t.matched = n
	switch {
	case err == nil:
		if !t.reclaims || n == int64(len(t.ids)) || !q.reclaims(n == 0) {
			return nil
		}
		t.again = true
		n, err = s.leaseAll(ctx, t, t.byAnother(t.leased), t.second)
		t.matched += n
		if err == nil {
			return nil
		}
		t.unsure = true
		if ctx.Err() == nil && outOfTime(err) {
			return s.leaseHeld(ctx, t, t.byAnother(t.leased))
		}
		if ofDocument(err) {
			return s.takeEach(ctx, t.ids, t.byAnother(t.leased), leasing(t.second, t.order))
		}
		return err
	case ctx.Err() != nil:
		t.unsure = true
		return err
	case outOfTime(err):
		t.again, t.unsure = true, true
		return s.leaseHeld(ctx, t, t.pending)
	default: // how many the first try took is not known
		t.again, t.unsure = true, true
		_, err = s.leaseAll(ctx, t, t.pending, t.second)
		if ofDocument(err) {
			err = s.takeEach(ctx, t.ids, t.pending, leasing(t.second, t.order))
		}
		if err != nil && ctx.Err() == nil && outOfTime(err) {
			return s.leaseHeld(ctx, t, t.pending)
		}
		return err
	}
}

// byAnother adds to a condition that this claim's first token did not just take it, even if that lease has run out by
// now: that would be a doubt about nothing. What is pending cannot have been taken.
func (t *taking) byAnother(condition bson.D) bson.D {
	return append(bson.D{{Key: "lease.token", Value: expr.Ne(t.first)}}, condition...)
}

// leaseAll leases the candidates that match, and returns how many those were.
func (s *Store) leaseAll(ctx context.Context, t *taking, condition bson.D, token string) (int64, error) {
	ctx, cancel := s.briefly(ctx, len(t.ids))
	defer cancel()
	result, err := s.updateMany(ctx, among(t.ids, condition), leasing(token, t.order), "_id")
	if err != nil {
		return 0, err
	}
	return result.MatchedCount, nil
}

// among matches those of the documents that meet a condition.
func among(ids []bson.RawValue, condition bson.D) bson.D {
	return append(bson.D{{Key: "_id", Value: expr.In(ids)}}, condition...)
}

// claimSplitFor is how long a claim looks for what somebody holds among its candidates.
const claimSplitFor = time.Second

// leaseHeld leases the candidates piece by piece, each piece in a transaction, and notes what somebody else holds. What
// it has no time for is the next claim's.
func (s *Store) leaseHeld(ctx context.Context, t *taking, condition bson.D) error {
	began := time.Now()
	for parts := [][]bson.RawValue{t.ids}; len(parts) > 0; {
		part := parts[len(parts)-1]
		parts = parts[:len(parts)-1]
		if time.Since(began) > claimSplitFor {
			return nil
		}
		n, err := s.leaseWithin(ctx, part, condition, leasing(t.second, t.order))
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
			if err := s.takeEach(ctx, part, condition, leasing(t.second, t.order)); err != nil {
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

// readBack returns the intents that match, in the order of ids.
//
// It stops after the given number of bytes, 0 for none; then they are not whole.
func (s *Store) readBack(ctx context.Context, filter bson.D, ids []bson.RawValue, projection bson.D, most int) (_ []*outbox.Intent, whole bool, _ error) {
	o := options.Find().SetHint(expr.Fields("_id")).SetLimit(int64(len(ids))).SetBatchSize(int32(len(ids)))
	if projection != nil {
		o.SetProjection(projection)
	}
	cursor, err := s.intents.Find(ctx, filter, o)
	if err != nil {
		return nil, false, err
	}
	defer cursor.Close(context.WithoutCancel(ctx))
	place := make(map[string]int, len(ids))
	for i, id := range ids {
		place[keyOf(id)] = i
	}
	ordered, bytes := make([]*outbox.Intent, len(ids)), 0
	for (most == 0 || bytes < most) && cursor.Next(ctx) {
		bytes += len(cursor.Current)
		in, err := s.intent(cursor.Current)
		if err != nil {
			return nil, false, err
		}
		if i, ok := place[keyOf(cursor.Current.Lookup("_id"))]; ok {
			ordered[i] = in
		} else { // an _id that the index shows in another form
			ordered = append(ordered, in)
		}
	}
	if err := cursor.Err(); err != nil {
		return nil, false, err
	}
	intents := ordered[:0]
	for _, in := range ordered {
		if in != nil {
			intents = append(intents, in)
		}
	}
	return intents, most == 0 || bytes < most, nil
}

// mostClaimed bounds what one claim reads, in bytes, and one document more. Documents of 16 MiB are rare, but a lane
// full of them would take all of the memory that a worker has. What is not read is given back.
const mostClaimed = 16 << 20

// intent reads a claimed intent, which tells the database's time as well.
func (s *Store) intent(raw bson.Raw) (*outbox.Intent, error) {
	doc, err := decode(raw)
	if err != nil {
		return nil, err
	}
	in := outbox.Parse(doc, s.rules)
	in.Size = len(raw)
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
