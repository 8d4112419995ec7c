package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"

	"github.com/outboxd/outboxd/internal/timing"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// Bounds of the transactions that settle intents with consequences.
const (
	maxTogether    = 50  // rows in one transaction
	maxFollowUps   = 200 // follow-ups in one transaction, unless one row alone has more
	maxTries       = 4   // of one transaction that fails by what goes away
	maxCommits     = 3   // of one commit, before its result stays unknown
	firstPause     = 5 * time.Millisecond
	longestPause   = 500 * time.Millisecond
	splitFor       = 300 * time.Millisecond // how long culprits are looked for, while the others wait for their answers
	abortTimeout   = 5 * time.Second
	labelTransient = "TransientTransactionError"
	labelUnknown   = "UnknownTransactionCommitResult"
)

// errMoved is why a fence found fewer documents than the transaction had just read.
var errMoved = errors.New("a document changed under the transaction")

// setback is why a try of a transaction ended although the database did what it was asked: somebody else holds what the
// transaction concerns, or part of it cannot be done.
type setback struct {
	retry bool   // part of it cannot be done: the rows ask for less now, and the same transaction is tried again
	rows  []*row // otherwise, which of them may have met what somebody else holds; nil: all
	own   bool   // it was the intents' own documents
	why   error
}

// held makes a setback of an error that says that somebody else holds something. Other errors stay what they are.
func held(err error, own bool, rows []*row) (*setback, error) {
	if err == nil || !contended(err) {
		return nil, err
	}
	return &setback{rows: rows, own: own, why: err}, nil
}

// settleParts settles rows that may have consequences. What these are is worked out for one part after the other, and
// forgotten with it: references can make much of little.
func (s *Store) settleParts(ctx context.Context, rows []*row, answers []outbox.Settled) error {
	var part, simple []*row
	followUps, size := 0, 0
	flush := func() error {
		err := s.settleTogether(ctx, part, answers)
		for _, r := range part {
			r.forget()
		}
		part, followUps, size = nil, 0, 0
		return err
	}
	for _, r := range rows {
		weight := s.bring(r)
		if len(r.followUps) == 0 && r.update == nil {
			simple = append(simple, r)
			continue
		}
		if len(part) > 0 && (len(part) == maxTogether || followUps+len(r.followUps) > maxFollowUps || size+weight > maxBytes) {
			if err := flush(); err != nil {
				return err
			}
		}
		part, followUps, size = append(part, r), followUps+len(r.followUps), size+weight
	}
	if err := flush(); err != nil {
		return err
	}
	return s.settleAlone(ctx, simple, answers)
}

// settleTogether settles rows with their consequences in one transaction, or in as many as it takes until each row that
// stands in the way of others is alone. What the database refuses of the consequences is degraded or dropped. A row
// whose consequences somebody else holds up has its outcome recorded, and one whose own intent is held is answered as
// busy; both come last, when all others are written. An error means that the database could not be reached or did not
// tell.
func (s *Store) settleTogether(ctx context.Context, rows []*row, answers []outbox.Settled) error {
	began := time.Now()
	var later []*row
	var why error
	for parts := [][]*row{rows}; len(parts) > 0; {
		part := parts[len(parts)-1]
		parts = parts[:len(parts)-1]
		if len(part) == 0 {
			continue
		}
		stop, err := s.transact(ctx, part, answers)
		switch {
		case err != nil && (ctx.Err() != nil || !refusal(err)):
			return err
		case err != nil && len(part) > 1:
			parts = append(parts, halves(part)...)
			continue
		case err != nil:
			part[0].giveUp(err)
			if err := s.settleSimple(ctx, part, answers); err != nil {
				return err
			}
			continue
		case stop == nil:
			continue
		}
		suspects := stop.rows
		if suspects == nil {
			suspects = part
		}
		whole := hasCode(stop.why, codeLockTimeout) || time.Since(began) > splitFor // a collection is held, or it takes too long
		switch {
		case stop.own && (len(suspects) == 1 || whole):
			for _, r := range suspects {
				answers[r.at] = outbox.Settled{Busy: reason(stop.why)}
			}
		case stop.own:
			parts = append(parts, halves(suspects)...)
		case whole || oneTarget(suspects) && (allEager(suspects) || suspects[0].update == nil):
			later, why = append(later, suspects...), stop.why
		case oneTarget(suspects):
			setEager(suspects, true)
			parts = append(parts, suspects)
		default:
			parts = append(parts, halves(suspects)...)
		}
		parts = append(parts, without(part, suspects)) // these first
	}
	return s.record(ctx, later, why, answers)
}

