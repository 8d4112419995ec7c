package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
)

// Names of the indexes that queries hint. They are part of the schema.
const (
	indexClaim       = "claim"       // kind, priority, due_at, _id; only where there is a due_at
	indexExpires     = "expires"     // expires_at, _id; only where there are an expires_at and a due_at
	indexRecorded    = "recorded"    // due_at, kind, outcome.at, _id; only where there is an outcome
	indexDead        = "dead"        // dead_at, _id, newest first
	indexUnclaimable = "unclaimable" // status, _id; only what no claim can see
	indexDeadGroups  = "dead_groups" // kind, dead_reason, last_error.code, last_error.provider_code, dead_at, _id
	indexInDoubt     = "in_doubt"    // kind, ambiguous_at; only where there is a due_at
	indexTroubled    = "troubled"    // kind, first_due_at, retried.at; only where there are a last_error and a due_at
	indexForeign     = "foreign"     // kind, _id; only what has no kind
)

// earliest is the least Date there is: a producer's empty date is due as well.
const earliest = bson.DateTime(math.MinInt64)

// defaultPriority is the priority of an intent without one.
const defaultPriority = 1

// candidate is an intent that a claim may try to take, as an index entry shows it. Its fields may have any type: an
// array of dates is found by its dates, a decimal 1 as a 1. A claim takes such a document like any other, and it is
// settled with its problems; it must not be what ends the search.
type candidate struct {
	ID, Priority, DueAt bson.RawValue
}

// band is the priority; what is no number a driver writes has the default one.
func (c candidate) band() float64 {
	switch c.Priority.Type {
	case bson.TypeInt32:
		return float64(c.Priority.Int32())
	case bson.TypeInt64:
		return float64(c.Priority.Int64())
	case bson.TypeDouble:
		return c.Priority.Double()
	default:
		return defaultPriority
	}
}

// due is the instant from which it is due; what is no date is due for ever.
func (c candidate) due() bson.DateTime {
	if c.DueAt.Type != bson.TypeDateTime {
		return earliest
	}
	return bson.DateTime(c.DueAt.DateTime())
}

// mostRuns bounds how many runs of order.Limit candidates are read to choose one from: two for each worker, so that two
// seldom meet, and no more than cost less to read than it costs to meet.
const mostRuns = 8

// candidates returns the _ids of at most limit intents of the kind that are due, in claim order: by priority, then by
// due_at, and without those that another claim of this process is about to lease. It reads index entries alone. The
// _ids are kept from other claims until done is called, which the caller must do; it is never nil.
//
// Workers that all took the very first ones would meet in the same documents, and all but one would write in vain. So
// where more waits than one takes, each takes one of the first few runs, at random; whoever claims alone takes the
// first.
func (s *Store) candidates(ctx context.Context, order outbox.ClaimOrder, now time.Time) (ids []bson.RawValue, done func(), err error) {
	front := s.fronts.of(order.Kind)
	if err := s.lookAtFront(ctx, front, order); err != nil {
		return nil, func() {}, err
	}
	front.searching.Lock()
	defer front.searching.Unlock()
	before := front.avoided()
	var all []candidate
	if order.Sample {
		all, err = s.sample(ctx, front, order, now, before)
	} else if all, err = s.furtherOn(ctx, front, order, now, before); err == nil && all == nil {
		limit := order.Limit
		if order.Spread > 1 {
			limit *= min(2*order.Spread, mostRuns)
		}
		limit += len(before)
		if all, err = s.search(ctx, front, order, now, limit); err == nil {
			all = run(front.free(all[:min(limit, len(all))], before), order.Limit)
		}
	}
	if err != nil {
		return nil, func() {}, err
	}
	ids = idsAt(all)
	return ids, front.take(ids), nil
}

