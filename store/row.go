package store

import (
	"math"
	"slices"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// row is one settlement on its way into the database.
type row struct {
	outbox.Settlement
	at  int           // its place in the batch
	id  any           // its _id as the driver writes it
	raw bson.RawValue // the same, written
	key string        // its _id as the key of a map

	followUps []*followUp
	update    *update
	to        string // the target of update
	notes     []outbox.Note
	noted     *outbox.Failure // what went wrong beside the outcome; it takes last_error's code
	lean      bool            // the document has no room for more than the outcome
	waits     *wait           // set: only the outcome is recorded, the consequences have to wait
	eager     bool            // its business document is written first, so that it is held as briefly as can be
}

// wait says why a row's consequences are not written now, and when they are tried again.
type wait struct {
	why   string
	again time.Duration
}

// written answers for a row whose document took it.
func (r *row) written() outbox.Settled {
	if r.waits != nil {
		return outbox.Settled{Waiting: r.waits.why, Again: r.waits.again}
	}
	return outbox.Settled{Notes: r.notes}
}

// size is about how many bytes the row takes in a command without its consequences, at most.
func (r *row) size() int {
	const fixed, record = 4 << 10, 1200
	return fixed + record*len(r.Intent.History) + 4*len(r.raw.Value)
}

// rowField is where the pipeline keeps a document's row between its stages. No document is stored with it.
const rowField = "outboxd_row"

// fence matches the documents of the rows whose token still holds. No two rows may have the same _id.
func fence(rows []*row) bson.D {
	ids := idsOf(rows)
	same := true
	tokens := array(rows, func(r *row) bson.RawValue {
		same = same && r.Intent.Lease.Token == rows[0].Intent.Lease.Token
		return bson.RawValue{Type: bson.TypeString, Value: bsoncore.AppendString(nil, r.Intent.Lease.Token)}
	})
	among := bson.E{Key: "_id", Value: expr.In(ids)}
	if same { // they were claimed together
		return bson.D{among, {Key: "lease.token", Value: rows[0].Intent.Lease.Token}}
	}
	return bson.D{among, expr.Expr(expr.Eq("$lease.token", pick(ids, tokens)))}
}

// idsOf returns the rows' _ids as one BSON array.
func idsOf(rows []*row) bson.RawValue {
	return array(rows, func(r *row) bson.RawValue { return r.raw })
}

// array builds a BSON array of one value of each row, without reflection.
func array(rows []*row, value func(*row) bson.RawValue) bson.RawValue {
	at, data := bsoncore.AppendArrayStart(nil)
	for i, r := range rows {
		v := value(r)
		data = bsoncore.AppendHeader(data, bsoncore.Type(v.Type), strconv.Itoa(i))
		data = append(data, v.Value...)
	}
	data, _ = bsoncore.AppendArrayEnd(data, at) // it fails only where the start is not one
	return bson.RawValue{Type: bson.TypeArray, Value: data}
}

// pick chooses the entry of a table that stands where the document's _id stands among ids. The server makes a hash map
// of a literal array that it searches.
func pick(ids, table any) bson.D {
	return expr.ArrayElemAt(expr.Literal(table), expr.IndexOfArray(expr.Literal(ids), "$_id"))
}

// settling returns the one update that writes the decisions of all rows: a literal table of the rows, and expressions
// that pick each document's own. It asks of each document only what the rows differ in, since most batches are of one
// outcome. Fields that the contract does not name here are left alone.
func (s *Store) settling(rows []*row) mongo.Pipeline {
	count := make(map[string]int) // rows that have a field, or one of the statuses and marks
	var buffer []byte
	table := array(rows, func(r *row) bson.RawValue {
		buffer = r.entry(buffer[:0], s.retention, func(field string) { count[field]++ })
		count[string(r.status())]++
		if r.Decision.Attempts == 0 {
			count["unattempted"]++
		}
		if r.Intent.Outcome != nil {
			count["recorded"]++
		}
		switch r.Decision.Ambiguous {
		case outbox.SetMark:
			count["marked"]++
		case outbox.ClearMark:
			count["cleared"]++
		case outbox.KeepMark:
		}
		return bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: buffer}
	})
	own := func(name string) string { return "$" + rowField + "." + name }
	// where returns then for the rows that count under the name, and otherwise for the others.
	where := func(name string, condition, then, otherwise any) any {
		switch count[name] {
		case 0:
			return otherwise
		case len(rows):
			return then
		default:
			return expr.Cond(condition, then, otherwise)
		}
	}
	is := func(name string, value any) bson.D { return expr.Eq(own(name), value) }
	has := func(name string, then, otherwise any) any {
		return where(name, expr.Present(own(name)), then, otherwise)
	}
	later := func(name string) bson.D { return expr.Add("$$NOW", own(name)) }
	const remove = "$$REMOVE"

	set := bson.D{
		{Key: "status", Value: own("status")},
		{Key: "attempts", Value: own("attempts")},
		{Key: "lease", Value: remove},
		{Key: "due_at", Value: has("delay", later("delay"), remove)},
		{Key: "ambiguous_at", Value: where("marked", is("mark", int(outbox.SetMark)), expr.IfNull("$ambiguous_at", "$$NOW"),
			where("cleared", is("mark", int(outbox.ClearMark)), remove, "$ambiguous_at"))},
		{Key: "last_error", Value: has("error", expr.MergeObjects(own("error"), bson.D{{Key: "at", Value: "$$NOW"}}), "$last_error")},
		{Key: "history", Value: has("history", own("history"), "$history")},
		{Key: "dropped", Value: has("dropped", own("dropped"), "$dropped")},
		{Key: "result", Value: has("result", own("result"), "$result")},
		{Key: "done_at", Value: where(string(outbox.StatusDone), is("status", outbox.StatusDone), "$$NOW", remove)},
		{Key: "purge_at", Value: has("retention", later("retention"), remove)},
		{Key: "dead_at", Value: where(string(outbox.StatusDead), is("status", outbox.StatusDead), "$$NOW", remove)},
		{Key: "dead_reason", Value: has("reason", own("reason"), remove)},
	}
	if count["outcome"]+count["recorded"] > 0 {
		since := expr.IfNull(own("outcome.at"), "$$NOW")
		set = append(set, bson.E{Key: "outcome", Value: has("outcome",
			expr.MergeObjects(own("outcome"), bson.D{{Key: "at", Value: since}}),
			expr.Cond(is("status", outbox.StatusPending), "$outcome", remove))})
	}
	set = slices.DeleteFunc(set, func(e bson.E) bool { return e.Value == "$"+e.Key }) // set to what it is
	pipeline := mongo.Pipeline{
		expr.Set(bson.D{{Key: rowField, Value: pick(idsOf(rows), table)}}),
		expr.Set(set),
		expr.Unset(rowField),
	}
	if count["unattempted"] > 0 {
		pipeline = append(pipeline, expr.Set(bson.D{{Key: "first_attempt_at", Value: untouched()}}))
	}
	return pipeline
}

