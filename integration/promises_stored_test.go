package integration

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/providers/simulator"
)

// patientLane is a configuration in which no breaker opens and attempts are many, so that what a test scripts is what
// happens.
const patientLane = `
lanes:
  charge: {rate: 10000/s, timeout: 2s, lease: 7s, retry: {max_attempts: 100, base: 50ms, max: 200ms}, reconcile: {wait: 100ms, interval: 1s, absent_after: 1s, give_up: 8s}, breaker: {min_requests: 10000, consecutive: 10000}}
  email: {timeout: 2s, lease: 7s, retry: {max_attempts: 100, base: 50ms, max: 200ms}, reconcile: {wait: 100ms, interval: 1s, absent_after: 2s, give_up: 8s}, breaker: {min_requests: 10000, consecutive: 10000}}
  sms: {timeout: 2s, lease: 7s, retry: {max_attempts: 100, base: 50ms, max: 200ms}, reconcile: {wait: 100ms, interval: 1s, absent_after: 2s, give_up: 8s}, breaker: {min_requests: 10000, consecutive: 10000}}
write_back: {collections: [payments, orders]}
`

// stripeDown has every confirmation fail before it acts.
func (w *world) stripeDown() {
	w.Helper()
	w.sim.fail(simulator.Fault{Provider: "stripe", Route: "confirm", Do: simulator.DoStatus, Status: 500, Body: `{"error":{"type":"api_error"}}`, Match: simulator.Match{Times: -1}})
}

func (w *world) mend() {
	w.Helper()
	w.sim.forget()
}

// A payload that was corrected after its PaymentIntent was made: nothing of the old one is charged, and a retry by
// hand charges what stands there now.
func TestACorrectedPayloadIsNeverChargedAsItWas(t *testing.T) {
	t.Parallel()
	w := newWorld(t, patientLane)
	edits := map[string]bson.M{
		"less":     {"payload.amount": int32(100)},
		"more":     {"payload.amount": int32(99_999)},
		"currency": {"payload.currency": "usd"},
		"customer": {"payload.customer": "cus_another"},
		"method":   {"payload.payment_method": "pm_card_mastercard"},
	}
	w.stripeDown()
	for id := range edits {
		w.insert(charge(id))
	}
	worker := w.worker()
	w.waitFor("every PaymentIntent is made", len(edits), bson.D{{Key: "progress.payment_intent", Value: bson.D{{Key: "$exists", Value: true}}}})
	worker.stop()
	for id, edit := range edits {
		if err := w.set(id, edit); err != nil {
			t.Fatal(err)
		}
	}
	w.mend()
	w.worker()
	for id := range edits {
		if in := w.settled(id); in.outcome() != "dead/permanent" || in.LastError.Code != "mismatch" {
			t.Errorf("%s is %s with %+v, want dead/permanent with the code mismatch", id, in.outcome(), in.LastError)
		}
	}
	if effects := w.sim.effects(); len(effects) > 0 {
		t.Errorf("Stripe charged %d times for what was corrected: %+v", len(effects), effects)
	}
	for id := range edits {
		if code, text := w.try(nil, "dead", "retry", id); code != 0 {
			t.Errorf("dead retry %s: exit code %d: %s", id, code, text)
		}
	}
	for id := range edits {
		if in := w.settled(id); in.Status != "done" {
			t.Errorf("%s is %s after the retry; last error %+v", id, in.outcome(), in.LastError)
		}
	}
	for _, e := range w.sim.effects() {
		wants := map[string]bool{
			"less": e.Amount == 100, "more": e.Amount == 99_999, "currency": e.Currency == "usd", "customer": e.Customer == "cus_another", "method": true,
		}
		if !wants[e.OutboxID] {
			t.Errorf("%s was charged as it was: %+v", e.OutboxID, e)
		}
	}
	w.once(len(edits), true)
}

