package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/providers/simulator"
)

// ordersFile is a file of policies that lets workers write back to orders.
func ordersFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "outboxd.yaml")
	if err := os.WriteFile(path, []byte("write_back: {collections: [orders]}\nretention: {cancelled: 1h}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Texts that may have been sent are answered by a person: one becomes done with what follows, one is sent again, once.
func TestResolve(t *testing.T) {
	w := newWorld(t)
	w.env = append(w.env, "OUTBOXD_CONFIG="+ordersFile(t))
	parked := func(id string, when string) {
		w.fault(t, simulator.Fault{Provider: simulator.ProviderTwilio, Route: "send", When: when, Do: simulator.DoReset, Match: simulator.Match{Times: 1}})
		follow := intent("email", "x")[1:2]
		follow = append(follow, bson.E{Key: "payload", Value: bson.D{{Key: "from", Value: "shop@example.com"}, {Key: "to", Value: "ada@example.com"}, {Key: "subject", Value: "${result.id}"}, {Key: "text", Value: "It is out."}}})
		if _, err := w.db.Collection("orders").InsertOne(t.Context(), bson.D{{Key: "_id", Value: id}, {Key: "state", Value: "new"}}); err != nil {
			t.Fatal(err)
		}
		w.insert(t, intent("sms", id, bson.E{Key: "on_done", Value: bson.A{follow}}, bson.E{Key: "write_back", Value: bson.D{{Key: "collection", Value: "orders"}, {Key: "id", Value: id},
			{Key: "done", Value: bson.D{{Key: "state", Value: "told"}, {Key: "ref", Value: "${result.id}"}}}, {Key: "dead", Value: bson.D{{Key: "state", Value: "failed"}}}}}))
		must(t, exitDone, w.env, "worker", "--until-empty", "--log-level", "error")
		if doc := w.get(t, id); text(doc, "dead_reason") != "ambiguous" {
			t.Fatalf("%s is not ambiguous: %v", id, doc)
		}
	}
	parked("sent", simulator.After)
	parked("lost", simulator.Before)
	order := func(id string) bson.Raw {
		raw, err := w.db.Collection("orders").FindOne(t.Context(), bson.D{{Key: "_id", Value: id}}).Raw()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	sid := w.sim.Sim.Effects()[0].ID

	if r := must(t, exitFailed, append(w.env, "OUTBOXD_CONFIG="), "resolve", "sent", "--sent", sid); !strings.Contains(r.err, "name the file by --config") || text(w.get(t, "sent"), "status") != "dead" {
		t.Errorf("without the workers' file: %s", r.err)
	}
	for range 2 { // giving the same answer again changes nothing
		r := must(t, exitDone, w.env, "resolve", "sent", "--sent", sid, "--why", "Twilio's log", "--by", "ada")
		checkHuman(t, r.out)
		if !strings.Contains(oneLine(r.out), sid) {
			t.Errorf("resolve --sent:\n%s", r.out)
		}
		doc := w.get(t, "sent")
		if text(doc, "status") != "done" || text(doc, "result", "id") != sid || text(doc, "resolved", "by") != "ada" || text(doc, "resolved", "why") != "Twilio's log" || text(doc, "resolved", "evidence") != sid {
			t.Errorf("resolved: %v", doc)
		}
		if records, _ := doc.Lookup("history").Array().Values(); len(records) != 2 {
			t.Errorf("history: %v", records)
		}
	}
	if n := w.audited(t, bson.D{{Key: "op", Value: "resolve"}, {Key: "on", Value: "sent"}, {Key: "who", Value: "ada"}, {Key: "why", Value: "Twilio's log"}, {Key: "outcome", Value: "done"}, {Key: "after", Value: "done"}}); n != 2 {
		t.Errorf("%d records of the answer, want 2", n)
	}
	if text(order("sent"), "state") != "told" || text(order("sent"), "ref") != sid || w.count(t, bson.D{{Key: "_id", Value: "sent:done:0"}}) != 1 {
		t.Errorf("what follows: %v", order("sent"))
	}
	for _, answer := range [][]string{{"--sent", "SMother"}, {"--not-sent", "--why", "x"}} {
		if r := must(t, exitFailed, w.env, append([]string{"resolve", "sent"}, answer...)...); !strings.Contains(r.err, "it is done") {
			t.Errorf("another answer: %s", r.err)
		}
	}

	must(t, exitFailed, w.env, "dead", "retry", "lost")
	line := objects(t, must(t, exitDone, w.env, "resolve", "lost", "--not-sent", "--why", "Twilio's log ends before", "--json").out)[0]
	if line["status"] != "dead" || line["dead_reason"] != "exhausted" || line["verdict"] != "not_sent" || line["evidence"] != nil || line["again"] != false || len(line) != 9 {
		t.Errorf("resolve --not-sent: %v", line)
	}
	if line := objects(t, must(t, exitDone, w.env, "resolve", "lost", "--not-sent", "--why", "again", "--json").out)[0]; line["again"] != true {
		t.Errorf("the same again: %v", line)
	}
	if r := must(t, exitFailed, w.env, "resolve", "lost", "--sent", "SM1"); !strings.Contains(r.err, "its outcome is known (exhausted)") {
		t.Errorf("the opposite: %s", r.err)
	}
	must(t, exitDone, w.env, "dead", "retry", "lost")
	must(t, exitDone, w.env, "worker", "--until-empty", "--log-level", "error")
	if doc := w.get(t, "lost"); text(doc, "status") != "done" || text(order("lost"), "state") != "told" {
		t.Errorf("sent after the answer: %v", doc)
	}
	texts := map[string]int{}
	for _, e := range w.sim.Sim.Effects() {
		texts[e.Kind]++
	}
	if texts["sms"] != 2 || texts["email"] != 2 {
		t.Errorf("effects: %v, want two texts and two mails", texts)
	}
}

// An answer is for what is ambiguous alone, and has to be one.
func TestResolveRefuses(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	w.insert(t, intent("sms", "waiting"),
		deadLetter("exhausted", "sms", "exhausted", "not_sent", now),
		deadLetter("invalid", "sms", "invalid", "invalid", now),
		deadLetter("declined", "charge", "permanent", "declined", now),
		deadLetter("charge", "charge", "ambiguous", "no_answer", now))
	w.insertPastValidator(t, intent("email", "asking", bson.E{Key: "ambiguous_at", Value: now}))
	for id, want := range map[string]string{"waiting": "it is pending", "exhausted": "(exhausted)", "invalid": "(invalid)", "declined": "(permanent)", "asking": "still asking", "nobody": "there is no such intent"} {
		for _, answer := range [][]string{{"--sent", "ref"}, {"--not-sent", "--why", "x"}} {
			before := w.count(t, bson.D{{Key: "resolved", Value: bson.D{{Key: "$exists", Value: true}}}})
			if r := must(t, exitFailed, w.env, append([]string{"resolve", id}, answer...)...); !strings.Contains(r.err, want) || strings.Contains(r.err, "--config") {
				t.Errorf("resolve %s %v: %s", id, answer, r.err)
			}
			if w.count(t, bson.D{{Key: "resolved", Value: bson.D{{Key: "$exists", Value: true}}}}) != before {
				t.Errorf("resolve %s %v was refused and written", id, answer)
			}
		}
	}
	for _, args := range [][]string{{"charge"}, {"charge", "--sent", "x", "--not-sent", "--why", "x"}, {"charge", "--not-sent"}, {"charge", "--sent", ""}, {"charge", "--sent", "x", "--why", strings.Repeat("x", 501)}} {
		must(t, exitWrongUse, w.env, append([]string{"resolve"}, args...)...)
	}
	must(t, exitDone, w.env, "resolve", "charge", "--sent", "pi_1")
	if doc := w.get(t, "charge"); text(doc, "status") != "done" || text(doc, "result", "provider") != "stripe" || text(doc, "result", "id") != "pi_1" {
		t.Errorf("a charge: %v", doc)
	}
}
