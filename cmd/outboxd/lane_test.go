package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

func TestLanes(t *testing.T) {
	w := newWorld(t)
	db := store.New(w.db, "", store.Options{})
	for _, err := range []error{
		db.CloseGate(t.Context(), "email", time.Hour), db.ShowRate(t.Context(), "email", "5/s"), db.Hold(t.Context(), "charge", outbox.CodeUnauthorized),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b"} {
		if _, err := db.Heartbeat(t.Context(), outbox.Worker{Name: name, Kinds: []string{"email"}, InFlight: map[string]int{"email": 3}, Started: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	env := append(slices.Clone(w.env), "USER=ada")
	if r := must(t, exitDone, env, "lane", "pause", "sms", "--why", "a carrier's outage "+strings.Repeat("x", 200)); !strings.Contains(r.out, "Lane sms is paused") {
		t.Errorf("pause: %s", r.out)
	}
	listed := must(t, exitDone, env, "lane", "list").out
	checkPlain(t, listed)
	for _, want := range []string{"since 20", "s)", "until 20", "(in ", "The next probe goes within a minute."} {
		if !strings.Contains(oneLine(listed), want) {
			t.Errorf("lane list has no %q:\n%s", want, listed)
		}
	}

	if docs := objects(t, must(t, exitDone, env, "workers", "--json").out); len(docs) != 2 || docs[0]["_id"] != "a" || len(docs[0]) != 6 {
		t.Errorf("workers: %v", docs)
	}
	if r := must(t, exitDone, env, "workers"); !strings.Contains(oneLine(r.out), "email 3") {
		t.Errorf("workers:\n%s", r.out)
	}
	docs := objects(t, must(t, exitDone, env, "lane", "list", "--json").out)
	if len(docs) != 3 {
		t.Fatalf("%d lanes, want 3", len(docs))
	}
	charge, email, sms := docs[0], docs[1], docs[2]
	if got, want := slices.Sorted(maps.Keys(charge)), []string{"in_flight", "kind", "limit", "limit_why", "next_probe", "rate", "remedy", "since", "state", "until", "why", "workers"}; !slices.Equal(got, want) {
		t.Errorf("the fields are %v, want %v", got, want)
	}
	if charge["state"] != "held" || charge["why"] != "unauthorized" || charge["rate"] != nil || charge["until"] != nil || charge["workers"] != 0.0 || charge["since"] == nil || charge["next_probe"] != nil || charge["remedy"] == nil {
		t.Errorf("charge: %v", charge)
	}
	if until, _ := email["until"].(map[string]any); email["state"] != "gated" || until["$date"] == nil || email["rate"] != "5/s" || email["workers"] != 2.0 || email["in_flight"] != 6.0 {
		t.Errorf("email: %v", email)
	}
	if why, _ := sms["why"].(string); sms["state"] != "paused" || !strings.HasPrefix(why, "a carrier's outage") || !strings.Contains(why, "(ada@") {
		t.Errorf("sms: %v", sms)
	}

	for _, kind := range []string{"sms", "charge"} {
		for try, want := range []string{"every worker knows within a second", "and was not before"} {
			if r := must(t, exitDone, env, "lane", "resume", kind, "--why", "over"); !strings.Contains(r.out, want) {
				t.Errorf("resume %s, time %d: %s", kind, try+1, r.out)
			}
		}
	}
	for op, n := range map[string]int64{"pause": 1, "resume": 4} {
		if got := w.audited(t, bson.D{{Key: "op", Value: op}, {Key: "via", Value: "cli"}, {Key: "outcome", Value: "done"}, {Key: "why", Value: bson.D{{Key: "$gt", Value: ""}}}}); got != n {
			t.Errorf("%d records of %s, want %d", got, op, n)
		}
	}
	for _, doc := range objects(t, must(t, exitDone, env, "lane", "list", "--json").out) {
		if doc["kind"] != "email" && doc["state"] != "open" {
			t.Errorf("after resume: %v", doc)
		}
	}
	if docs := objects(t, must(t, exitDone, env, "audit", "--op", "resume", "--on", "sms", "--json").out); len(docs) != 2 || docs[0]["why"] != "over" || docs[0]["outcome"] != "done" || docs[0]["on"] != "sms" {
		t.Errorf("audit: %v", docs)
	}
	if r := must(t, exitDone, env, "audit", "--limit", "2"); strings.Count(r.out, "\n") != 4 || !strings.Contains(r.out, "There is more: the same command with --before ") {
		t.Errorf("audit:\n%s", r.out)
	}
	must(t, exitWrongUse, env, "audit", "--before", "x")
	for _, args := range []string{"lane pause fax --why x", "lane resume fax", "lane pause sms"} {
		must(t, exitWrongUse, env, strings.Fields(args)...)
	}
}

func TestLaneRate(t *testing.T) {
	w := newWorld(t)
	db := store.New(w.db, "", store.Options{})
	if err := db.ShowRate(t.Context(), "charge", "25/s"); err != nil {
		t.Fatal(err)
	}
	env := append(slices.Clone(w.env), "USER=ada")
	limits := func() (limits [3]any) {
		for i, doc := range objects(t, must(t, exitDone, env, "lane", "list", "--json").out) {
			limits[i] = doc["limit"]
		}
		return limits
	}
	for i, step := range []struct {
		kind, rate, says string
		limits           [3]any
	}{
		{"sms", "off", "and did before", [3]any{}},
		{"sms", "5", "Lane sms keeps to 5/s on all workers together", [3]any{nil, nil, "5/s"}},
		{"sms", "30/m", "keeps to 30/m", [3]any{nil, nil, "30/m"}},
		{"charge", "25/s", "keeps to 25/s", [3]any{"25/s", nil, "30/m"}},
		{"charge", "10/s", "keeps to 10/s", [3]any{"10/s", nil, "30/m"}},
		{"sms", "off", "its configured rate again", [3]any{"10/s", nil, nil}},
	} {
		if r := must(t, exitDone, env, "lane", "rate", step.kind, step.rate, "--why", "the carrier asked"); !strings.Contains(r.out, step.says) {
			t.Errorf("step %d says %q, want %q", i, r.out, step.says)
		}
		if got := limits(); got != step.limits {
			t.Errorf("after step %d the limits are %v, want %v", i, got, step.limits)
		}
	}
	listed := must(t, exitDone, env, "lane", "list").out
	checkPlain(t, listed)
	for _, want := range []string{"charge open 10/s", "charge: slowed down from 25/s to 10/s: the carrier asked (ada@", "`outboxd lane rate charge off` ends it."} {
		if !strings.Contains(oneLine(listed), want) {
			t.Errorf("lane list has no %q:\n%s", want, listed)
		}
	}
	if r := must(t, exitFailed, env, "lane", "rate", "charge", "26/s", "--why", "x"); !strings.Contains(oneLine(r.err), "is configured to 25/s, which a rate set here may not exceed") {
		t.Errorf("a rate above the configured one: %s", r.err)
	}
	if n := w.audited(t, bson.D{{Key: "op", Value: "rate"}, {Key: "via", Value: "cli"}, {Key: "outcome", Value: "done"}, {Key: "why", Value: "the carrier asked"}}); n != 6 {
		t.Errorf("%d records, want 6", n)
	}
	for _, args := range [][]string{{"sms", "fast", "--why", "x"}, {"sms", "0", "--why", "x"}, {"sms", "5/s"}, {"sms", "5/s", "--why", " "}, {"fax", "5/s", "--why", "x"}, {"sms", "--why", "x"}} {
		must(t, exitWrongUse, env, append([]string{"lane", "rate"}, args...)...)
	}
	if got := limits(); got != [3]any{"10/s", nil, nil} {
		t.Errorf("after refusals the limits are %v", got)
	}
}

// A rate reaches a worker that runs, and its end as well.
func TestARateReachesTheWorker(t *testing.T) {
	w := newWorld(t)
	r := start(t, w.env)
	must(t, exitDone, w.env, "lane", "rate", "sms", "1/h", "--why", "a test")
	r.log.await(t, "rate set", 1)
	w.insert(t, intent("sms", "first"), intent("sms", "second"))
	r.log.await(t, "settled", 1)
	must(t, exitDone, w.env, "lane", "rate", "sms", "off", "--why", "over")
	r.log.await(t, "rate taken back", 1)
	r.log.await(t, "settled", 2)
	for _, id := range []string{"first", "second"} {
		if got := text(w.get(t, id), "status"); got != "done" {
			t.Errorf("%s is %s", id, got)
		}
	}
}

// A pause reaches a worker that runs, and its end as well.
func TestAPauseReachesTheWorker(t *testing.T) {
	w := newWorld(t)
	r := start(t, w.env)
	must(t, exitDone, w.env, "lane", "pause", "sms", "--why", "maintenance")
	r.log.await(t, "lane paused", 1)
	w.insert(t, intent("sms", "waits"), intent("email", "runs"))
	r.log.await(t, "settled", 1)
	if got := text(w.get(t, "waits"), "status"); got != "pending" {
		t.Errorf("an intent of the paused lane is %s", got)
	}
	must(t, exitDone, w.env, "lane", "resume", "sms")
	r.log.await(t, "settled", 2)
	if got := text(w.get(t, "waits"), "status"); got != "done" {
		t.Errorf("after resume the intent is %s", got)
	}
}