// search returns the first intents in claim order, at least limit if there are so many.
//
// Each priority needs a search of its own, and so do intents without one. A query on a missing field adds an index
// interval for undefined and is never covered: it would walk over the dead entries of the queue's head, and cost more
// with each claim; one on several priorities cannot begin each of them where the last one found its first. As bounds of
// one interval a search does neither. While more of one priority waits than a claim takes, the others are looked for
// ten times a second, if nothing is there: what comes then waits a tenth of a second longer at most.
func (s *Store) search(ctx context.Context, front *front, order outbox.ClaimOrder, now time.Time, limit int) ([]candidate, error) {
	began := time.Now()
	lone, _, alone := front.onlyBand(began)
	var found [bands + 1][]candidate
	var errs [bands + 1]error
	if !alone {
		lone = -1
	} else if found[lone], errs[lone] = s.searchBand(ctx, front, lone, order, now, limit); errs[lone] != nil || len(found[lone]) >= limit {
		return found[lone], errs[lone]
	}
	own, rest := front.others(began, lone, order.Soon)
	var searches sync.WaitGroup
	for _, b := range own {
		searches.Go(func() { found[b], errs[b] = s.searchBand(ctx, front, b, order, now, limit) })
	}
	if len(rest) > 0 {
		found[bands], errs[bands] = s.searchRest(ctx, front, rest, order, now, limit)
	}
	searches.Wait()
	if err := cmp.Or(errs[:]...); err != nil {
		return nil, err
	}
	front.searchedAll(began)
	all := slices.Concat(found[:]...)
	slices.SortStableFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.band(), b.band()), cmp.Compare(a.due(), b.due()))
	})
	return all, nil
}

func idsAt(all []candidate) []bson.RawValue {
	ids := make([]bson.RawValue, len(all))
	for i, c := range all {
		ids[i] = c.ID
	}
	return ids
}

// mostFurther bounds from how many runs one is taken without reading those before it: four for each worker, which may
// have two claims under way.
const mostFurther = 16

// furtherOn returns one of the first few runs of a long backlog of one priority, at random, without reading those
// before it; nothing if that was to be the first, or if there may be no such backlog.
func (s *Store) furtherOn(ctx context.Context, front *front, order outbox.ClaimOrder, now time.Time, before map[string]bool) ([]candidate, error) {
	b, from, ok := front.onlyBand(time.Now())
	if !ok || order.Spread < 2 {
		return nil, nil
	}
	skip := rand.N(min(4*order.Spread, mostFurther)) * order.Limit
	if skip == 0 {
		return nil, nil
	}
	found, err := read(ctx, s.inBand(ctx, order.Kind, b, from, bson.NewDateTimeFromTime(now), skip, order.Limit+len(before)))
	if err != nil {
		return nil, err
	}
	if found = front.free(found, before); len(found) < order.Limit {
		front.band(b, func(b *band) { b.rich = false })
		return nil, nil
	}
	return found[:order.Limit], nil
}

// searchBand returns the first intents of a band. It begins where the last search found them, if that is enough or
// another claim follows soon.
func (s *Store) searchBand(ctx context.Context, front *front, b int, order outbox.ClaimOrder, now time.Time, limit int) ([]candidate, error) {
	until := bson.NewDateTimeFromTime(now)
	began, from := time.Now(), earliest
	front.band(b, func(b *band) { from = b.from(began, order.Soon) })
	found, err := read(ctx, s.inBand(ctx, order.Kind, b, from, until, 0, limit))
	if err == nil && from != earliest && len(found) < limit && !order.Soon {
		began, from = time.Now(), earliest
		found, err = read(ctx, s.inBand(ctx, order.Kind, b, from, until, 0, limit))
	}
	if err != nil {
		return nil, err
	}
	first := until
	if len(found) > 0 {
		first = found[0].due()
	}
	took := time.Since(began)
	front.band(b, func(b *band) { b.searched(from, first, took, len(found) > 0, len(found) >= limit) })
	return found, nil
}

// searchRest returns the first intents of bands in which nothing was seen for long.
func (s *Store) searchRest(ctx context.Context, front *front, rest []int, order outbox.ClaimOrder, now time.Time, limit int) ([]candidate, error) {
	began := time.Now()
	priorities := make(bson.A, len(rest))
	for i, b := range rest {
		priorities[i] = priorityOf(b)
	}
	found, err := read(ctx, s.withPriorities(ctx, order.Kind, priorities, now, limit))
	if err == nil {
		front.searchedRest(rest, found, time.Since(began), bson.NewDateTimeFromTime(now))
	}
	return found, err
}

// lookAtFront asks, if it is time to, whether something has come to stand before where searches begin; then the next
// one begins there. It can take long, since it walks over all dead entries, so other claims do not wait for it.
func (s *Store) lookAtFront(ctx context.Context, front *front, order outbox.ClaimOrder) error {
	looks := front.frontal(time.Now(), order.Soon)
	if looks == nil {
		return nil
	}
	defer front.endLooks()
	for b, until := range looks {
		began := time.Now()
		found, err := read(ctx, s.inBand(ctx, order.Kind, b, earliest, until, 0, 1))
		if err != nil {
			return err
		}
		var ahead *bson.DateTime
		if len(found) > 0 {
			ahead = new(found[0].due())
		}
		took := time.Since(began)
		front.band(b, func(b *band) { b.looked(took, ahead) })
	}
	return nil
}

