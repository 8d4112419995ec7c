package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

func TestStats(t *testing.T) {
	w := newWorld(t)
	if r := must(t, exitDone, w.env, "stats"); !strings.Contains(r.out, "There are no intents.") {
		t.Errorf("without intents:\n%s", r.out)
	}
	later := intent("sms", "later")
	later[3].Value = time.Now().Add(time.Hour)
	old := intent("sms", "old")
	old[3].Value = time.Now().Add(-90 * time.Second)
	w.insert(t, old, intent("sms", "new"), later, deadLetter("gone", "charge", "permanent", "declined", time.Now()))
	w.insertPastValidator(t, bson.D{{Key: "_id", Value: "odd"}, {Key: "kind", Value: strings.Repeat("k", 150)}, {Key: "status", Value: "pending"}, {Key: "due_at", Value: time.Now()}})

	r := must(t, exitDone, w.env, "stats")
	checkHuman(t, r.out)
	if !strings.HasPrefix(r.out, "KIND") || strings.Count(r.out, "\n") != 4 {
		t.Errorf("stats:\n%s", r.out)
	}

	r = must(t, exitDone, w.env, "stats", "--json")
	var charge, sms string
	for line := range strings.Lines(r.out) {
		if strings.Contains(line, `"charge"`) {
			charge = strings.TrimSpace(line)
		}
		if strings.Contains(line, `"sms"`) {
			sms = strings.TrimSpace(line)
		}
	}
	if want := `{"kind":"charge","pending":0,"due":0,"leased":0,"done":0,"dead":1,"cancelled":0,"oldest_due_age_s":0.0}`; charge != want {
		t.Errorf("got  %s\nwant %s", charge, want)
	}
	if !strings.HasPrefix(sms, `{"kind":"sms","pending":3,"due":2,"leased":0,"done":0,"dead":0,"cancelled":0,"oldest_due_age_s":9`) {
		t.Errorf("sms: %s", sms)
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(sms), &doc); err != nil || len(doc) != 8 {
		t.Errorf("sms: %v, %v", doc, err)
	}
}

func TestStatsWatchShowsRatesUntilAnInterrupt(t *testing.T) {
	w := newWorld(t)
	w.insert(t, intent("sms", "one"))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	read, write := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"stats", "--watch"}, w.env, strings.NewReader(""), write, io.Discard)
	}()
	lines := bufio.NewReader(read)
	next := func() []string {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		checkHuman(t, line)
		return strings.Fields(line)
	}
	if heading := strings.Join(next(), " "); heading != "KIND PENDING DUE LEASED DONE DEAD CANCELLED OLDEST DUE DONE/S DEAD/S" {
		t.Errorf("the heading is %s", heading)
	}
	if first := next(); first[0] != "sms" || first[4] != "0" || first[8] != "-" {
		t.Errorf("the first count is %v", first)
	}
	must(t, exitDone, w.env, "worker", "--until-empty", "--log-level", "error")
	next()
	for second := next(); ; second = next() { // the worker may be slower than the second count
		if second[4] == "1" {
			if second[8] == "0.0" || second[9] != "0.0" {
				t.Errorf("the rates are %v", second)
			}
			break
		}
		next()
	}
	stop()
	if got := <-code; got != exitDone {
		t.Errorf("exit code %d", got)
	}
}

// Where workers keep a census, looking at it costs nothing; programs get the exact count that they know.
func TestStatsFromTheCensus(t *testing.T) {
	w := newWorld(t)
	if r := must(t, exitFailed, w.env, "stats", "--census"); !strings.Contains(r.err, "there is no census") {
		t.Errorf("without a census: %s", r.err)
	}
	w.insert(t, intent("sms", "waits"), append(deadLetter("doubt", "sms", "ambiguous", "no_answer", time.Now()), bson.E{Key: "ambiguous_at", Value: time.Now()}))
	w.census(t, "sms", "email")
	db := store.New(w.db, "", store.Options{})
	if err := db.Ready(t.Context()); err != nil { // it tells the time
		t.Fatal(err)
	}
	minute := db.Now().UTC().Truncate(time.Minute).Add(-time.Minute)
	if err := db.AddRates(t.Context(), []outbox.RateMinute{{Minute: minute, Kind: "sms", RateCounters: outbox.RateCounters{Done: 50, Dead: 5}}}); err != nil {
		t.Fatal(err)
	}
	r := must(t, exitDone, w.env, "stats")
	checkHuman(t, r.out)
	for _, want := range []string{"KIND WAITING DUE IN DOUBT AMBIGUOUS OLDEST DUE UNFINISHED DONE/MIN DEAD/MIN WORKERS", "sms 1 1 0 1 ", " 10.0 1.0 0", "Counted by a worker "} {
		if !strings.Contains(oneLine(r.out), want) {
			t.Errorf("no %q in:\n%s", want, r.out)
		}
	}
	if r := must(t, exitDone, w.env, "stats", "--exact"); !strings.Contains(oneLine(r.out), "sms 1 1 0 0 1 0 ") {
		t.Errorf("--exact:\n%s", r.out)
	}
	if docs := objects(t, must(t, exitDone, w.env, "stats", "--json").out); len(docs) != 1 || docs[0]["pending"] != 1.0 || len(docs[0]) != 8 {
		t.Errorf("--json: %v", docs)
	}
	docs := objects(t, must(t, exitDone, w.env, "stats", "--census", "-o", "json").out)
	if sms := docs[len(docs)-1]; len(docs) != 3 || sms["kind"] != "sms" || sms["waiting"] != 1.0 || sms["ambiguous_dead"] != 1.0 || sms["capped"] != false || len(sms) != 12 {
		t.Errorf("--census -o json: %v", docs)
	}
	if _, err := w.db.Collection("outbox_meta").UpdateOne(t.Context(), bson.D{{Key: "_id", Value: "census"}}, bson.D{{Key: "$set", Value: bson.D{{Key: "at", Value: time.Now().Add(-time.Hour)}}}}); err != nil {
		t.Fatal(err)
	}
	if r := must(t, exitDone, w.env, "stats"); !strings.HasPrefix(oneLine(r.out), "KIND PENDING") {
		t.Errorf("an old census is no answer:\n%s", r.out)
	}
	must(t, exitWrongUse, w.env, "stats", "--census", "--exact")
}