// record writes the outcomes of rows whose consequences have to wait, each into its intent alone.
func (s *Store) record(ctx context.Context, rows []*row, why error, answers []outbox.Settled) error {
	now := s.Now()
	for _, r := range rows {
		again := r.Backoff(now)
		r.forget()
		r.notes, r.noted = nil, nil // the next try finds them again
		r.waits = &wait{"its consequences cannot be written now: " + reason(why), timing.Backoff(again, again, 1)}
	}
	return s.settleAlone(ctx, rows, answers)
}

// halves splits rows in two, so that those with one target stay together if they can.
func halves(rows []*row) [][]*row {
	sorted := slices.Clone(rows)
	slices.SortStableFunc(sorted, func(a, b *row) int { return cmp.Compare(a.target(), b.target()) })
	middle := len(sorted) / 2
	for cut := middle; cut > 0; cut-- {
		if sorted[cut-1].target() != sorted[cut].target() {
			middle = cut
			break
		}
	}
	return [][]*row{sorted[middle:], sorted[:middle]}
}

// oneTarget reports whether all rows have the same write_back target, or there is just one row.
func oneTarget(rows []*row) bool {
	return len(rows) == 1 || rows[0].update != nil && !slices.ContainsFunc(rows, func(r *row) bool { return r.target() != rows[0].target() })
}

// allEager reports whether the rows have business documents, all of which are to be written first.
func allEager(rows []*row) bool {
	return slices.ContainsFunc(rows, func(r *row) bool { return r.update != nil }) &&
		!slices.ContainsFunc(rows, func(r *row) bool { return !r.eager && r.update != nil })
}

// without returns the rows that are not among the others.
func without(rows, others []*row) []*row {
	if len(rows) == len(others) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(rows), func(r *row) bool { return slices.Contains(others, r) })
}

// setEager says whether the rows' business documents are written first.
func setEager(rows []*row, eager bool) {
	for _, r := range rows {
		r.eager = eager
	}
}

// transact runs the transaction until it is made, or fails by what does not go away within a moment.
func (s *Store) transact(ctx context.Context, rows []*row, answers []outbox.Settled) (*setback, error) {
	for n := 1; ; n++ {
		stop, err := s.try(ctx, rows, answers)
		for stop != nil && stop.retry && ctx.Err() == nil { // each time there is less to do
			stop, err = s.try(ctx, rows, answers)
		}
		switch {
		case err == nil || ctx.Err() != nil || refusal(err):
			return stop, err
		case n >= maxTries && !away(err):
			return &setback{why: err}, nil
		case n >= maxTries || timing.Sleep(ctx, timing.Backoff(firstPause, longestPause, n)) != nil:
			return nil, err
		}
	}
}

// try runs the transaction once.
func (s *Store) try(ctx context.Context, rows []*row, answers []outbox.Settled) (stop *setback, err error) {
	var live []*row
	var judged error
	err = s.transaction(ctx, func(ctx context.Context) (write bool, err error) {
		live, stop, err = s.writeAll(ctx, rows)
		return len(live) > 0 && stop == nil, err
	}, func(ctx context.Context) { // in the session, so that it reads nothing older than the transaction did
		if stop != nil {
			return
		}
		for _, r := range live {
			answers[r.at] = r.written()
		}
		if refused := without(rows, live); len(refused) > 0 {
			judged = s.judge(ctx, refused, answers)
		}
	})
	if err != nil { // what is held may show in the commit
		return held(err, false, nil)
	}
	return stop, judged
}

