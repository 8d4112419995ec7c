package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
	"github.com/outboxd/outboxd/store/internal/scan"
)

// Bounds of a census, whatever lies in the outbox.
const (
	// CensusEvery is how long a census is good. No worker takes another before.
	CensusEvery = 15 * time.Second
	censusTime  = 200 * time.Millisecond // for all that one census reads
	censusStep  = 50 * time.Millisecond  // for one command
	// mostTroubled is how many intents in trouble are looked at for the one that has waited longest.
	mostTroubled = 1000
)

const censusID = "census" // _id of the census in the meta collection

// Census returns the last census. It is a copy of one small document. The zero value means that none was taken yet.
func (s *Store) Census(ctx context.Context) (outbox.Census, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var doc censusDocument
	err := s.meta.FindOne(ctx, bson.D{{Key: "_id", Value: censusID}}).Decode(&doc)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return outbox.Census{}, nil
	}
	return doc.census(), failed(err, "read the census")
}

// TakeCensus takes a census, unless one was taken within [CensusEvery] or another worker is at it. It returns the one
// that it took; the zero value stands for none. The kinds are those that stand in it even if nothing of them is there.
// It reads at most ten thousand entries of an index for a figure, and all of it is over after a fraction of a second.
// What could not be counted by then keeps the figures of the census before; an error beside a census that was taken
// says why, unless time ran out.
func (s *Store) TakeCensus(ctx context.Context, worker string, kinds []string) (outbox.Census, error) {
	const doing = "take the census"
	bounded, cancel := s.bound(ctx)
	defer cancel()
	before, now, err := s.leaseCensus(bounded, worker)
	if err != nil || now.IsZero() {
		return outbox.Census{}, failed(err, doing)
	}
	c, why := s.count(ctx, now, before, kinds)
	if err := ctx.Err(); err != nil {
		return outbox.Census{}, failed(err, doing)
	}
	c.By = worker
	_, err = s.meta.UpdateOne(bounded, bson.D{{Key: "_id", Value: censusID}, {Key: "worker", Value: worker}},
		expr.Set(documentOf(c)))
	if err != nil {
		return outbox.Census{}, failed(err, "%s: write it", doing)
	}
	return c, failed(why, "%s: it has figures of the one before", doing)
}

// leaseCensus makes the census this worker's for [CensusEvery]. It returns the census before and the database's time,
// which is zero if another worker has it.
func (s *Store) leaseCensus(ctx context.Context, worker string) (outbox.Census, time.Time, error) {
	var doc censusDocument
	over := expr.Lte(expr.IfNull("$until", earliest), "$$NOW")
	lease := mongo.Pipeline{expr.Set(bson.D{
		{Key: "worker", Value: expr.Literal(worker)}, {Key: "now", Value: "$$NOW"}, {Key: "until", Value: fromNow(CensusEvery - time.Second)},
	})}
	for range 2 {
		err := s.meta.FindOneAndUpdate(ctx, bson.D{{Key: "_id", Value: censusID}, expr.Expr(over)}, lease,
			options.FindOneAndUpdate().SetReturnDocument(options.After)).Decode(&doc)
		if !errors.Is(err, mongo.ErrNoDocuments) {
			return doc.census(), doc.Now, err
		}
		// Somebody has it, or nobody ever had.
		made, err := s.meta.UpdateOne(ctx, bson.D{{Key: "_id", Value: censusID}},
			bson.D{{Key: "$setOnInsert", Value: bson.D{{Key: "until", Value: time.Unix(0, 0)}}}}, options.UpdateOne().SetUpsert(true))
		if err != nil && !mongo.IsDuplicateKeyError(err) || err == nil && made.UpsertedCount == 0 {
			return outbox.Census{}, time.Time{}, err
		}
	}
	return outbox.Census{}, time.Time{}, nil
}

// count reads what a census holds.
func (s *Store) count(ctx context.Context, now time.Time, before outbox.Census, kinds []string) (outbox.Census, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, censusTime)
	defer cancel()
	r := &censusReader{store: s, now: now, until: began.Add(censusTime)}
	c := outbox.Census{At: now}
	waiting, dead := r.kinds(ctx, indexClaim, before), r.kinds(ctx, indexDeadGroups, before)
	workers := r.workers(ctx, before)
	all := slices.Concat(kinds, slices.Collect(maps.Keys(waiting)), slices.Collect(maps.Keys(dead)), slices.Collect(maps.Keys(workers)))
	slices.Sort(all)
	for _, kind := range slices.Compact(all) {
		old := before.Of(kind)
		k := outbox.KindCensus{Kind: kind, Workers: workers[kind]}
		if waiting[kind] { // else there is nothing to count
			r.due(ctx, kind, &k, old)
			r.doubts(ctx, kind, &k, old)
			r.unfinished(ctx, kind, &k, old)
		}
		if dead[kind] {
			k.AmbiguousDead = r.dead(ctx, kind, old.AmbiguousDead)
		}
		c.Kinds = append(c.Kinds, k)
	}
	if len(waiting) > 0 {
		r.unwritten(ctx, &c, before)
	}
	c.Foreign = r.many(ctx, bson.D{{Key: "kind", Value: nil}}, indexForeign, before.Foreign)
	c.Cut, c.Took = r.cut, time.Since(began)
	return c, r.why
}