// The same, for a charge that had died meanwhile.
func TestACorrectedDeadLetterIsChargedAsItStands(t *testing.T) {
	t.Parallel()
	// Stripe answers nobody, which costs no attempt: give_up ends them.
	w := newWorld(t, strings.Replace(patientLane, "max: 200ms}", "max: 200ms, give_up: 3s}", 1))
	w.stripeDown()
	ids := []string{"one", "two", "three"}
	for n, id := range ids {
		w.insert(with(paying(charge(id), bson.M{"amount": int32(4200)}), bson.M{"max_attempts": int32(n + 1)}))
	}
	w.worker()
	for _, id := range ids {
		if in := w.settled(id); in.Status != "dead" {
			t.Fatalf("%s is %s, want dead", id, in.outcome())
		}
		if err := w.set(id, bson.M{"payload.amount": int32(100)}); err != nil {
			t.Fatal(err)
		}
	}
	w.mend()
	for _, id := range ids {
		// The first retry may find the PaymentIntent of the old amount, and the second makes a new one.
		for range 2 {
			if code, text := w.try(nil, "dead", "retry", id); code != 0 {
				t.Fatalf("dead retry %s: exit code %d: %s", id, code, text)
			}
			if in := w.settled(id); in.Status == "done" {
				break
			} else if in.LastError.Code != "mismatch" {
				t.Errorf("%s is %s with %+v", id, in.outcome(), in.LastError)
			}
		}
	}
	for _, e := range w.sim.effects() {
		if e.Amount != 100 {
			t.Errorf("%s says 100, and Stripe took %d", e.OutboxID, e.Amount)
		}
	}
	w.once(len(ids), true)
}

// Progress that names somebody else's PaymentIntent pays for nothing.
func TestProgressThatNamesAnotherPaymentIntentIsNotBelieved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, patientLane)
	w.drainOne(t, paying(charge("cheap"), bson.M{"amount": int32(100)}), "the cheap one")
	paid := w.get("cheap").Result.ID
	w.stripeDown()
	w.insert(charge("open"))
	worker := w.worker()
	w.waitFor("a PaymentIntent is open", 1, bson.D{{Key: "_id", Value: "open"}, {Key: "progress.payment_intent", Value: bson.D{{Key: "$exists", Value: true}}}})
	worker.stop()
	var open struct {
		Progress struct {
			PaymentIntent string `bson:"payment_intent"`
		}
	}
	if err := w.outbox.FindOne(t.Context(), bson.D{{Key: "_id", Value: "open"}}).Decode(&open); err != nil {
		t.Fatal(err)
	}
	w.mend()
	progress := func(id, paymentIntent string) bson.M {
		return bson.M{"attempts": int32(1), "first_attempt_at": time.Now(), "progress": bson.M{"key": id, "payment_intent": paymentIntent, "create": int64(1), "confirm": int64(1)}}
	}
	w.smuggle(
		with(paying(charge("dear"), bson.M{"amount": int32(99_999)}), progress("dear", paid)),
		with(paying(charge("equal"), bson.M{"amount": int32(100), "customer": "cus_cheap"}), progress("equal", paid)),
		with(paying(charge("unpaid"), bson.M{"customer": "cus_open"}), progress("unpaid", open.Progress.PaymentIntent)),
	)
	w.worker()
	for _, id := range []string{"dear", "equal", "unpaid"} {
		if in := w.settled(id); in.outcome() != "dead/permanent" || in.LastError.Code != "mismatch" {
			t.Errorf("%s is %s with %+v, want dead/permanent with the code mismatch", id, in.outcome(), in.LastError)
		}
	}
	w.settled("open")
	w.once(2, true)
}

// A producer's insert carries none of the worker's fields.
func TestAnInsertWithFieldsOfTheWorkerIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	now := time.Now()
	for field, value := range map[string]any{
		"attempts":     int32(3),
		"lease":        bson.M{"token": "t", "owner": "o", "at": now, "reclaimed": false},
		"progress":     bson.M{"key": "x", "payment_intent": "pi_1", "create": int64(1), "confirm": int64(1)},
		"generation":   int32(1),
		"ambiguous_at": now,
		"outcome":      bson.M{"event": "delivered", "at": now, "tries": int32(1), "receipt": bson.M{"provider": "stripe", "id": "pi_1"}},
		"history":      bson.A{bson.M{"attempt": int32(1), "at": now, "outcome": "transient"}},
		"result":       bson.M{"provider": "stripe", "id": "pi_1"},
		"last_error":   bson.M{"class": "transient", "code": "not_sent", "message": "m", "at": now},
	} {
		if _, err := w.outbox.InsertOne(t.Context(), with(charge("with "+field), bson.M{field: value})); !refused(err) {
			t.Errorf("an insert with %s: error %v, want the validator's refusal", field, err)
		}
	}
	if _, err := w.outbox.InsertOne(t.Context(), charge("without")); err != nil {
		t.Error(err)
	}
}