// traces are the fields of the worker that only an intent may have which was claimed before.
var traces = [...]string{"ambiguous_at", "dropped", "generation", "history", "last_error", "outcome", "progress", "resolved", "result", "retried"}

// untouched returns first_attempt_at without the claim that was given back: none, unless the document shows that there
// was more than that. What has none is taken for a producer's insert, which may carry nothing of the worker's.
func untouched() bson.D {
	missing := bson.A{expr.Eq("$attempts", 0)}
	for _, field := range traces {
		missing = append(missing, expr.Missing("$"+field))
	}
	return expr.Cond(expr.And(missing...), "$$REMOVE", "$first_attempt_at")
}

// status is the one that the document gets.
func (r *row) status() outbox.Status {
	if r.waits != nil {
		return outbox.StatusPending
	}
	return r.Decision.Status
}

// entry appends the row's part of the table, as a document, and tells of each field. What is absent is left alone or
// removed. It is written without reflection: it is most of what a busy worker sends.
func (r *row) entry(to []byte, retention time.Duration, has func(field string)) []byte {
	d := r.Decision
	start, to := bsoncore.AppendDocumentStart(to)
	field := func(name string) string { has(name); return name }
	to = bsoncore.AppendStringElement(to, field("status"), string(r.status()))
	to = bsoncore.AppendInt32Element(to, field("attempts"), int32(d.Attempts))
	to = bsoncore.AppendInt32Element(to, field("mark"), int32(d.Ambiguous))
	switch delay := d.Delay; r.status() {
	case outbox.StatusPending:
		if r.waits != nil {
			delay = r.waits.again
		}
		to = bsoncore.AppendInt64Element(to, field("delay"), max(0, delay.Milliseconds()))
	case outbox.StatusDone:
		to = bsoncore.AppendInt64Element(to, field("retention"), retention.Milliseconds())
	case outbox.StatusDead:
		to = bsoncore.AppendStringElement(to, field("reason"), string(d.Reason))
	default: // no decision leads there
	}
	if f := outbox.Beside(d.Failure, r.noted); f != nil {
		if r.lean {
			f = &outbox.Failure{Class: f.Class, Code: f.Code}
		}
		to = appendFailure(bsoncore.AppendHeader(to, bsoncore.TypeEmbeddedDocument, field("error")), f)
	}
	if history, dropped := r.History(); len(history) > 0 && !r.lean {
		var list int32
		list, to = bsoncore.AppendArrayElementStart(to, field("history"))
		for i, record := range history {
			to = appendRecord(bsoncore.AppendHeader(to, bsoncore.TypeEmbeddedDocument, strconv.Itoa(i)), record)
		}
		to = end(to, list)
		if dropped > 0 {
			to = bsoncore.AppendInt32Element(to, field("dropped"), int32(min(dropped, math.MaxInt32)))
		}
	}
	switch {
	case r.waits != nil:
		to = r.appendOutcome(bsoncore.AppendHeader(to, bsoncore.TypeEmbeddedDocument, field("outcome")))
	case d.Receipt != nil:
		to = appendReceipt(bsoncore.AppendHeader(to, bsoncore.TypeEmbeddedDocument, field("result")), d.Receipt)
	}
	return end(to, start)
}

