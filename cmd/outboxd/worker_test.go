package main

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/providers/simulator"
	"github.com/outboxd/outboxd/store"
)

func TestWorkerCarriesOutEachKindOnce(t *testing.T) {
	w := newWorld(t)
	const each = 5
	for i := range each {
		for _, kind := range []string{"charge", "email", "sms"} {
			w.insert(t, intent(kind, fmt.Sprintf("%s-%d", kind, i)))
		}
	}
	w.insert(t, intent("charge", "declined"))
	if _, err := w.outbox().UpdateOne(t.Context(), bson.D{{Key: "_id", Value: "declined"}}, bson.D{{Key: "$set", Value: bson.D{{Key: "payload.payment_method", Value: "pm_card_chargeDeclined"}}}}); err != nil {
		t.Fatal(err)
	}
	w.insertPastValidator(t, append(intent("sms", "malformed"), bson.E{Key: "colour", Value: "red"}))
	unseen := intent("sms", "unseen") // by any claim
	unseen[3].Value = "tomorrow"
	w.insertPastValidator(t, unseen)

	env := append(w.env, "TWILIO_CALLBACK_URL=https://hooks.example/twilio")
	r := must(t, exitDone, env, "worker", "--until-empty", "--log-level", "debug")
	if r.out != "Nothing remains.\n" {
		t.Errorf("what remains:\n%s", r.out)
	}
	effects := make(map[string]int)
	for _, e := range w.sim.Sim.Effects() {
		effects[e.Kind]++
		if !strings.HasPrefix(e.OutboxID, e.Kind+"-") {
			t.Errorf("the provider knows a %s by the outbox_id %q", e.Kind, e.OutboxID)
		}
	}
	for _, kind := range []string{"charge", "email", "sms"} {
		done := w.count(t, bson.D{{Key: "kind", Value: kind}, {Key: "status", Value: "done"}})
		if done != each || effects[kind] != each {
			t.Errorf("%s: %d done, %d effects, want %d", kind, done, effects[kind], each)
		}
	}
	for id, want := range map[string]string{"declined": "permanent", "malformed": "invalid", "unseen": "invalid"} {
		if got := text(w.get(t, id), "dead_reason"); got != want {
			t.Errorf("%s is %q, want %q", id, got, want)
		}
	}
	for _, secret := range []string{"secret4711", "ada@example.com", "+4915112345678", "It is in."} {
		if strings.Contains(r.err, secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
}

func TestWorkerTellsHowItIs(t *testing.T) {
	w := newWorld(t)
	r := start(t, w.env, "--kinds", "charge,email,sms")
	if code, body := get(t, r.url(t, "/healthz")); code != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %s", code, body)
	}
	if code, body := get(t, r.url(t, "/readyz")); code != 200 || !strings.HasPrefix(body, `{"ready":true`) { // and what providers answered
		t.Errorf("/readyz: %d %s", code, body)
	}
	// An intent that comes while the lane sleeps: the change stream or the poll finds it.
	w.insert(t, intent("sms", "one"))
	settled := r.log.await(t, "settled", 1)
	for _, key := range []string{"intent", "kind", "attempt", "outcome", "provider", "took_ms", "worker"} {
		if settled[key] == nil {
			t.Errorf("the outcome's line lacks %q: %v", key, settled)
		}
	}
	_, page := get(t, r.url(t, "/metrics"))
	for _, want := range []string{
		`outboxd_settled_total{kind="sms",status="done"} 1`, `outboxd_attempts_total{kind="sms",outcome="done"} 1`,
		`outboxd_provider_replies_total{operation="send",provider="twilio",status="2xx"} 1`, `outboxd_workers{kind="sms"} `,
		`outboxd_lane_state{kind="charge",state="open"} 1`, `outboxd_breaker_state{kind="sms",state="closed"} 1`,
		`outboxd_database_up 1`, `outboxd_oldest_due_age_seconds{kind="charge"} 0`, `outboxd_kind_served{kind="email"} 1`,
		`outboxd_in_flight{kind="sms"}`, `outboxd_lease_lost_total{kind="sms"} 0`, "outboxd_build_info{", "go_goroutines", "process_",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	// The rates of the lanes stand beside them, for people.
	var lane struct{ Rate string }
	if err := w.db.Collection("outbox_lanes").FindOne(t.Context(), bson.D{{Key: "_id", Value: "charge"}}).Decode(&lane); err != nil || lane.Rate != "25/s" {
		t.Errorf("the lane's rate is %q, %v", lane.Rate, err)
	}
	r.stop()
	if code := r.end(t); code != exitDone {
		t.Errorf("exit code %d\n%s", code, r.log)
	}
}

func TestWorkerSaysWhatItDoesNotServe(t *testing.T) {
	w := newWorld(t)
	env := []string{w.env[0], w.env[1], w.env[2], w.env[3], w.env[4]} // Stripe alone
	w.insert(t, intent("sms", "waits"), intent("charge", "runs"))
	r := must(t, exitDone, env, "worker", "--until-empty")
	for _, want := range []string{`"kind":"email","set":"SENDGRID_API_KEY"`, `"kind":"sms","set":"TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN"`} {
		if !strings.Contains(r.err, want) {
			t.Errorf("the log lacks %s:\n%s", want, r.err)
		}
	}
	if got := text(w.get(t, "waits"), "status"); got != "pending" {
		t.Errorf("an intent that nobody serves is %s", got)
	}
	if got := text(w.get(t, "runs"), "status"); got != "done" {
		t.Errorf("the charge is %s", got)
	}
}

func TestUntilEmptyWaitsForWhatIsDueWithin(t *testing.T) {
	w := newWorld(t)
	soon, later := intent("sms", "soon"), intent("sms", "later")
	soon[3].Value, later[3].Value = time.Now().Add(time.Hour), time.Now().Add(time.Hour)
	w.insert(t, soon, later)
	r := must(t, exitDone, w.env, "worker", "--until-empty")
	if r.out != "sms: 2 due later\n" {
		t.Errorf("what remains:\n%s", r.out)
	}
	due := bson.D{{Key: "$set", Value: bson.D{{Key: "due_at", Value: time.Now().Add(1500 * time.Millisecond)}}}}
	if _, err := w.outbox().UpdateOne(t.Context(), bson.D{{Key: "_id", Value: "soon"}}, due); err != nil {
		t.Fatal(err)
	}
	r = must(t, exitDone, w.env, "worker", "--until-empty", "--within", "5s")
	if r.out != "sms: 1 due later\n" || text(w.get(t, "soon"), "status") != "done" {
		t.Errorf("what remains:\n%s", r.out)
	}
}

func TestUntilEmptyWaitsForGatesButNotForPauses(t *testing.T) {
	w := newWorld(t)
	db := store.New(w.db, "", store.Options{})
	if err := db.Pause(t.Context(), "email", "maintenance", "a person"); err != nil {
		t.Fatal(err)
	}
	w.insert(t, intent("email", "paused"), intent("sms", "limited"))
	w.fault(t, simulator.Fault{Provider: simulator.ProviderTwilio, Do: simulator.DoStatus, Status: 429, Headers: map[string]string{"Retry-After": "1"}})
	r := must(t, exitDone, w.env, "worker", "--until-empty")
	if r.out != "email: 1 due; the lane is paused (maintenance)\n" {
		t.Errorf("what remains:\n%s\n%s", r.out, r.err)
	}
	if got := text(w.get(t, "limited"), "status"); got != "done" {
		t.Errorf("the intent that met the gate is %s", got)
	}
}

func TestWorkerMigratesWhereItIsAsked(t *testing.T) {
	w := emptyWorld(t)
	must(t, exitDone, w.env, "worker", "--migrate", "--until-empty")
	must(t, exitDone, w.env, "worker", "--until-empty")
}

func TestPortInUseIsAFailure(t *testing.T) {
	w := newWorld(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r := must(t, exitFailed, w.env, "worker", "--listen", ln.Addr().String())
	if !strings.Contains(r.err, "--listen, OUTBOXD_LISTEN") {
		t.Errorf("got %s", r.err)
	}
}

// hang makes the provider take an intent and never answer, and returns once the call is under way.
func hang(t *testing.T, w *world, when string) {
	t.Helper()
	w.fault(t, simulator.Fault{Provider: simulator.ProviderTwilio, Route: "send", Do: simulator.DoHang, When: when})
	w.insert(t, intent("sms", "hangs"))
	if err := w.sim.Sim.WaitRequests(t.Context(), simulator.ProviderTwilio, "send", 1); err != nil {
		t.Fatal(err)
	}
}

// checkAmbiguous fails the test unless the intent that hung is a dead letter that says so.
func checkAmbiguous(t *testing.T, w *world) {
	t.Helper()
	doc := w.get(t, "hangs")
	if text(doc, "status") != "dead" || text(doc, "dead_reason") != "ambiguous" || text(doc, "last_error", "code") != "aborted" {
		t.Errorf("the intent is %s", doc)
	}
	if n := w.count(t, bson.D{{Key: "status", Value: "leased"}}); n != 0 {
		t.Errorf("%d intents are leased", n)
	}
}

func TestDrainTimeOverCancelsCallsAndFails(t *testing.T) {
	w := newWorld(t)
	r := start(t, w.env, "--drain", "300ms")
	hang(t, w, simulator.After)
	r.stop()
	r.log.await(t, "stopping: nothing more is claimed", 1)
	if code, body := get(t, r.url(t, "/readyz")); code != 503 || !strings.Contains(body, "the worker is stopping") {
		t.Errorf("/readyz while stopping: %d %s", code, body)
	}
	if code := r.end(t); code != exitFailed {
		t.Errorf("exit code %d\n%s", code, r.log)
	}
	if !strings.Contains(r.log.String(), "the drain time was over") {
		t.Errorf("the cause is not told:\n%s", r.log)
	}
	checkAmbiguous(t, w)
}

func TestSecondSignalCancelsCalls(t *testing.T) {
	w := newWorld(t)
	p := launch(t, w.env, "worker", "--log-format", "json")
	hang(t, w, simulator.Before)
	p.signal(t, syscall.SIGTERM)
	p.log.await(t, "stopping: nothing more is claimed", 1)
	p.signal(t, syscall.SIGINT)
	if code := p.end(t); code != exitInterrupted {
		t.Errorf("exit code %d\n%s", code, p.log)
	}
	checkAmbiguous(t, w)
}

func TestFirstSignalEndsInGoodOrder(t *testing.T) {
	w := newWorld(t)
	const n = 40
	w.fault(t, simulator.Fault{Provider: simulator.ProviderTwilio, Do: simulator.DoDelay, Delay: 50 * time.Millisecond, Match: simulator.Match{Times: -1}})
	for i := range n {
		w.insert(t, intent("sms", fmt.Sprintf("sms-%d", i)))
	}
	p := launch(t, w.env, "worker", "--log-format", "json")
	p.log.await(t, "settled", 1)
	p.signal(t, syscall.SIGTERM)
	if code := p.end(t); code != exitDone {
		t.Errorf("exit code %d\n%s", code, p.log)
	}
	if cause := p.log.await(t, "stopped", 1)["cause"]; cause != `received the signal "terminated"` {
		t.Errorf("the cause is %v", cause)
	}
	done, pending := w.count(t, bson.D{{Key: "status", Value: "done"}}), w.count(t, bson.D{{Key: "status", Value: "pending"}})
	if done+pending != n || int(done) != len(w.sim.Sim.Effects()) {
		t.Errorf("%d done, %d pending of %d, %d effects", done, pending, n, len(w.sim.Sim.Effects()))
	}
	if n := w.count(t, bson.D{{Key: "attempts", Value: bson.D{{Key: "$gt", Value: 0}}}, {Key: "status", Value: "pending"}}); n != 0 {
		t.Errorf("%d intents lost an attempt to the end of the worker", n)
	}
	left, err := w.db.Collection("outbox_workers").CountDocuments(t.Context(), bson.D{})
	if err != nil || left != 0 {
		t.Errorf("the worker did not leave the registry: %d, %v", left, err)
	}
}