// A confirmation that is held up on its way, and arrives when the charge was given up, charges nobody.
func TestAConfirmationThatArrivesLateChargesNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, patientLane)
	var mu sync.Mutex
	held := make(map[string]bool) // PaymentIntents whose first confirmation is held up, or was
	late := 0                     // of them, those whose confirmation has arrived
	release := make(chan struct{})
	let := sync.OnceFunc(func() { close(release) })
	stripe := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if !strings.HasSuffix(r.URL.Path, "/confirm") {
			forward(w.sim.Stripe, rw, r, body)
			return
		}
		mu.Lock()
		again := held[r.URL.Path]
		held[r.URL.Path] = true
		mu.Unlock()
		if again {
			forward(w.sim.Stripe, rw, r, body)
			return
		}
		<-release
		forward(w.sim.Stripe, rw, r, body)
		mu.Lock()
		late++
		mu.Unlock()
	})
	t.Cleanup(let)
	w.secrets = []string{"STRIPE_API_URL=" + stripe}
	soon := time.Now().Add(1500 * time.Millisecond)
	w.insert(
		with(charge("expires"), bson.M{"expires_at": soon}),
		with(charge("expires, one attempt"), bson.M{"expires_at": soon, "max_attempts": int32(1)}),
		with(charge("one attempt"), bson.M{"max_attempts": int32(1)}),
		with(charge("cannot be cancelled"), bson.M{"expires_at": soon}),
	)
	w.sim.fail(simulator.Fault{Provider: "stripe", Route: "cancel", Do: simulator.DoStatus, Status: 500, Match: simulator.Match{OutboxID: "cannot be cancelled", Times: -1}})
	w.worker()
	ended := make(map[string]intent)
	for _, id := range []string{"expires", "expires, one attempt", "one attempt", "cannot be cancelled"} {
		ended[id] = w.settled(id)
	}
	let()
	eventually(t, "the confirmations arrive", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(held) > 0 && late == len(held)
	})
	effects := w.sim.tally()
	for id, in := range ended {
		n := effects.of(id)
		switch outcome := in.outcome(); {
		case outcome == "done" && n == 1, outcome == "dead/ambiguous" && n <= 1 && id == "cannot be cancelled":
		case (outcome == "dead/expired" || outcome == "dead/exhausted") && n == 0 && in.AmbiguousAt.IsZero() && id != "cannot be cancelled":
		default:
			t.Errorf("%s is %s, ambiguous since %v, and was charged %d times", id, outcome, in.AmbiguousAt, n)
		}
	}
}

// Yesterday's backup is restored: what was charged since stands there as it was inserted, and Stripe has forgotten
// its keys.
func TestARestoredBackupChargesNothingAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, patientLane)
	yesterday := time.Now().Add(-26 * time.Hour)
	object := bson.NewObjectIDFromTimestamp(yesterday)
	byObject := charge("object")
	byObject["_id"] = object
	docs := []bson.M{
		with(charge("due yesterday"), bson.M{"due_at": yesterday}),
		with(charge("created yesterday"), bson.M{"due_at": yesterday, "created_at": yesterday}),
		with(byObject, bson.M{"due_at": yesterday}),
		with(charge("attempted"), bson.M{"due_at": yesterday}),
	}
	w.insert(docs...)
	w.drain()
	w.once(len(docs), true)
	w.sim.control(http.MethodPost, "clock", map[string]string{"advance": "25h"}, nil)
	if _, err := w.outbox.DeleteMany(t.Context(), bson.D{}); err != nil {
		t.Fatal(err)
	}
	docs[3] = with(docs[3], bson.M{"attempts": int32(1), "first_attempt_at": yesterday}) // its claim was in the backup, its progress was not
	var restored []any
	for _, d := range docs {
		restored = append(restored, d)
	}
	w.smuggle(restored...)
	w.insert(charge("new")) // which no backup knows
	w.drain()
	for _, d := range append(docs, charge("new")) {
		if in := w.get(d["_id"]); in.Status != "done" {
			t.Errorf("%v is %s with %+v, want done: it was charged", d["_id"], in.outcome(), in.LastError)
		}
	}
	w.once(len(docs)+1, true)
	var ids []string
	for _, e := range w.sim.effects() {
		ids = append(ids, e.ID)
	}
	if slices.Sort(ids); len(slices.Compact(ids)) != len(docs)+1 {
		t.Error(fmt.Sprint("receipts: ", ids))
	}
}
