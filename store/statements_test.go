package store

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
)

var writeStatements = flag.Bool("write-statements", false, "write testdata/statements.json anew")

// What the store sends for its main writes, to the byte: canonical extended JSON has the type of each value and the
// order of all fields. A change here is a change of what the database is asked. After one that is meant, run the test
// with -write-statements.
func TestStatements(t *testing.T) {
	t.Parallel()
	const file = "testdata/statements.json"
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := &Store{retention: time.Hour, cancelled: 2 * time.Hour}
	intent := func(id, token string, more func(*outbox.Intent)) *outbox.Intent {
		in := &outbox.Intent{ID: outbox.NewStringID(id), Lease: outbox.Lease{Token: token, Owner: "w", At: at}, Attempts: 1}
		if more != nil {
			more(in)
		}
		return in
	}
	failure := &outbox.Failure{Class: outbox.Transient, Code: outbox.CodeConflict, Message: "it was not sent"}
	receipt := &outbox.Receipt{Provider: "twilio", ID: "SM1", Status: "queued"}
	rows := func(settlements ...outbox.Settlement) []*row {
		all, err := rounds(settlements)
		if err != nil || len(all) != 1 {
			t.Fatalf("%d rounds, %v", len(all), err)
		}
		return all[0]
	}
	sent := outbox.Settlement{Intent: intent("done", "t1", nil), Took: time.Second,
		Decision: outbox.Decision{Status: outbox.StatusDone, Attempts: 1, Counted: true, Outcome: outbox.Done, Receipt: receipt, Ambiguous: outbox.ClearMark}}
	mixed := rows(sent,
		outbox.Settlement{Intent: intent("retry", "t2", nil), Decision: outbox.Decision{Status: outbox.StatusPending, Attempts: 1, Counted: true,
			Outcome: outbox.Transient, Failure: failure, Delay: time.Minute}},
		outbox.Settlement{Intent: intent("back", "t2", nil), Decision: outbox.Decision{Status: outbox.StatusPending}},
		outbox.Settlement{Intent: intent("marked", "t3", func(in *outbox.Intent) { in.Outcome = &outbox.Outcome{At: at, Tries: 2} }),
			Decision: outbox.Decision{Status: outbox.StatusPending, Attempts: 1, Failure: failure, Ambiguous: outbox.SetMark}},
		outbox.Settlement{Intent: intent("dead", "t4", nil), Decision: outbox.Decision{Status: outbox.StatusDead, Reason: outbox.ReasonPermanent, Attempts: 1, Failure: failure}})
	alike := rows(sent)
	waiting := rows(sent)
	waiting[0].waits = &wait{"a lock", time.Second}
	document := func(d bson.D) bson.Raw {
		raw, err := bson.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	order := outbox.ClaimOrder{Kind: "sms", Owner: "$owner", Lease: time.Minute}
	doubtful := order
	doubtful.Doubts = map[string]outbox.Ambiguity{"sms": outbox.Park}
	statements := map[string]any{
		"lease":                         leasing("token", order),
		"settle one":                    s.settling(alike),
		"settle several outcomes":       s.settling(mixed),
		"record an outcome":             s.settling(waiting),
		"fence, one token":              fence(alike),
		"fence, several tokens":         fence(mixed),
		"tidy what is done":             s.tidied(outbox.StatusDone),
		"tidy what is cancelled":        s.tidied(outbox.StatusCancelled),
		"expired, nothing in doubt":     undoubted(order, "$$NOW"),
		"expired, some in doubt":        undoubted(doubtful, "$$NOW"),
		"a document as it was read":     as(document(bson.D{{Key: "_id", Value: 1}, {Key: "status", Value: "odd"}, {Key: "priority", Value: 1.5}})),
		"what a person did":             recording(document(bson.D{{Key: "history", Value: bson.A{bson.D{{Key: "attempt", Value: 1}}}}}), outbox.WhatRetry, bson.E{Key: "by", Value: "p"}),
		"keep a field of the same type": unless("date", "$seen", fromNow(time.Minute)),
	}
	got := make(map[string]json.RawMessage, len(statements))
	for name, statement := range statements {
		text, err := bson.MarshalExtJSON(bson.D{{Key: "is", Value: statement}}, true, false)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got[name] = text
	}
	if *writeStatements {
		text, err := json.MarshalIndent(got, "", " ")
		if err == nil {
			err = os.WriteFile(file, append(text, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]json.RawMessage
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for name := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("nothing is sent any more to %s", name)
		}
	}
	for name, text := range got {
		if compact(want[name]) != compact(text) {
			t.Errorf("%s:\n%s\nwant\n%s", name, compact(text), compact(want[name]))
		}
	}
}

func compact(text json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		return string(text)
	}
	return b.String()
}
