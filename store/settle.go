package store

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// maxRows bounds the settlements in one command.
const maxRows = 500

// maxBytes bounds what one command or transaction carries. The server takes 16 MiB in one command.
const maxBytes = 8 << 20

// Settle writes what was decided about claimed intents, each only if its claim's token still holds, with its
// consequences. It returns one answer for each settlement, in their order. After an error nothing is known about any of
// them, and the same call may be repeated: what an earlier try wrote is recognised and answered as written.
//
// Where consequences cannot be written now, because somebody else holds what they concern, the outcome alone is
// recorded in the intent, and the answer is Waiting. Where somebody holds the intent itself nothing is written, and the
// answer is Busy. Neither keeps the others waiting.
//
// A lost lease is an answer, no error. An _id may stand in the batch under several tokens.
func (s *Store) Settle(ctx context.Context, batch []outbox.Settlement) ([]outbox.Settled, error) {
	doing := fmt.Sprintf("settle %d intents", len(batch))
	ctx, cancel := s.bound(ctx)
	defer cancel()
	answers := make([]outbox.Settled, len(batch))
	rounds, err := rounds(batch)
	if err != nil {
		return nil, failed(err, "%s", doing)
	}
	for _, rows := range rounds {
		if err := s.settleRound(ctx, rows, answers); err != nil {
			return nil, failed(err, "%s", doing)
		}
	}
	return answers, nil
}

// rounds splits a batch into parts in which no _id stands twice, each in the order of the batch.
func rounds(batch []outbox.Settlement) ([][]*row, error) {
	var rounds [][]*row
	times := make(map[string]int, len(batch))
	for i, settlement := range batch {
		r, err := newRow(i, settlement)
		if err != nil {
			return nil, err
		}
		n := times[r.key]
		times[r.key]++
		if n == len(rounds) {
			rounds = append(rounds, nil)
		}
		rounds[n] = append(rounds[n], r)
	}
	return rounds, nil
}

func newRow(at int, settlement outbox.Settlement) (*row, error) {
	r := &row{Settlement: settlement, at: at, id: idOf(settlement.Intent)}
	var err error
	r.raw, err = rawOf(r.id)
	r.key = keyOf(r.raw)
	return r, err
}

// settleRound settles rows with different _ids: those without consequences by few commands, the others in transactions.
func (s *Store) settleRound(ctx context.Context, rows []*row, answers []outbox.Settled) error {
	var simple, more []*row
	for _, r := range rows {
		if r.Brings() {
			more = append(more, r)
		} else {
			simple = append(simple, r)
		}
	}
	if err := s.settleAlone(ctx, simple, answers); err != nil {
		return err
	}
	return s.settleParts(ctx, more, answers)
}

// settleAlone settles rows without consequences.
func (s *Store) settleAlone(ctx context.Context, rows []*row, answers []outbox.Settled) error {
	for len(rows) > 0 {
		n, size := 0, 0
		for n < min(len(rows), maxRows) && (n == 0 || size+rows[n].size() <= maxBytes) {
			size += rows[n].size()
			n++
		}
		if err := s.settleSimple(ctx, rows[:n], answers); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// settleSimple writes rows by one command.
func (s *Store) settleSimple(ctx context.Context, rows []*row, answers []outbox.Settled) error {
	short, cancel := s.briefly(ctx, len(rows))
	result, err := s.updateMany(short, fence(rows), s.settling(rows), "_id")
	cancel()
	switch {
	case err == nil && result.MatchedCount == int64(len(rows)):
		for _, r := range rows {
			answers[r.at] = r.written()
		}
		return nil
	case err == nil:
		return s.judge(ctx, rows, answers)
	case ofDocument(err) && (len(rows) > 1 || tooLarge(err) && !rows[0].lean):
		return s.settleEach(ctx, rows, answers)
	case ofDocument(err) && rows[0].waits != nil: // not even that has room in it: the claim must hold it
		answers[rows[0].at] = outbox.Settled{Busy: reason(err)}
		return nil
	case ctx.Err() == nil && outOfTime(err):
		return s.settleTogether(ctx, rows, answers)
	default:
		return err
	}
}

// judge answers for rows of which the fence refused some, by what their documents are now. The update before it was
// acknowledged by a majority, and with it whatever an earlier try wrote.
func (s *Store) judge(ctx context.Context, rows []*row, answers []outbox.Settled) error {
	ids := make(bson.A, len(rows))
	for i, r := range rows {
		ids[i] = r.id
	}
	cursor, err := s.intents.Find(ctx, bson.D{{Key: "_id", Value: expr.In(ids)}},
		options.Find().SetHint(expr.Fields("_id")).SetLimit(int64(len(ids))).SetBatchSize(int32(len(ids))).SetProjection(expr.Fields("status", "attempts", "lease", "history", "last_error", "outcome")))
	if err != nil {
		return err
	}
	defer cursor.Close(context.WithoutCancel(ctx))
	found := make(map[string]*outbox.Intent, len(rows))
	for cursor.Next(ctx) {
		doc, err := decode(cursor.Current)
		if err != nil {
			return err
		}
		in := outbox.Parse(doc, s.rules) // its problems, the missing payload among them, are of no interest here
		found[keyOf(cursor.Current.Lookup("_id"))] = in
	}
	if err := cursor.Err(); err != nil {
		return err
	}
	for _, r := range rows {
		answers[r.at] = r.Repeated(found[r.key])
	}
	return nil
}