// transaction runs do within a transaction and commits it, if do says that there is something to commit. What follows
// is done in the same session when it was made. If the user turns out not to be allowed past the validator, do runs
// once more.
func (s *Store) transaction(ctx context.Context, do func(context.Context) (write bool, err error), following ...func(context.Context)) error {
	return s.bypassing(ctx, func(bool) error { return s.transactOnce(ctx, do, following) })
}

func (s *Store) transactOnce(ctx context.Context, do func(context.Context) (write bool, err error), following []func(context.Context)) error {
	session, err := s.db.Client().StartSession()
	if err != nil {
		return err
	}
	defer session.EndSession(context.WithoutCancel(ctx))
	err = session.StartTransaction(options.Transaction().SetReadConcern(readconcern.Snapshot()).SetWriteConcern(durable).SetReadPreference(primary))
	if err != nil {
		return err
	}
	within := mongo.NewSessionContext(ctx, session)
	write, err := do(within)
	if err == nil && write {
		err = commit(ctx, session)
	}
	if err != nil || !write {
		abort, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		_ = session.AbortTransaction(abort) // the server ends it by itself as well, and the error that counts is above
		if err != nil {
			return err
		}
	}
	for _, f := range following {
		f(within)
	}
	return nil
}

func commit(ctx context.Context, session *mongo.Session) error {
	for n := 1; ; n++ {
		err := session.CommitTransaction(ctx)
		if err == nil || !hasLabel(err, labelUnknown) || n == maxCommits || ctx.Err() != nil {
			return err
		}
	}
}

// writeAll writes the rows whose token still holds, and their consequences, and returns those rows.
func (s *Store) writeAll(ctx context.Context, rows []*row) (live []*row, stop *setback, err error) {
	eager := allEager(rows)
	if eager { // whatever was written to these until now does not stand against the transaction, which begins with them
		if stop, err := s.writeBack(ctx, rows); stop != nil || err != nil {
			return nil, stop, err
		}
	}
	live, now, err := s.live(ctx, rows)
	if err == nil && eager && len(live) != len(rows) {
		setEager(rows, false)
		return nil, &setback{retry: true, why: errMoved}, nil
	}
	if err == nil && len(live) == 0 {
		return nil, nil, nil
	}
	var intents, letters []ownedFollowUp
	if err == nil {
		intents, letters, err = s.missing(ctx, live)
	}
	var result *mongo.UpdateResult
	if err == nil {
		result, err = s.updateMany(ctx, fence(live), s.settling(live), "_id")
	}
	switch {
	case err != nil:
		stop, err = held(err, true, nil)
		return nil, stop, err
	case result.MatchedCount != int64(len(live)) && eager:
		setEager(rows, false)
		return nil, &setback{retry: true, why: errMoved}, nil
	case result.MatchedCount != int64(len(live)):
		return nil, &setback{own: true, why: errMoved}, nil
	}
	if stop, err = s.insert(ctx, intents, now, false); stop == nil && err == nil {
		stop, err = s.insert(ctx, letters, now, !s.validate.Load())
	}
	if stop == nil && err == nil && !eager {
		stop, err = s.writeBack(ctx, live)
	}
	return live, stop, err
}

// live returns the rows whose token holds, and the database's time.
func (s *Store) live(ctx context.Context, rows []*row) ([]*row, time.Time, error) {
	cursor, err := s.intents.Aggregate(ctx, mongo.Pipeline{
		expr.Match(fence(rows)),
		expr.Project(bson.D{{Key: "now", Value: "$$NOW"}}),
	}, options.Aggregate().SetHint(expr.Fields("_id")).SetBatchSize(int32(len(rows)+1)))
	if err != nil {
		return nil, time.Time{}, err
	}
	var found []struct {
		ID  bson.RawValue `bson:"_id"`
		Now time.Time     `bson:"now"`
	}
	if err := cursor.All(ctx, &found); err != nil {
		return nil, time.Time{}, err
	}
	held := make(map[string]bool, len(found))
	for _, f := range found {
		held[keyOf(f.ID)] = true
	}
	var live []*row
	var now time.Time
	for _, r := range rows {
		if held[r.key] {
			live, now = append(live, r), found[0].Now
		}
	}
	return live, now, nil
}
