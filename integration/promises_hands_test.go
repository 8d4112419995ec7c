package integration

import (
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/providers/simulator"
)

// An operator "unlocks" an intent that a worker held: the evidence that it may have been sent stays, however it was
// done.
func TestAHandUnlockedIntentIsNotSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, patientLane)
	parked := bson.M{"on_ambiguous": "park"}
	docs := map[string]bson.M{"plain": sms("plain"), "attempts": sms("attempts"), "past": sms("past"), "later": sms("later"), "email": with(email("email"), parked), "alive": sms("alive")}
	for id := range docs {
		match := simulator.Match{To: phone(id)}
		provider := "twilio"
		if id == "email" {
			match, provider = simulator.Match{OutboxID: id}, "sendgrid"
		}
		w.sim.fail(simulator.Fault{Provider: provider, Route: "send", When: simulator.After, Do: simulator.DoHang, Match: match})
	}
	var first []*process
	alive := docs["alive"]
	delete(docs, "alive")
	for _, d := range docs {
		w.insert(d)
	}
	first = append(first, w.worker())
	eventually(t, "all are sent", func() bool { return len(w.sim.effects()) == len(docs) })
	first[0].kill()
	now := time.Now()
	for id, set := range map[string]bson.M{
		"plain": {"status": "pending", "due_at": now}, "attempts": {"status": "pending", "due_at": now, "attempts": int32(0)},
		"past": {"status": "pending", "due_at": now.Add(-time.Hour), "priority": int32(0)}, "later": {"status": "pending", "due_at": now.Add(time.Second)},
		"email": {"status": "pending", "due_at": now},
	} {
		if err := w.set(id, set); err != nil {
			t.Errorf("unlock %s: %v", id, err)
		}
	}
	w.worker()
	w.worker()
	// While a worker is at it.
	w.insert(alive)
	eventually(t, "the last one is sent", func() bool { return w.sim.tally().of("alive") > 0 })
	if err := w.set("alive", bson.M{"status": "pending", "due_at": time.Now()}); err != nil {
		t.Errorf("unlock: %v", err)
	}
	docs["alive"] = alive
	for id := range docs {
		if in := w.settled(id); in.outcome() != "dead/ambiguous" {
			t.Errorf("%s is %s, want dead/ambiguous", id, in.outcome())
		}
	}
	effects := w.sim.tally()
	for id := range docs {
		if effects.of(id) != 1 {
			t.Errorf("%s was sent %d times", id, effects.of(id))
		}
	}
}

// What may have acted cannot be cancelled: not by the documented update, not by a shorter one, not by the command.
func TestWhatMayHaveActedIsNotCancelled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, patientLane)
	reconciled := bson.M{"on_ambiguous": "reconcile"}
	maybe := []string{"sms", "email", "leased"}
	w.sim.fail(
		simulator.Fault{Provider: "twilio", Route: "send", When: simulator.After, Do: simulator.DoDrop, Match: simulator.Match{To: phone("sms")}},
		simulator.Fault{Provider: "sendgrid", Route: "send", When: simulator.After, Do: simulator.DoDrop, Match: simulator.Match{OutboxID: "email"}},
		simulator.Fault{Provider: "twilio", Route: "send", When: simulator.After, Do: simulator.DoHang, Match: simulator.Match{To: phone("leased")}},
		simulator.Fault{Provider: "twilio", Route: "list", Do: simulator.DoStatus, Status: 503, Match: simulator.Match{Times: -1}},
		simulator.Fault{Provider: "sendgrid", Route: "logs", Do: simulator.DoStatus, Status: 503, Match: simulator.Match{Times: -1}},
	)
	w.insert(with(sms("sms"), reconciled), email("email"), sms("leased"))
	worker := w.worker()
	w.waitFor("two are in doubt", 2, bson.D{{Key: "ambiguous_at", Value: bson.D{{Key: "$exists", Value: true}}}, {Key: "status", Value: "pending"}})
	eventually(t, "the third is sent", func() bool { return w.sim.tally().of("leased") == 1 })
	worker.kill()
	for _, id := range maybe {
		if _, err := w.outbox.UpdateOne(t.Context(), bson.D{{Key: "_id", Value: id}}, cancel()); !refused(err) {
			t.Errorf("cancel %s without a filter: error %v, want the validator's refusal", id, err)
		}
		if result, err := w.outbox.UpdateOne(t.Context(), bson.D{{Key: "_id", Value: id}, {Key: "status", Value: "pending"}, {Key: "ambiguous_at", Value: nil}, {Key: "outcome", Value: nil}}, cancel()); err != nil || result.MatchedCount != 0 {
			t.Errorf("the documented cancel of %s: %+v, error %v; want no match", id, result, err)
		}
		if code, text := w.try(nil, "cancel", id); code != 1 {
			t.Errorf("outboxd cancel %s: exit code %d, want 1: %s", id, code, text)
		}
	}
	w.insert(sms("waits"), with(charge("later"), bson.M{"due_at": time.Now().Add(time.Hour)}))
	if code, text := w.try(nil, "cancel", "waits", "later"); code != 0 {
		t.Errorf("outboxd cancel of what was never sent: exit code %d: %s", code, text)
	}
	for _, id := range []string{"waits", "later"} {
		if in := w.get(id); in.Status != "cancelled" {
			t.Errorf("%s is %s, want cancelled", id, in.outcome())
		}
	}
}

