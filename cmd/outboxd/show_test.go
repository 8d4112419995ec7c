package main

import (
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// The life of an intent is told in order and without anything of its payload.
func TestShow(t *testing.T) {
	w := newWorld(t)
	died := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	at := func(minutes time.Duration) time.Time { return died.Add(minutes * time.Minute) }
	doc := append(deadLetter("told\x1b", "sms", "exhausted", "no_answer", died),
		bson.E{Key: "first_due_at", Value: at(-60)}, bson.E{Key: "resolved", Value: bson.D{{Key: "by", Value: "ada"}, {Key: "verdict", Value: "not_sent"}, {Key: "at", Value: at(5)}}},
		bson.E{Key: "history", Value: bson.A{
			bson.D{{Key: "attempt", Value: 1}, {Key: "outcome", Value: "ambiguous"}, {Key: "code", Value: "lease_expired"}},
			bson.D{{Key: "attempt", Value: 2}, {Key: "at", Value: at(-30)}, {Key: "outcome", Value: "transient"}, {Key: "code", Value: "unavailable"}, {Key: "http_status", Value: 503}, {Key: "request_id", Value: "req_1"}, {Key: "worker", Value: "w-1"}},
			bson.D{{Key: "what", Value: "lookup"}, {Key: "at", Value: at(-10)}, {Key: "outcome", Value: "absent"}, {Key: "first", Value: at(-20)}, {Key: "last", Value: at(-10)}, {Key: "n", Value: 3}},
			bson.D{{Key: "what", Value: "resolve"}, {Key: "at", Value: at(5)}, {Key: "by", Value: "ada"}, {Key: "why", Value: "not in the log"}, {Key: "ref", Value: "SM1"}},
		}})
	w.insertPastValidator(t, doc)
	r := must(t, exitDone, w.env, "show", "told\x1b")
	checkHuman(t, r.out)
	rest := oneLine(r.out)
	for _, want := range []string{"sms told?", "dead: exhausted", "last error no_answer", "attempts 3", "answered not_sent by ada",
		"2026-01-02 02:04:00Z first due", "- attempt 1 ambiguous lease_expired", "attempt 2 transient unavailable, HTTP 503, request req_1, by w-1", "lookup absent 3 times since",
		"2026-01-02 03:04:00Z dead", "resolve SM1, by ada, not in the log"} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("no %q, or not in this order:\n%s", want, r.out)
		}
		rest = after
	}
	for _, secret := range []string{"+4915112345678", "+15005550006", "Order x"} {
		if strings.Contains(r.out, secret) {
			t.Errorf("the payload is shown:\n%s", r.out)
		}
	}
	if docs := objects(t, must(t, exitDone, w.env, "show", "told\x1b", "--json").out); len(docs) != 1 || docs[0]["payload"] == nil {
		t.Errorf("show --json: %v", docs)
	}
	w.insert(t, intent("email", "alive"))
	if r := must(t, exitDone, w.env, "show", "alive"); !strings.Contains(r.out, "pending, due ") {
		t.Errorf("show alive:\n%s", r.out)
	}
	if r := must(t, exitFailed, w.env, "show", "nobody"); !strings.Contains(r.err, "there is no such intent") {
		t.Errorf("show nobody: %s", r.err)
	}
}
