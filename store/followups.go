package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

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
	filter := bson.D{{Key: "_id", Value: expr.In(ids)}}
	if len(keys) > 0 {
		filter = expr.Or(filter, bson.D{{Key: "dedup_key", Value: expr.In(keys)}})
	}
	cursor, err := s.intents.Find(ctx, filter, options.Find().SetProjection(expr.Fields("dedup_key")))
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
			options.FindOne().SetProjection(expr.Fields("kind", "payload"))).Raw()
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
	cursor, err := s.intents.Find(ctx, bson.D{{Key: "_id", Value: expr.In(ids)}}, options.Find().SetProjection(expr.Fields("_id")))
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

// insert inserts follow-ups. One that is refused is degraded, and the transaction tried again.
func (s *Store) insert(ctx context.Context, list []ownedFollowUp, now time.Time, bypass bool) (*setback, error) {
	if len(list) == 0 {
		return nil, nil
	}
	docs := make([]bson.D, len(list))
	for i, f := range list {
		docs[i] = f.document(now)
	}
	_, err := s.intents.InsertMany(ctx, docs, options.InsertMany().SetBypassDocumentValidation(bypass))
	if at, ok, why := refusedAt(err); ok {
		list[at].refuse(list[at].row, why)
		return &setback{retry: true, why: why}, nil
	}
	var owners []*row
	for _, f := range list {
		if n := len(owners); n == 0 || owners[n-1] != f.row {
			owners = append(owners, f.row)
		}
	}
	return held(err, false, owners)
}
