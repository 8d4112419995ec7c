package store

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/outbox"
)

// row is one settlement on its way into the database.
type row struct {
	outbox.Settlement
	at  int    // its place in the batch
	id  any    // its _id as the driver writes it
	key string // its _id as the key of a map

	followUps []*followUp
	update    *update
	notes     []outbox.Note
	noted     *outbox.Failure // what went wrong beside the outcome; it takes last_error's code
	lean      bool            // the document has no room for more than the outcome
}

// rowField is where the pipeline keeps a document's row between its stages. No document is stored with it.
const rowField = "outboxd_row"

// fence matches the documents of the rows whose token still holds. No two rows may have the same _id.
func fence(rows []*row) bson.D {
	ids, tokens := make(bson.A, len(rows)), make(bson.A, len(rows))
	for i, r := range rows {
		ids[i], tokens[i] = r.id, r.Intent.Lease.Token
	}
	return bson.D{
		{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}},
		{Key: "$expr", Value: bson.D{{Key: "$eq", Value: bson.A{"$lease.token", pick(ids, tokens)}}}},
	}
}

// pick chooses the entry of a table that stands where the document's _id stands among ids. The server makes a hash map
// of a literal array that it searches.
func pick(ids, table bson.A) bson.D {
	return bson.D{{Key: "$arrayElemAt", Value: bson.A{literal(table), bson.D{{Key: "$indexOfArray", Value: bson.A{literal(ids), "$_id"}}}}}}
}

// settling returns the one update that writes the decisions of all rows: a literal table of the rows, and expressions
// that pick each document's own. Fields that the contract does not name here are left alone.
func (s *Store) settling(rows []*row) mongo.Pipeline {
	ids, table := make(bson.A, len(rows)), make(bson.A, len(rows))
	for i, r := range rows {
		ids[i], table[i] = r.id, r.entry(s.retention)
	}
	own := func(name string) string { return "$" + rowField + "." + name }
	when := func(condition, then, otherwise any) bson.D {
		return bson.D{{Key: "$cond", Value: bson.A{condition, then, otherwise}}}
	}
	is := func(name string, value any) bson.D { return bson.D{{Key: "$eq", Value: bson.A{own(name), value}}} }
	has := func(name string) bson.D {
		return bson.D{{Key: "$ne", Value: bson.A{bson.D{{Key: "$type", Value: own(name)}}, "missing"}}}
	}
	later := func(name string) bson.D { return bson.D{{Key: "$add", Value: bson.A{"$$NOW", own(name)}}} }
	history := when(bson.D{{Key: "$isArray", Value: bson.A{"$history"}}}, "$history", bson.A{})
	const remove = "$$REMOVE"

	return mongo.Pipeline{
		{{Key: "$set", Value: bson.D{{Key: rowField, Value: pick(ids, table)}}}},
		{{Key: "$set", Value: bson.D{
			{Key: "status", Value: own("status")},
			{Key: "attempts", Value: own("attempts")},
			{Key: "lease", Value: remove},
			{Key: "due_at", Value: when(has("delay"), later("delay"), remove)},
			{Key: "first_attempt_at", Value: when(is("attempts", 0), remove, "$first_attempt_at")},
			{Key: "ambiguous_at", Value: when(is("mark", int(outbox.SetMark)), bson.D{{Key: "$ifNull", Value: bson.A{"$ambiguous_at", "$$NOW"}}},
				when(is("mark", int(outbox.ClearMark)), remove, "$ambiguous_at"))},
			{Key: "last_error", Value: when(has("error"), bson.D{{Key: "$mergeObjects", Value: bson.A{own("error"), bson.D{{Key: "at", Value: "$$NOW"}}}}}, "$last_error")},
			{Key: "history", Value: when(has("history"),
				bson.D{{Key: "$slice", Value: bson.A{bson.D{{Key: "$concatArrays", Value: bson.A{history, own("history")}}}, -outbox.MaxHistory}}},
				"$history")},
			{Key: "result", Value: when(has("result"), own("result"), "$result")},
			{Key: "done_at", Value: when(is("status", outbox.StatusDone), "$$NOW", remove)},
			{Key: "purge_at", Value: when(has("retention"), later("retention"), remove)},
			{Key: "dead_at", Value: when(is("status", outbox.StatusDead), "$$NOW", remove)},
			{Key: "dead_reason", Value: when(has("reason"), own("reason"), remove)},
		}}},
		{{Key: "$unset", Value: rowField}},
	}
}

// entry returns the row's part of the table. What is absent is left alone or removed.
func (r *row) entry(retention time.Duration) bson.D {
	d := r.Decision
	e := bson.D{{Key: "status", Value: d.Status}, {Key: "attempts", Value: d.Attempts}, {Key: "mark", Value: int(d.Ambiguous)}}
	add := func(name string, value any) { e = append(e, bson.E{Key: name, Value: value}) }
	switch d.Status {
	case outbox.StatusPending:
		add("delay", max(0, d.Delay.Milliseconds()))
	case outbox.StatusDone:
		add("retention", retention.Milliseconds())
	case outbox.StatusDead:
		add("reason", d.Reason)
	}
	if f := outbox.Beside(r.Decision.Failure, r.noted); f != nil {
		if r.lean {
			f = &outbox.Failure{Class: f.Class, Code: f.Code}
		}
		add("error", failureDocument(f))
	}
	if records := r.Records(); len(records) > 0 && !r.lean {
		list := make(bson.A, len(records))
		for i, record := range records {
			list[i] = recordDocument(record)
		}
		add("history", list)
	}
	if d.Receipt != nil {
		add("result", receiptDocument(*d.Receipt))
	}
	return e
}

func failureDocument(failure *outbox.Failure) bson.D {
	f := failure.Stored()
	d := bson.D{{Key: "class", Value: f.Class}, {Key: "code", Value: f.Code}}
	text := func(name, value string) {
		if value != "" {
			d = append(d, bson.E{Key: name, Value: value})
		}
	}
	text("message", f.Message)
	text("provider", f.Provider)
	text("provider_code", f.ProviderCode)
	if f.HTTPStatus != 0 {
		d = append(d, bson.E{Key: "http_status", Value: f.HTTPStatus})
	}
	text("request_id", f.RequestID)
	return d
}

func recordDocument(r outbox.Record) bson.D {
	d := bson.D{{Key: "attempt", Value: r.Attempt}}
	if !r.At.IsZero() {
		d = append(d, bson.E{Key: "at", Value: bson.NewDateTimeFromTime(r.At)})
	}
	if r.Worker != "" {
		d = append(d, bson.E{Key: "ms", Value: r.Took.Milliseconds()})
	}
	d = append(d, bson.E{Key: "outcome", Value: r.Outcome})
	if r.Code != "" {
		d = append(d, bson.E{Key: "code", Value: r.Code})
	}
	if r.Worker != "" {
		d = append(d, bson.E{Key: "worker", Value: r.Worker})
	}
	return d
}

func receiptDocument(r outbox.Receipt) bson.D {
	d := bson.D{{Key: "provider", Value: r.Provider}}
	if r.ID != "" {
		d = append(d, bson.E{Key: "id", Value: r.ID})
	}
	if r.Status != "" {
		d = append(d, bson.E{Key: "status", Value: r.Status})
	}
	return d
}
