package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A job is planned, paused, resumed and carried out by another command; each letter goes once, and all of it is on
// record.
func TestJobs(t *testing.T) {
	w := newWorld(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	if r := must(t, exitDone, w.env, "jobs", "list"); r.out != "There are no jobs.\n" {
		t.Errorf("without any: %s", r.out)
	}
	for i := range 5 {
		w.insert(t, deadLetter(fmt.Sprintf("letter-%d", i), "sms", "exhausted", "not_sent", now))
	}
	w.insert(t, append(deadLetter("doubt", "sms", "ambiguous", "no_answer", now), bson.E{Key: "ambiguous_at", Value: now}))
	plan := []string{"dead", "retry", "--job", "--kind", "sms", "--why", "the carrier is back", "--by", "ada"}
	job := objects(t, must(t, exitDone, w.env, append(plan, "--dry-run", "--json")...).out)[0]
	id, _ := job["_id"].(string)
	if p, _ := job["plan"].(map[string]any); job["state"] != "planned" || job["started"] != nil || p["chosen"] != 6.0 || p["would"] != 5.0 || fmt.Sprint(p["refused"]) != "map[ambiguous_needs_verdict:1]" {
		t.Errorf("the plan: %v", job)
	}
	w.insert(t, deadLetter("later", "sms", "exhausted", "not_sent", time.Now().Add(time.Second)))
	state := func(args ...string) any {
		t.Helper()
		return objects(t, must(t, exitDone, w.env, append(args, id, "--json")...).out)[0]["state"]
	}
	for _, c := range [][2]string{{"start", "running"}, {"pause", "paused"}, {"show", "paused"}, {"resume", "running"}} {
		if got := state("jobs", c[0]); got != c[1] {
			t.Errorf("jobs %s: it is %v", c[0], got)
		}
	}
	start(t, w.env, "--kinds", "sms")
	must(t, exitDone, w.env, "jobs", "run", "--until-done", "--log-level", "error")
	job = objects(t, must(t, exitDone, w.env, "jobs", "show", id, "-o", "json").out)[0]
	if c, _ := job["counts"].(map[string]any); job["state"] != "done" || c["went"] != 5.0 || c["seen"] != 6.0 || job["finished"] == nil {
		t.Errorf("carried out: %v", job)
	}
	if text(w.get(t, "doubt"), "status") != "dead" || text(w.get(t, "later"), "status") != "dead" {
		t.Error("what was refused, or died later, was retried")
	}
	if n := w.count(t, bson.D{{Key: "history", Value: bson.D{{Key: "$elemMatch", Value: bson.D{{Key: "what", Value: "retry"}, {Key: "job", Value: id}, {Key: "by", Value: "ada"}}}}}}); n != 5 {
		t.Errorf("%d letters tell of the job, want 5", n)
	}
	for op, n := range map[string]int64{"plan": 1, "start": 2, "pause job": 1, "retry": 6} {
		if got := w.audited(t, bson.D{{Key: "op", Value: op}, {Key: "job", Value: id}}); got != n {
			t.Errorf("%d records of %s, want %d", got, op, n)
		}
	}
	r := must(t, exitDone, w.env, "jobs", "show", id)
	checkHuman(t, r.out)
	for _, want := range []string{"done", "retry of dead letters, of kind sms", "by ada: the carrier is back", "6 chosen, 5 would go, refused: 1 ambiguous_needs_verdict", "6 seen, 5 went"} {
		if !strings.Contains(oneLine(r.out), want) {
			t.Errorf("no %q in:\n%s", want, r.out)
		}
	}
	if r := must(t, exitDone, w.env, "jobs", "list"); !strings.Contains(oneLine(r.out), id+" done retry 5 5 ") {
		t.Errorf("jobs list:\n%s", r.out)
	}
	for _, op := range []string{"pause", "stop", "start"} {
		if r := must(t, exitFailed, w.env, "jobs", op, id); !strings.Contains(r.err, "the job is done") {
			t.Errorf("jobs %s of one that is done: %s", op, r.err)
		}
	}
	if r := must(t, exitFailed, w.env, "jobs", "show", "job-x"); !strings.Contains(r.err, `job "job-x": there is no such job`) {
		t.Errorf("no such job: %s", r.err)
	}
}

// Many charges are repeated only where a second person agrees.
func TestJobsNeedASecondPersonForMoney(t *testing.T) {
	w := newWorld(t)
	docs := make([]any, 101)
	for i := range docs {
		docs[i] = deadLetter(fmt.Sprintf("charge-%d", i), "charge", "exhausted", "unavailable", time.Now())
	}
	if _, err := w.outbox().InsertMany(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	r := must(t, exitFailed, w.env, "dead", "retry", "--job", "--kind", "charge", "--why", "Stripe is back", "--by", "ada", "--rate", "50/s", "--json")
	job := objects(t, r.out)[0]
	id, _ := job["_id"].(string)
	if job["state"] != "planned" || job["rate"] != "50/s" || !strings.Contains(r.err, "a second person has to approve it") || fmt.Sprint(job["plan"].(map[string]any)["money"]) != "map[eur:424200]" {
		t.Errorf("planned: %v, %s", job, r.err)
	}
	must(t, exitFailed, w.env, "jobs", "resume", id)
	if r := must(t, exitFailed, w.env, "jobs", "approve", id, "--by", "ada"); !strings.Contains(r.err, "who planned a job cannot approve it") {
		t.Errorf("by the same person: %s", r.err)
	}
	must(t, exitDone, w.env, "jobs", "approve", id, "--by", "bob")
	must(t, exitDone, w.env, "jobs", "resume", id)
	if job := objects(t, must(t, exitDone, w.env, "jobs", "stop", id, "--json", "--why", "after all not").out)[0]; job["state"] != "stopped" || job["approved_by"] != "bob" {
		t.Errorf("stopped: %v", job)
	}
}

func TestDiscardAsAJob(t *testing.T) {
	w := newWorld(t)
	w.insert(t, deadLetter("a", "sms", "permanent", "opted_out", time.Now()), deadLetter("b", "sms", "permanent", "opted_out", time.Now()))
	r := must(t, exitDone, w.env, "dead", "discard", "--job", "--code", "opted_out", "--why", "they opted out")
	checkHuman(t, r.out)
	if !strings.Contains(oneLine(r.out), "2 chosen, 2 would go") || !strings.Contains(r.out, "`outboxd jobs run`") {
		t.Errorf("started:\n%s", r.out)
	}
	must(t, exitDone, w.env, "jobs", "run", "--until-done", "--log-level", "error")
	if n := w.count(t, bson.D{{Key: "status", Value: "cancelled"}}); n != 2 {
		t.Errorf("%d are discarded, want 2", n)
	}
	for args, want := range map[string]string{
		"dead retry --job --kind sms": "--why", "dead retry --job --kind sms --why x --limit 3": "--limit", "dead retry --kind sms --ramp 1": "--ramp",
		"dead retry --job --kind sms --why x --ramp 1,x": "--ramp", "dead discard --job --kind sms --why x --limit 3": "--limit", "jobs list --limit 0": "--limit",
	} {
		if r := must(t, exitWrongUse, w.env, strings.Fields(args)...); !strings.Contains(r.err, want) {
			t.Errorf("%s: %s", args, r.err)
		}
	}
}
