package main

import (
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func TestCancel(t *testing.T) {
	w := newWorld(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	oid := bson.NewObjectID()
	byID := intent("sms", "x")
	byID[0].Value = oid
	w.insert(t, intent("sms", "waiting", bson.E{Key: "on_dead", Value: bson.A{bson.D{{Key: "kind", Value: "sms"}, {Key: "payload", Value: intent("sms", "x")[4].Value}}}}), byID,
		deadLetter("dead", "sms", "exhausted", "not_sent", now))
	lease := bson.E{Key: "lease", Value: bson.D{{Key: "token", Value: "t"}}}
	for id, fields := range map[string][]bson.E{
		"leased":    {{Key: "status", Value: "leased"}, lease, {Key: "attempts", Value: 1}, {Key: "first_attempt_at", Value: now}},
		"unlocked":  {lease},
		"marked":    {{Key: "ambiguous_at", Value: now}},
		"unmarked":  {{Key: "last_error", Value: bson.D{{Key: "class", Value: "ambiguous"}, {Key: "code", Value: "no_answer"}}}},
		"recorded":  {{Key: "outcome", Value: bson.D{{Key: "event", Value: "delivered"}, {Key: "receipt", Value: bson.D{{Key: "id", Value: "SM1"}}}}}},
		"forgotten": {{Key: "attempts", Value: 1}, {Key: "first_attempt_at", Value: now}},
	} {
		w.insert(t, intent("sms", id))
		if _, err := w.outbox().UpdateOne(t.Context(), bson.D{{Key: "_id", Value: id}}, bson.D{{Key: "$set", Value: bson.D(fields)}}, options.UpdateOne().SetBypassDocumentValidation(true)); err != nil {
			t.Fatal(err)
		}
	}
	refusals := map[string]string{"dead": "it is dead", "leased": "a worker holds it", "unlocked": "lease", "marked": "ambiguous_at", "unmarked": "last_error", "recorded": "outcome", "forgotten": "attempt 1"}
	args := []string{"cancel", "--json", "--config", ordersFile(t), "waiting", oid.Hex(), "nobody"}
	before := map[string]string{}
	for id := range refusals {
		args, before[id] = append(args, id), w.get(t, id).String()
	}
	r := must(t, exitFailed, w.env, args...)
	lines := objects(t, r.out)
	if len(lines) != 2+len(refusals) || !strings.Contains(r.err, `get intent "nobody"`) || !strings.Contains(r.err, "7 intents are not cancelled") {
		t.Fatalf("%d lines: %v\n%s", len(lines), lines, r.err)
	}
	for _, line := range lines {
		id, _ := line["_id"].(string)
		why, _ := line["why"].(string)
		if want := refusals[id]; line["cancelled"] != (want == "") || !strings.Contains(why, want) || len(line) != 4 {
			t.Errorf("%v, want refused for %q", line, want)
		}
		if was, refused := before[id]; refused && w.get(t, id).String() != was {
			t.Errorf("%s was refused and changed", id)
		}
	}
	for _, id := range []any{"waiting", oid} {
		doc := w.get(t, id)
		if text(doc, "status") != "cancelled" || doc.Lookup("purge_at").Time().Sub(doc.Lookup("cancelled_at").Time()) != time.Hour || doc.Lookup("due_at").Type != 0 {
			t.Errorf("cancelled: %v", doc)
		}
	}
	if n := w.count(t, bson.D{}); n != 9 {
		t.Errorf("%d documents, want nine: nothing follows a cancelled intent", n)
	}
	r = must(t, exitFailed, w.env, "cancel", "waiting")
	checkHuman(t, r.out)
	if !strings.Contains(r.out, "it is cancelled already") || !strings.Contains(r.out, "0 cancelled, 1 refused.") {
		t.Errorf("once more:\n%s", r.out)
	}
	must(t, exitWrongUse, w.env, "cancel")
	for outcome, n := range map[string]int64{"done": 2, "refused": 8} {
		if got := w.audited(t, bson.D{{Key: "op", Value: "cancel"}, {Key: "via", Value: "cli"}, {Key: "outcome", Value: outcome}}); got != n {
			t.Errorf("%d records of what was %s, want %d", got, outcome, n)
		}
	}
}

// Between a worker and a person exactly one gets an intent: what was cancelled is not sent, what was sent is not
// cancelled.
func TestCancelWhileWorkersSend(t *testing.T) {
	w := newWorld(t)
	const n = 60
	ids := make([]string, n)
	for i := range ids {
		ids[i] = "race " + string(rune('A'+i))
		w.insert(t, intent("sms", ids[i]))
	}
	var people sync.WaitGroup
	for half := range 2 {
		people.Go(func() {
			outboxd(t, w.env, append([]string{"cancel"}, ids[half*n/2:(half+1)*n/2]...)...)
		})
	}
	worker := start(t, w.env, "--kinds", "sms")
	people.Wait()
	worker.stop()
	if code := worker.end(t); code != exitDone {
		t.Errorf("the worker ended with %d", code)
	}
	must(t, exitDone, w.env, "worker", "--until-empty", "--log-level", "error")
	cancelled, done := w.count(t, bson.D{{Key: "status", Value: "cancelled"}}), w.count(t, bson.D{{Key: "status", Value: "done"}})
	if sent := len(w.sim.Sim.Effects()); cancelled+done != n || int(done) != sent {
		t.Errorf("%d cancelled, %d done of %d; %d were sent", cancelled, done, n, sent)
	}
	t.Logf("%d cancelled, %d sent", cancelled, done)
}

// A person who names an _id that two documents have is asked which one, and can say so.
func TestIDsOfTwoTypes(t *testing.T) {
	w := newWorld(t)
	oid := bson.NewObjectID()
	doc := intent("sms", oid.Hex())
	w.insert(t, doc)
	doc[0].Value = oid
	w.insert(t, doc)
	r := must(t, exitFailed, w.env, "cancel", oid.Hex())
	for _, name := range []string{`{"$oid":"` + oid.Hex() + `"}`, `"` + oid.Hex() + `"`} {
		if !strings.Contains(r.err, "'"+name+"'") {
			t.Errorf("it does not name %s: %s", name, r.err)
		}
	}
	if n := w.count(t, bson.D{{Key: "status", Value: "pending"}}); n != 2 {
		t.Errorf("%d are pending, want both", n)
	}
	must(t, exitDone, w.env, "cancel", `{"$oid":"`+oid.Hex()+`"}`)
	if text(w.get(t, oid), "status") != "cancelled" || text(w.get(t, oid.Hex()), "status") != "pending" {
		t.Error("the other one was cancelled")
	}
	must(t, exitDone, w.env, "cancel", `"`+oid.Hex()+`"`)
}
