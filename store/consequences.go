package store

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/outbox"
)

// followUp is an intent that a row brings along. What is wrong with it moves it from an intent to a dead letter, from
// there to none at all, never back: so the tries of a transaction come to an end.
type followUp struct {
	outbox.FollowUp
	base    outbox.FollowUp // as it is numbered first
	number  int             // of the death that it belongs to, or higher where that id is taken
	failure *outbox.Failure // set: it is kept as a dead letter with this last_error
	gone    bool            // it exists already, or cannot be kept at all
}

// update is the write_back that a row brings along.
type update struct{ outbox.Update }

// bring works out the row's consequences, which depend on the settlement alone, and returns about how many bytes they
// take.
func (s *Store) bring(r *row) (size int) {
	r.eager = r.Intent.Outcome != nil
	followUps, u := r.Intent.Consequences(r.Decision, s.rules)
	for _, f := range followUps {
		number := r.Number()
		up := &followUp{FollowUp: f.Numbered(number), base: f, number: number, failure: f.Refused("")}
		weight := sizeOf(f.Document)
		if weight > maxDocument {
			up.gone = true
			r.note(outbox.CodeFollowUpRefused, f.Lost("it is larger than a document can be"))
			continue
		}
		size += weight
		r.followUps = append(r.followUps, up)
	}
	switch {
	case u == nil:
	case len(u.Problems) > 0:
		r.note(outbox.CodeWriteBackMissed, outbox.UpdateRefused(*u))
	default:
		r.update = &update{*u}
		size += sizeOf(u.Set)
		raw, err := rawOf(encode(u.ID))
		if err == nil {
			r.to = u.Collection + "\x00" + keyOf(raw)
		}
	}
	return size
}

// forget drops the consequences, which can be large. They can be worked out again.
func (r *row) forget() { r.followUps, r.update = nil, nil }

// target names the business document that the row updates; empty if there is none.
func (r *row) target() string {
	if r.update == nil {
		return ""
	}
	return r.to
}

// sizeOf returns about how many bytes a value takes, at most, as outbox.Parse documents it.
func sizeOf(v any) int {
	const fixed = 16
	switch v := v.(type) {
	case string:
		return fixed + len(v)
	case outbox.ID:
		return fixed + len(v.String())
	case map[string]any:
		size := fixed
		for key, item := range v {
			size += len(key) + sizeOf(item)
		}
		return size
	case []any:
		size := fixed
		for _, item := range v {
			size += 4 + sizeOf(item)
		}
		return size
	case outbox.Unsupported:
		if raw, ok := v.Value.(*bson.RawValue); ok {
			return fixed + len(raw.Value)
		}
		return fixed
	default:
		return fixed
	}
}

// note keeps what went wrong beside the row's outcome; the first of it becomes last_error.
func (r *row) note(code, text string) {
	r.notes = append(r.notes, outbox.Note{Code: code, Text: text})
	if r.noted != nil {
		return
	}
	class := outbox.Invalid
	if code == outbox.CodeWriteBackMissed {
		class = outbox.Done
		if r.Decision.Failure != nil {
			class = r.Decision.Failure.Class
		}
	}
	r.noted = &outbox.Failure{Class: class, Code: code, Message: text}
}

// refuse degrades the follow-up of a row because the database did not take it.
func (f *followUp) refuse(r *row, err error) {
	switch {
	case hasCode(err, codeDuplicateKey): // it exists, by its _id or its dedup_key
		f.gone = true
	case f.failure == nil:
		f.failure = f.Refused(reason(err))
	default:
		f.gone = true
		r.note(outbox.CodeFollowUpRefused, f.Lost(reason(err)))
	}
}

// document returns the follow-up as it is inserted at the given instant.
func (f *followUp) document(now time.Time) bson.D {
	doc := maps.Clone(f.Document)
	if f.failure == nil {
		doc["due_at"] = now.Add(f.Delay)
		return encodeDocument(doc)
	}
	doc["status"], doc["dead_reason"], doc["dead_at"] = string(outbox.StatusDead), string(outbox.ReasonInvalid), now
	delete(doc, "last_error")
	return append(encodeDocument(doc), bson.E{Key: "last_error", Value: append(failureDocument(f.failure), bson.E{Key: "at", Value: bson.NewDateTimeFromTime(now)})})
}

// giveUp drops what the row would bring along, and says so.
func (r *row) giveUp(err error) {
	left := 0
	for _, f := range r.followUps {
		if !f.gone {
			left++
		}
	}
	if left > 0 {
		r.note(outbox.CodeFollowUpRefused, fmt.Sprintf("%d follow-ups were not inserted: %s", left, reason(err)))
	}
	if r.update != nil {
		r.note(outbox.CodeWriteBackMissed, "write_back was not made: "+reason(err))
	}
	r.followUps, r.update = nil, nil
}

// refusedAt returns which of the writes of an insert or bulk write the server refused, and why; false for an error that
// is not about one of them, or that is no refusal.
func refusedAt(err error) (at int, refused bool, why error) {
	if !refusal(err) {
		return 0, false, nil
	}
	if bulk, ok := errors.AsType[mongo.BulkWriteException](err); ok && len(bulk.WriteErrors) > 0 {
		first := bulk.WriteErrors[0]
		return first.Index, true, first.WriteError
	}
	return 0, false, nil
}