// appendOutcome appends what is known of an intent whose consequences have to wait.
func (r *row) appendOutcome(to []byte) []byte {
	d, tries := r.Decision, 1
	start, to := bsoncore.AppendDocumentStart(to)
	to = bsoncore.AppendStringElement(to, "event", d.Event.String())
	to = appendText(to, "reason", string(d.Reason))
	to = appendText(to, "class", string(d.Outcome))
	to = bsoncore.AppendInt32Element(to, "attempts", int32(d.Attempts))
	if d.Receipt != nil {
		to = appendReceipt(bsoncore.AppendHeader(to, bsoncore.TypeEmbeddedDocument, "receipt"), d.Receipt)
	}
	if f := d.Failure; f != nil {
		if r.lean {
			f = &outbox.Failure{Class: f.Class, Code: f.Code}
		}
		to = appendFailure(bsoncore.AppendHeader(to, bsoncore.TypeEmbeddedDocument, "failure"), f)
	}
	if before := r.Intent.Outcome; before != nil {
		tries = before.Tries + 1
		if !before.At.IsZero() {
			to = bsoncore.AppendDateTimeElement(to, "at", before.At.UnixMilli())
		}
	}
	to = bsoncore.AppendInt32Element(to, "tries", int32(tries))
	return end(appendText(to, "why", r.waits.why), start)
}

func appendReceipt(to []byte, receipt *outbox.Receipt) []byte {
	start, to := bsoncore.AppendDocumentStart(to)
	to = bsoncore.AppendStringElement(to, "provider", receipt.Provider)
	to = appendText(to, "id", receipt.ID)
	return end(appendText(to, "status", receipt.Status), start)
}

// end closes the document or array that begins at start.
func end(to []byte, start int32) []byte {
	to, _ = bsoncore.AppendDocumentEnd(to, start) // it fails only where the start is not one
	return to
}

func appendText(to []byte, name, value string) []byte {
	if value == "" {
		return to
	}
	return bsoncore.AppendStringElement(to, name, value)
}

func appendFailure(to []byte, failure *outbox.Failure) []byte {
	f := failure.Stored()
	start, to := bsoncore.AppendDocumentStart(to)
	to = bsoncore.AppendStringElement(to, "class", string(f.Class))
	to = bsoncore.AppendStringElement(to, "code", f.Code)
	to = appendText(to, "message", f.Message)
	to = appendText(to, "provider", f.Provider)
	to = appendText(to, "provider_code", f.ProviderCode)
	if f.HTTPStatus != 0 {
		to = bsoncore.AppendInt32Element(to, "http_status", int32(f.HTTPStatus))
	}
	return end(appendText(to, "request_id", f.RequestID), start)
}

// failureDocument returns a failure as it stands in last_error, but for its instant.
func failureDocument(failure *outbox.Failure) bson.D {
	var d bson.D
	if err := bson.Unmarshal(appendFailure(nil, failure), &d); err != nil { // written just now
		panic(err)
	}
	return d
}

func appendRecord(to []byte, r outbox.Record) []byte {
	start, to := bsoncore.AppendDocumentStart(to)
	date := func(name string, at time.Time) {
		if !at.IsZero() {
			to = bsoncore.AppendDateTimeElement(to, name, at.UnixMilli())
		}
	}
	number := func(name string, n int) {
		if n != 0 {
			to = bsoncore.AppendInt32Element(to, name, int32(n))
		}
	}
	text := func(name, value string) { to = appendText(to, name, value) }
	text("what", string(r.What))
	number("attempt", r.Attempt)
	date("at", r.At)
	if r.Worker != "" {
		to = bsoncore.AppendInt64Element(to, "ms", r.Took.Milliseconds())
	}
	text("outcome", string(r.Outcome))
	text("code", r.Code)
	text("provider_code", r.ProviderCode)
	number("http_status", r.HTTPStatus)
	text("request_id", r.RequestID)
	text("ref", r.Ref)
	text("worker", r.Worker)
	text("by", r.By)
	text("why", r.Why)
	text("job", r.Job)
	date("first", r.First)
	date("last", r.Last)
	number("n", r.N)
	return end(to, start)
}