// run returns at most limit of the candidates: one of the whole runs of that length that the first priority among them
// has room for, each as likely, so that the first in order soon has its turn; or else the first.
func run(all []candidate, limit int) []candidate {
	first := 0
	for first < len(all) && all[first].band() == all[0].band() {
		first++
	}
	if runs := first / limit; runs > 1 {
		from := rand.N(runs) * limit
		return all[from : from+limit]
	}
	return all[:min(limit, len(all))]
}

// search is what a Find returns.
type search struct {
	cursor *mongo.Cursor
	err    error
}

func read(ctx context.Context, s search) ([]candidate, error) {
	if s.err != nil {
		return nil, s.err
	}
	defer s.cursor.Close(context.WithoutCancel(ctx))
	list := make([]candidate, 0, s.cursor.RemainingBatchLength())
	for s.cursor.Next(ctx) {
		c := candidate{}
		raw := bytes.Clone(s.cursor.Current)
		err := elements(raw, func(key []byte, t bson.Type, value []byte) error {
			switch string(key) {
			case "_id":
				c.ID = bson.RawValue{Type: t, Value: value}
			case "priority":
				c.Priority = bson.RawValue{Type: t, Value: value}
			case "due_at":
				c.DueAt = bson.RawValue{Type: t, Value: value}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, s.cursor.Err()
}

// inBand reads index entries of one band from one instant up to another, as one interval.
func (s *Store) inBand(ctx context.Context, kind string, b int, from, until bson.DateTime, skip, limit int) search {
	cursor, err := s.hints.Find(ctx, bson.D{}, bandOptions(kind, b, from, until, skip, limit))
	return search{cursor, err}
}

// withPriorities asks for no order, but has that of the index, as inBand has. To ask for it would make no difference,
// were it not that one array in any document's due_at or priority makes the index multikey for ever: then the server
// takes no order from it, and sorts all that is due for each claim. For the same reason there is one bound for the
// dates: of two it would use one.
func (s *Store) withPriorities(ctx context.Context, kind string, priorities bson.A, now time.Time, limit int) search {
	cursor, err := s.hints.Find(ctx,
		bson.D{
			{Key: "kind", Value: kind},
			{Key: "priority", Value: bson.D{{Key: "$in", Value: priorities}}},
			{Key: "due_at", Value: bson.D{{Key: "$lte", Value: bson.NewDateTimeFromTime(now)}}},
		},
		options.Find().SetHint(indexClaim).
			SetProjection(bson.D{{Key: "_id", Value: 1}, {Key: "priority", Value: 1}, {Key: "due_at", Value: 1}}).
			SetLimit(int64(limit)).SetBatchSize(int32(limit)))
	return search{cursor, err}
}

// mostUpcoming bounds what one look at what becomes due reads.
const mostUpcoming = 100

// Upcoming returns when intents of the kind become claimable between now and the given time from now: soonest first, by
// the database's clock, those that are claimable already included. whole is false if there may be more. It reads at
// most a hundred index entries, in one round trip.
func (s *Store) Upcoming(ctx context.Context, kind string, within time.Duration) (due []time.Time, whole bool, err error) {
	doing := fmt.Sprintf("look for what of kind %q becomes due", kind)
	ctx, cancel := s.bound(ctx)
	defer cancel()
	now, err := s.freshNow(ctx)
	if err != nil {
		return nil, false, failed(err, "%s", doing)
	}
	cursor, err := s.hints.Find(ctx,
		bson.D{
			{Key: "kind", Value: kind},
			{Key: "due_at", Value: bson.D{{Key: "$lte", Value: bson.NewDateTimeFromTime(now.Add(within))}}},
		},
		options.Find().SetHint(indexClaim).SetProjection(bson.D{{Key: "_id", Value: 0}, {Key: "due_at", Value: 1}}).
			SetLimit(mostUpcoming).SetBatchSize(mostUpcoming))
	found, err := read(ctx, search{cursor, err})
	if err != nil {
		return nil, false, failed(err, "%s", doing)
	}
	for _, c := range found {
		due = append(due, c.due().Time())
	}
	slices.SortFunc(due, time.Time.Compare)
	return due, len(found) < mostUpcoming, nil
}