// censusReader reads within what is left of a census' time. It is for one goroutine.
type censusReader struct {
	store *Store
	now   time.Time // the database's
	until time.Time // by this machine's clock
	cut   bool      // something was not read,
	why   error     // for another reason than that time ran out
}

// left returns how long the next command may take; false: there is no time for one.
func (r *censusReader) left() (time.Duration, bool) {
	left := min(time.Until(r.until), censusStep)
	if left < time.Millisecond {
		r.cut = true
	}
	return left, left >= time.Millisecond
}

// command runs a read for as long as there is time. It reports whether it was answered.
func (r *censusReader) command(ctx context.Context, command bson.D, answer any) bool {
	left, ok := r.left()
	if !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, left) // the driver makes it the server's maxTimeMS
	defer cancel()
	return r.read(r.store.db.RunCommand(ctx, command).Decode(answer))
}

// read notes why something could not be read, and reports whether it could.
func (r *censusReader) read(err error) bool {
	if err != nil {
		r.cut = true
		if r.why == nil && !outOfTime(err) {
			r.why = err
		}
	}
	return err == nil
}

// many counts entries of an index up to the bound. Where that cannot be done it returns what there was before.
func (r *censusReader) many(ctx context.Context, filter bson.D, hint string, before outbox.Count) outbox.Count {
	var answer struct{ N int64 }
	if !r.command(ctx, bson.D{{Key: "count", Value: r.store.intents.Name()}, {Key: "query", Value: filter}, {Key: "hint", Value: hint},
		{Key: "limit", Value: outbox.CensusCap + 1}}, &answer) {
		return before
	}
	return outbox.Count{N: min(answer.N, outbox.CensusCap), Capped: answer.N > outbox.CensusCap}
}

// first reads index entries of a kind, in the order of the index: its bounds need no sort, whatever a field holds.
func (r *censusReader) first(ctx context.Context, index, kind string, least any, fields []string, limit int) ([]bson.Raw, bool) {
	from, to := bson.D{{Key: "kind", Value: kind}}, bson.D{{Key: "kind", Value: kind}}
	project := expr.Without("_id")
	for i, field := range fields {
		if i > 0 {
			least = bson.MinKey{}
		}
		from, to = append(from, bson.E{Key: field, Value: least}), append(to, bson.E{Key: field, Value: bson.MaxKey{}})
		project = append(project, bson.E{Key: field, Value: 1})
	}
	var answer struct {
		Cursor struct {
			Batch []bson.Raw `bson:"firstBatch"`
		}
	}
	ok := r.command(ctx, bson.D{{Key: "find", Value: r.store.intents.Name()}, {Key: "filter", Value: bson.D{}},
		{Key: "min", Value: from}, {Key: "max", Value: to}, {Key: "projection", Value: project}, {Key: "hint", Value: index},
		{Key: "limit", Value: limit}, {Key: "batchSize", Value: limit}, {Key: "singleBatch", Value: true}}, &answer)
	return answer.Cursor.Batch, ok
}

// kinds returns the kinds that have an entry in an index. If time runs out it returns those of the census before.
func (r *censusReader) kinds(ctx context.Context, index string, before outbox.Census) map[string]bool {
	found := make(map[string]bool)
	for kind := ""; len(found) < mostKinds; {
		if _, ok := r.left(); !ok {
			break
		}
		next, err := r.store.kindAfter(ctx, index, kind)
		if errors.Is(err, mongo.ErrNoDocuments) {
			return found
		}
		if !r.read(err) {
			break
		}
		kind = next
		found[kind] = true
	}
	if r.cut {
		for _, k := range before.Kinds {
			found[k.Kind] = true
		}
	}
	return found
}

// workers counts the live workers that serve each kind.
func (r *censusReader) workers(ctx context.Context, before outbox.Census) map[string]int {
	serve := make(map[string]int)
	live, _, err := r.store.registry(ctx)
	if !r.read(err) {
		for _, k := range before.Kinds {
			serve[k.Kind] = k.Workers
		}
		return serve
	}
	for _, w := range live {
		for _, kind := range w.Kinds {
			serve[kind]++
		}
	}
	return serve
}

