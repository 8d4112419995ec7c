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

// errMoved is returned by a try whose own fence found fewer documents than it had just read.
var errMoved = errors.New("a document changed under the transaction")

// held is returned by a try that met what somebody else holds.
type held struct {
	err  error
	rows []*row // which of its rows may have met it; nil: all
	own  bool   // it was the intents' own documents
}

func (h *held) Error() string {
	return "somebody else holds what a transaction concerns: " + reason(h.err)
}

func (h *held) Unwrap() error { return h.err }

// holding makes a held of an error that says so.
func holding(err error, own bool, rows []*row) error {
	if err == nil || !contended(err) {
		return err
	}
	return &held{err: err, own: own, rows: rows}
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
		err := s.transact(ctx, part, answers)
		h, isHeld := errors.AsType[*held](err)
		switch {
		case err == nil:
		case isHeld:
			suspects := h.rows
			if suspects == nil {
				suspects = part
			}
			rest := without(part, suspects)
			whole := hasCode(err, codeLockTimeout) || time.Since(began) > splitFor // a collection is held, or it takes too long
			switch {
			case h.own && (len(suspects) == 1 || whole):
				for _, r := range suspects {
					answers[r.at] = outbox.Settled{Busy: reason(h.err)}
				}
			case h.own:
				parts = append(parts, halves(suspects)...)
			case whole || oneTarget(suspects) && (allEager(suspects) || suspects[0].update == nil):
				later, why = append(later, suspects...), h.err
			case oneTarget(suspects):
				for _, r := range suspects {
					r.eager = true
				}
				parts = append(parts, suspects)
			default:
				parts = append(parts, halves(suspects)...)
			}
			parts = append(parts, rest)
		case ctx.Err() != nil || !refusal(err):
			return err
		case len(part) > 1:
			parts = append(parts, halves(part)...)
		default:
			part[0].giveUp(err)
			if err := s.settleSimple(ctx, part, answers); err != nil {
				return err
			}
		}
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

// transact runs the transaction until it is made, or fails by what does not go away within a moment.
func (s *Store) transact(ctx context.Context, rows []*row, answers []outbox.Settled) error {
	for try := 1; ; try++ {
		err := s.try(ctx, rows, answers)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if _, ok := errors.AsType[*degraded](err); ok {
			try--
			continue
		}
		if hasCode(err, codeUnauthorized) && s.validate.CompareAndSwap(false, true) {
			continue
		}
		if errors.Is(err, errMoved) && allEager(rows) {
			for _, r := range rows {
				r.eager = false
			}
			continue
		}
		if _, ok := errors.AsType[*held](err); ok || refusal(err) {
			return err
		}
		if try >= maxTries {
			if away(err) {
				return err
			}
			return &held{err: err}
		}
		if timing.Sleep(ctx, timing.Backoff(firstPause, longestPause, try)) != nil {
			return err
		}
	}
}

// try runs the transaction once.
func (s *Store) try(ctx context.Context, rows []*row, answers []outbox.Settled) error {
	var live []*row
	var judged error
	err := s.transaction(ctx, func(ctx context.Context) (write bool, err error) {
		live, err = s.writeAll(ctx, rows)
		return len(live) > 0, err
	}, func(ctx context.Context) { // in the session, so that it reads nothing older than the transaction did
		for _, r := range live {
			answers[r.at] = r.written()
		}
		if refused := without(rows, live); len(refused) > 0 {
			judged = s.judge(ctx, refused, answers)
		}
	})
	return cmp.Or(err, judged)
}

// transaction runs do within a transaction and commits it, if do says that there is something to commit. What follows
// is done in the same session when it was made.
func (s *Store) transaction(ctx context.Context, do func(context.Context) (write bool, err error), following ...func(context.Context)) error {
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
		err = holding(commit(ctx, session), false, nil)
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
func (s *Store) writeAll(ctx context.Context, rows []*row) ([]*row, error) {
	eager := allEager(rows)
	if eager { // whatever was written to these until now does not stand against the transaction, which begins with them
		if err := s.writeBack(ctx, rows); err != nil {
			return nil, err
		}
	}
	live, now, err := s.live(ctx, rows)
	if err != nil {
		return nil, holding(err, true, nil)
	}
	if eager && len(live) != len(rows) {
		return nil, errMoved
	}
	if len(live) == 0 {
		return nil, nil
	}
	intents, letters, err := s.missing(ctx, live)
	if err != nil {
		return nil, holding(err, true, nil)
	}
	result, err := s.updateMany(ctx, fence(live), s.settling(live), "_id")
	if err != nil {
		return nil, holding(err, true, nil)
	}
	if result.MatchedCount != int64(len(live)) {
		return nil, &held{err: errMoved, own: true}
	}
	if err := s.insert(ctx, intents, now, false); err != nil {
		return nil, err
	}
	if err := s.insert(ctx, letters, now, !s.validate.Load()); err != nil {
		return nil, err
	}
	if eager {
		return live, nil
	}
	return live, s.writeBack(ctx, live)
}

// live returns the rows whose token holds, and the database's time.
func (s *Store) live(ctx context.Context, rows []*row) ([]*row, time.Time, error) {
	cursor, err := s.intents.Aggregate(ctx, mongo.Pipeline{
		{{Key: "$match", Value: fence(rows)}},
		{{Key: "$project", Value: bson.D{{Key: "now", Value: "$$NOW"}}}},
	}, options.Aggregate().SetHint(bson.D{{Key: "_id", Value: 1}}).SetBatchSize(int32(len(rows)+1)))
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

// ownedFollowUp is a follow-up with the row that brings it along.
type ownedFollowUp struct {
	*followUp
	row *row
}

// mostNumbers bounds how far a follow-up's number is raised because its ids are taken.
const mostNumbers = 100

// missing returns the rows' follow-ups that do not exist yet: those to insert as intents, and those to keep as dead
// letters. One whose dedup_key exists is not wanted.
//
// Since a parent and its follow-ups are one transaction, none of this settlement's can exist while the parent's token
// holds. What stands under the _id of an on_done follow-up is this one only if it says the same: a parent that was done
// before and was made pending by hand. Anything else is a stranger, or belongs to an earlier death. The follow-up then
// has the next free number.
func (s *Store) missing(ctx context.Context, rows []*row) (intents, letters []ownedFollowUp, err error) {
	var ids, keys bson.A
	for _, r := range rows {
		for _, f := range r.followUps {
			ids = append(ids, f.ID.String())
			if f.DedupKey != "" {
				keys = append(keys, f.DedupKey)
			}
		}
	}
	if len(ids) == 0 {
		return nil, nil, nil
	}
	filter := bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}
	if len(keys) > 0 {
		filter = bson.D{{Key: "$or", Value: bson.A{filter, bson.D{{Key: "dedup_key", Value: bson.D{{Key: "$in", Value: keys}}}}}}}
	}
	cursor, err := s.intents.Find(ctx, filter, options.Find().SetProjection(bson.D{{Key: "dedup_key", Value: 1}}))
	if err != nil {
		return nil, nil, err
	}
	var found []struct {
		ID       bson.RawValue `bson:"_id"`
		DedupKey bson.RawValue `bson:"dedup_key"`
	}
	if err := cursor.All(ctx, &found); err != nil {
		return nil, nil, err
	}
	taken := make(map[[2]string]bool, 2*len(found)) // by which field, and its value
	for _, f := range found {
		if id, ok := f.ID.StringValueOK(); ok {
			taken[[2]string{"_id", id}] = true
		}
		if key, ok := f.DedupKey.StringValueOK(); ok {
			taken[[2]string{"dedup_key", key}] = true
		}
	}
	for _, r := range rows {
		for _, f := range r.followUps {
			if f.gone || f.DedupKey != "" && taken[[2]string{"dedup_key", f.DedupKey}] {
				continue
			}
			if taken[[2]string{"_id", f.ID.String()}] {
				switch there, err := s.renumber(ctx, r, f); {
				case err != nil:
					return nil, nil, err
				case there:
					continue
				}
			}
			if f.failure == nil {
				intents = append(intents, ownedFollowUp{f, r})
			} else {
				letters = append(letters, ownedFollowUp{f, r})
			}
			if f.DedupKey != "" {
				taken[[2]string{"dedup_key", f.DedupKey}] = true
			}
		}
	}
	return intents, letters, nil
}

// renumber gives a follow-up whose _id is taken the next number that is free, unless what stands there is that
// follow-up.
func (s *Store) renumber(ctx context.Context, r *row, f *followUp) (there bool, err error) {
	if r.Decision.Status == outbox.StatusDone {
		raw, err := s.intents.FindOne(ctx, bson.D{{Key: "_id", Value: f.ID.String()}},
			options.FindOne().SetProjection(bson.D{{Key: "kind", Value: 1}, {Key: "payload", Value: 1}})).Raw()
		if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
			return false, err
		}
		if doc, err := decode(raw); err == nil && f.Same(doc) {
			return true, nil
		}
	}
	ids := make(bson.A, 0, mostNumbers)
	for n := f.number + 1; n <= f.number+mostNumbers; n++ {
		ids = append(ids, f.base.Numbered(max(2, n)).ID.String())
	}
	cursor, err := s.intents.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}, options.Find().SetProjection(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		return false, err
	}
	var found []struct {
		ID string `bson:"_id"`
	}
	if err := cursor.All(ctx, &found); err != nil {
		return false, err
	}
	for i, id := range ids {
		if !slices.ContainsFunc(found, func(d struct {
			ID string `bson:"_id"`
		}) bool {
			return d.ID == id
		}) {
			f.number = max(2, f.number+1+i)
			f.FollowUp = f.base.Numbered(f.number)
			return false, nil
		}
	}
	f.gone = true
	r.note(outbox.CodeFollowUpRefused, f.Lost("all of its ids are taken"))
	return true, nil
}

