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
