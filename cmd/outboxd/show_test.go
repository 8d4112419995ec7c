package main

import (
	"slices"
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
	for _, want := range []string{"sms told?", "dead: exhausted", "What happens next: Nothing by itself. A retry is safe: ", "last error no_answer", "attempts 3", "answered not_sent by ada",
		"2026-01-02 02:04:00Z due for the first time", "- attempt 1: lease_expired ambiguous", "attempt 2: unavailable transient, HTTP 503, request req_1, by w-1",
		"2026-01-02 02:44:00Z 3 look-ups: absent until 2026-01-02 02:54:00Z", "2026-01-02 03:04:00Z dead letter: exhausted", "answered by ada SM1, by ada, not in the log",
		"You can: ", "Payload, masked", "+49•••••678"} {
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
	if r := must(t, exitDone, w.env, "show", "alive"); !strings.Contains(r.out, "pending, due ") || !strings.Contains(oneLine(r.out), "What happens next: A worker sends it (attempt 1 of 12) at ") {
		t.Errorf("show alive:\n%s", r.out)
	}
	if r := must(t, exitFailed, w.env, "show", "nobody"); !strings.Contains(r.err, "there is no such intent") {
		t.Errorf("show nobody: %s", r.err)
	}
}

// What holds customers' data is masked in every form and at every depth. Who looks at it has to say why, and is on
// record before anything is shown.
func TestPayloadsAreMaskedUnlessSomebodySaysWhy(t *testing.T) {
	w := newWorld(t)
	follow := bson.D{{Key: "kind", Value: "sms"}, {Key: "payload", Value: bson.D{{Key: "to", Value: "+4915112345678"}, {Key: "body", Value: "code 4711"}}}}
	doc := append(deadLetter("masked", "sms", "invalid", "invalid", time.Now()), bson.E{Key: "on_dead", Value: bson.A{follow}},
		bson.E{Key: "write_back", Value: bson.D{{Key: "collection", Value: "orders"}, {Key: "id", Value: bson.NewObjectID()}, {Key: "dead", Value: bson.D{{Key: "note", Value: "code 4711"}}}}},
		bson.E{Key: "note", Value: bson.D{{Key: "text", Value: "code 4711"}}})
	i := slices.IndexFunc(doc, func(e bson.E) bool { return e.Key == "payload" })
	doc[i].Value = follow[1].Value
	w.insertPastValidator(t, doc)
	for _, args := range []string{"show masked", "show masked --json", "show masked -o yaml", "dead show masked", "dead show masked --json", "dead show masked -o yaml"} {
		r := must(t, exitDone, w.env, strings.Fields(args)...)
		if strings.Contains(r.out, "4711") || strings.Contains(r.out, "4915112345678") || !strings.Contains(r.out, "+49•••••678") || !strings.Contains(r.out, "orders") {
			t.Errorf("%s:\n%s", args, r.out)
		}
		must(t, exitWrongUse, w.env, append(strings.Fields(args), "--reveal")...)
		must(t, exitWrongUse, w.env, append(strings.Fields(args), "--why", "x")...)
		if n := w.audited(t, bson.D{}); n != 0 {
			t.Fatalf("%d records before anything was revealed", n)
		}
	}
	for i, args := range []string{"show masked", "show masked --json", "dead show masked", "dead show masked -o yaml"} {
		r := must(t, exitDone, w.env, append(strings.Fields(args), "--reveal", "--why", "a customer asks", "--by", "ada")...)
		if !strings.Contains(r.out, "4711") || !strings.Contains(r.out, "+4915112345678") {
			t.Errorf("%s --reveal:\n%s", args, r.out)
		}
		record := bson.D{{Key: "op", Value: "reveal"}, {Key: "on", Value: "masked"}, {Key: "why", Value: "a customer asks"}, {Key: "who", Value: "ada"}, {Key: "via", Value: "cli"}, {Key: "outcome", Value: "done"}}
		if n := w.audited(t, record); n != int64(i+1) {
			t.Errorf("%s --reveal: %d records, want %d", args, n, i+1)
		}
	}
}