// A retry by hand refuses what is final for the recipient and what may have acted, whatever a person changed before.
func TestARetryByHandIsAsCarefulAsTheWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	to := func(id, number string) bson.M {
		return paying(sms(id), bson.M{"to": number})
	}
	final := map[string]bson.M{"opted-out": to("opted-out", "+15005550004"), "opted-out-2": to("opted-out-2", "+15005550004")}
	evenFinal := map[string]bson.M{
		"declined": paying(charge("declined"), bson.M{"payment_method": "pm_card_chargeDeclined"}), "no-number": to("no-number", "+15005550001"), "no-mobile": to("no-mobile", "+15005550009"),
	}
	doubtful := map[string]bson.M{"doubtful": sms("doubtful"), "unmarked": sms("unmarked"), "unmarked-email": with(email("unmarked-email"), bson.M{"on_ambiguous": "park"})}
	w.sim.fail(
		simulator.Fault{Provider: "twilio", Route: "send", When: simulator.After, Do: simulator.DoDrop, Match: simulator.Match{To: phone("doubtful")}},
		simulator.Fault{Provider: "twilio", Route: "send", When: simulator.After, Do: simulator.DoDrop, Match: simulator.Match{To: phone("unmarked")}},
		simulator.Fault{Provider: "sendgrid", Route: "send", When: simulator.After, Do: simulator.DoDrop},
	)
	for _, list := range []map[string]bson.M{final, evenFinal, doubtful} {
		for _, d := range list {
			w.insert(d)
		}
	}
	w.drain()
	before := w.requests("twilio", "send") + w.requests("sendgrid", "send") + w.requests("stripe", "create")
	for _, id := range []string{"unmarked", "unmarked-email"} {
		if err := w.set(id, bson.M{"metadata.note": "looked into"}, "ambiguous_at"); err != nil {
			t.Logf("take the mark off %s: %v", id, err) // then it stands for itself
		}
	}
	for id := range doubtful {
		if code, text := w.try(nil, "dead", "retry", id); code != 1 {
			t.Errorf("dead retry %s, which may have acted: exit code %d, want 1: %s", id, code, text)
		}
	}
	for id := range final {
		for _, args := range [][]string{{"dead", "retry", id}, {"dead", "retry", "--even-final", id}} {
			if code, text := w.try(nil, args...); code != 1 {
				t.Errorf("outboxd %v, which opted out: exit code %d, want 1: %s", args, code, text)
			}
		}
	}
	for id := range evenFinal {
		if code, text := w.try(nil, "dead", "retry", id); code != 1 {
			t.Errorf("dead retry %s, which is final: exit code %d, want 1: %s", id, code, text)
		}
	}
	w.drain()
	if after := w.requests("twilio", "send") + w.requests("sendgrid", "send") + w.requests("stripe", "create"); after != before {
		t.Errorf("the providers were asked %d times more", after-before)
	}
	for id := range evenFinal {
		if code, text := w.try(nil, "dead", "retry", "--even-final", id); code != 0 {
			t.Errorf("dead retry --even-final %s: exit code %d: %s", id, code, text)
		}
	}
	if n := w.count(bson.D{{Key: "status", Value: "pending"}}); n != len(evenFinal) {
		t.Errorf("%d are pending after --even-final, want %d", n, len(evenFinal))
	}
}