// due counts what waits, and finds what is due for longest.
func (r *censusReader) due(ctx context.Context, kind string, k *outbox.KindCensus, before outbox.KindCensus) {
	until := bson.NewDateTimeFromTime(r.now)
	begin := earliest
	r.store.scanners.of(kind).with(func(q *scan.Queue, now time.Time) { begin = bson.DateTime(q.Start(now)) })
	waiting := func(due bson.D) bson.D { return bson.D{{Key: "kind", Value: kind}, {Key: "due_at", Value: due}} }
	k.Due = r.many(ctx, waiting(bson.D{{Key: "$gte", Value: begin}, {Key: "$lte", Value: until}}), indexClaim, before.Due)
	k.Scheduled = r.many(ctx, waiting(expr.Gt(until)), indexClaim, before.Scheduled)
	k.Waiting = k.Due.Plus(k.Scheduled)
	k.OldestDue = before.OldestDue
	if _, ok := r.left(); !ok {
		return
	}
	if k.Due.N == 0 {
		k.OldestDue = time.Time{}
		return
	}
	due, found, err := r.store.oldestOf(ctx, kind, begin, r.now)
	switch {
	case !r.read(err):
	case found:
		k.OldestDue = due
	default:
		k.OldestDue = time.Time{}
	}
}

// doubts counts what nobody knows of, and workers are on.
func (r *censusReader) doubts(ctx context.Context, kind string, k *outbox.KindCensus, before outbox.KindCensus) {
	k.InDoubt, k.OldestInDoubt = before.InDoubt, before.OldestInDoubt
	oldest, ok := r.first(ctx, indexInDoubt, kind, earliest, []string{"ambiguous_at"}, outbox.CensusCap+1)
	if ok {
		k.InDoubt = outbox.Count{N: int64(min(len(oldest), outbox.CensusCap)), Capped: len(oldest) > outbox.CensusCap}
		k.OldestInDoubt = time.Time{}
		if len(oldest) > 0 {
			k.OldestInDoubt = dateAt(oldest[0], "ambiguous_at")
		}
	}
}

// dead counts the dead letters that need a person's verdict.
func (r *censusReader) dead(ctx context.Context, kind string, before outbox.Count) outbox.Count {
	return r.many(ctx, bson.D{{Key: "kind", Value: kind}, {Key: "dead_reason", Value: outbox.ReasonAmbiguous},
		{Key: "dead_at", Value: expr.Gte(earliest)}}, indexDeadGroups, before)
}

// unfinished finds since when the oldest of a kind waits, whatever has put it off since.
func (r *censusReader) unfinished(ctx context.Context, kind string, k *outbox.KindCensus, before outbox.KindCensus) {
	k.OldestUnfinished = before.OldestUnfinished
	troubled, ok := r.first(ctx, indexTroubled, kind, bson.MinKey{}, []string{"first_due_at", "retried.at"}, mostTroubled)
	if !ok {
		return
	}
	oldest := k.OldestDue
	for _, doc := range troubled {
		since := dateAt(doc, "first_due_at")
		if again := dateAt(doc, "retried", "at"); again.After(since) {
			since = again // a person began its wait anew
		}
		if !since.IsZero() && (oldest.IsZero() || since.Before(oldest)) {
			oldest = since
		}
	}
	k.OldestUnfinished = oldest
}

// dateAt returns a field that is a date, else the zero time.
func dateAt(doc bson.Raw, path ...string) time.Time {
	at, ok := doc.Lookup(path...).DateTimeOK()
	if !ok {
		return time.Time{}
	}
	return bson.DateTime(at).Time().UTC()
}

// unwritten counts what is settled but for its consequences.
func (r *censusReader) unwritten(ctx context.Context, c *outbox.Census, before outbox.Census) {
	waits := make(map[string]Waiting)
	_, ok := r.left()
	var err error
	if ok {
		waits, err = r.store.Waiting(ctx)
	}
	r.read(err)
	for i := range c.Kinds {
		k := &c.Kinds[i]
		if !ok || err != nil {
			old := before.Of(k.Kind)
			k.Unwritten, k.OldestUnwritten = old.Unwritten, old.OldestUnwritten
			continue
		}
		if w, some := waits[k.Kind]; some {
			k.Unwritten = outbox.Count{N: w.N, Capped: w.N >= mostWaiting}
			k.OldestUnwritten = r.now.Add(-w.Age)
		}
	}
}