func (s *Store) insert(ctx context.Context, list []ownedFollowUp, now time.Time, bypass bool) error {
	if len(list) == 0 {
		return nil
	}
	docs := make([]bson.D, len(list))
	for i, f := range list {
		docs[i] = f.document(now)
	}
	_, err := s.intents.InsertMany(ctx, docs, options.InsertMany().SetBypassDocumentValidation(bypass))
	if at, ok, why := refusedAt(err); ok {
		list[at].refuse(list[at].row, why)
		return &degraded{why}
	}
	var owners []*row
	for _, f := range list {
		if n := len(owners); n == 0 || owners[n-1] != f.row {
			owners = append(owners, f.row)
		}
	}
	return holding(err, false, owners)
}

// writeBack updates the rows' business documents. Values are literal and names are paths, as $set has them.
func (s *Store) writeBack(ctx context.Context, rows []*row) error {
	byCollection := make(map[string][]*row)
	for _, r := range rows {
		if r.update != nil {
			byCollection[r.update.Collection] = append(byCollection[r.update.Collection], r)
		}
	}
	for name, rows := range byCollection {
		if err := s.writeBackTo(ctx, s.db.Collection(name), rows); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) writeBackTo(ctx context.Context, target *mongo.Collection, rows []*row) error {
	models := make([]mongo.WriteModel, len(rows))
	for i, r := range rows {
		models[i] = mongo.NewUpdateOneModel().SetFilter(identity(r.update.ID)).SetUpdate(bson.D{{Key: "$set", Value: encodeDocument(r.update.Set)}})
	}
	drop := func(r *row, note string, err error) error {
		r.update = nil
		r.note(outbox.CodeWriteBackMissed, note)
		return &degraded{err}
	}
	result, err := target.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(true))
	if at, ok, why := refusedAt(err); ok {
		return drop(rows[at], "write_back was not made: "+reason(why), why)
	}
	if err != nil {
		if refusal(err) && len(rows) == 1 { // such as a collection that the worker may not write to
			return drop(rows[0], "write_back was not made: "+reason(err), err)
		}
		return holding(err, false, rows)
	}
	if result.MatchedCount == int64(len(rows)) {
		return nil
	}
	var missed error
	for _, r := range rows {
		switch err := target.FindOne(ctx, identity(r.update.ID), options.FindOne().SetProjection(bson.D{{Key: "_id", Value: 1}})).Err(); {
		case errors.Is(err, mongo.ErrNoDocuments):
			missed = drop(r, outbox.UpdateMissed(r.update.Update), err)
		case err != nil:
			return holding(err, false, []*row{r})
		}
	}
	return missed
}