// A person's answer about what nobody knew: sent is done with all that follows, not sent may be tried again.
func TestAPersonResolvesWhatIsAmbiguous(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	w.business(bson.M{"_id": "sent"}, bson.M{"_id": "not-sent"})
	follow := bson.A{bson.M{"kind": "email", "payload": email("follow")["payload"]}}
	for _, id := range []string{"sent", "not-sent", "untold"} {
		w.sim.fail(simulator.Fault{Provider: "twilio", Route: "send", When: simulator.Before, Do: simulator.DoDrop, Match: simulator.Match{To: phone(id)}})
	}
	w.insert(with(write(sms("sent"), "sent", "sent"), bson.M{"on_done": follow}), with(write(sms("not-sent"), "not-sent", "not-sent"), bson.M{"on_done": follow}), sms("untold"), sms("fine"))
	w.drain()
	for _, args := range [][]string{{"resolve", "sent"}, {"resolve", "untold", "--sent", "SM1", "--not-sent", "--why", "x"}, {"resolve", "untold", "--not-sent"}} {
		if code, text := w.try(nil, args...); code == 0 {
			t.Errorf("outboxd %v: exit code 0: %s", args, text)
		}
	}
	if code, text := w.try(nil, "resolve", "fine", "--sent", "SM1", "--why", "asked"); code != 1 {
		t.Errorf("outboxd resolve of what is not ambiguous: exit code %d: %s", code, text)
	}
	if code, text := w.try(nil, "resolve", "sent", "--sent", "SM1", "--why", "asked Twilio"); code != 0 {
		t.Errorf("outboxd resolve --sent: exit code %d: %s", code, text)
	}
	if code, text := w.try(nil, "resolve", "not-sent", "--not-sent", "--why", "asked Twilio"); code != 0 {
		t.Errorf("outboxd resolve --not-sent: exit code %d: %s", code, text)
	}
	if in := w.get("not-sent"); in.Status == "dead" {
		if code, text := w.try(nil, "dead", "retry", "not-sent"); code != 0 {
			t.Errorf("dead retry of what was not sent: exit code %d: %s", code, text)
		}
	}
	w.drain()
	for id, want := range map[string]string{"sent": "done", "not-sent": "done", "untold": "dead/ambiguous", "sent:done:0": "done", "not-sent:done:0": "done"} {
		if in := w.get(id); in.outcome() != want {
			t.Errorf("%s is %s, want %s; last error %+v", id, in.outcome(), want, in.LastError)
		}
	}
	effects := w.sim.tally()
	if effects.of("sent") != 0 || effects.of("not-sent") != 1 {
		t.Errorf("the one that was sent was sent %d times more, the other %d times", effects.of("sent"), effects.of("not-sent"))
	}
	for _, id := range []string{"sent", "not-sent"} {
		if seen, _ := w.order(id)["seen"].(bson.D); len(seen) == 0 || seen[0].Value != "done" {
			t.Errorf("the business document of %s says %v", id, seen)
		}
	}
}

// requests returns how many requests of a route the simulators answered.
func (w *world) requests(provider, route string) int {
	w.Helper()
	var list []struct {
		Provider, Route string
		Count           int
	}
	w.sim.control("GET", "requests", nil, &list)
	n := 0
	for _, r := range list {
		if r.Provider == provider && r.Route == route {
			n += r.Count
		}
	}
	return n
}
