package schedules

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/simulator"
)

// The schedules of docs/guarantees.md that prove what cannot be promised. Each also says what holds all the same.

// limit is a plan with one lane, whose policy is simple enough to follow by hand: timeout 2 s, lease 10 s, absent_after
// 20 s.
func limit(kind string, policy outbox.Ambiguity, intents ...*wanted) plan {
	p := plan{intents: intents, lanes: map[string]dispatcher.Lane{kind: {
		Kind: kind, Concurrency: 4, Timeout: 2 * time.Second, Lease: 10 * time.Second,
		Policy: outbox.Policy{
			Retry: outbox.RetryPolicy{MaxAttempts: 5, Base: time.Second, Max: 10 * time.Second}, OnAmbiguous: policy, AsksFirst: kind == outbox.KindCharge,
			Reconcile: outbox.ReconcilePolicy{Wait: 5 * time.Second, Interval: 5 * time.Second, AbsentAfter: 20 * time.Second, GiveUp: time.Minute},
		},
		Breaker: dispatcher.Breaker{Window: time.Minute, Buckets: 6, MinRequests: 100, FailureRatio: 1, Consecutive: 100, OpenFor: time.Second, Probes: 1},
	}}, slots: [][]life{{{}}}}
	return p
}

func email(id string) *wanted {
	return &wanted{id: id, kind: outbox.KindEmail, doc: map[string]any{"kind": "email", "payload": map[string]any{
		"from": "shop@example.com", "to": id + "@example.com", "subject": "Your order", "text": "Thank you."}}}
}

// TestTheZombieWindow delays an e-mail behind the worker's last check: in a frozen process, in the network, or at the
// provider itself, which is all one. Under reconcile it is sent again once absent_after has passed, and arrives twice.
// Under park it arrives once, and nobody claims to know.
func TestTheZombieWindow(t *testing.T) {
	for name, tt := range map[string]struct {
		policy  outbox.Ambiguity
		delay   time.Duration
		effects int
		status  string
	}{
		"reconcile, sooner than absent_after": {outbox.Reconcile, 15 * time.Second, 1, "done"},
		"reconcile, later than absent_after":  {outbox.Reconcile, 50 * time.Second, 2, "done"},
		"park, however late":                  {outbox.Park, 50 * time.Second, 1, "dead"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := limit(outbox.KindEmail, tt.policy, email("order-1"))
				p.faults = []simulator.Fault{{Provider: "sendgrid", Route: "send", Do: simulator.DoDelay, Delay: tt.delay}}
				w := newWorld(t, p)
				w.run()
				if n, doc := len(w.sim.Effects()), w.store.Get("order-1"); n != tt.effects || doc["status"] != tt.status {
					t.Errorf("%d e-mails and %v, want %d and %s\n%s", n, doc, tt.effects, tt.status, w.story.String())
				}
			})
		})
	}
}

// TestLikeTexts sends two like texts to one number; the request for the second is lost before Twilio reads it. Twilio's
// list shows one such text. Where both were attempted in the same two seconds, reconcile takes it for the lost one's;
// where they were apart, it sees that it cannot tell.
func TestLikeTexts(t *testing.T) {
	for name, tt := range map[string]struct {
		apart  time.Duration
		status string
		reason any
	}{
		"at the same time": {0, "done", nil},
		"apart":            {5 * time.Second, "dead", "ambiguous"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				text := func(id string, due time.Duration) *wanted {
					return &wanted{id: id, kind: outbox.KindSMS, due: due, doc: map[string]any{"kind": "sms", "payload": map[string]any{
						"to": "+4915112345678", "from": "+15550001111", "body": "Your table is ready"}}}
				}
				p := limit(outbox.KindSMS, outbox.Reconcile, text("first", 0), text("second", tt.apart))
				p.faults = []simulator.Fault{{Provider: "twilio", Route: "send", Do: simulator.DoReset, Match: simulator.Match{OutboxID: "second"}}}
				w := newWorld(t, p)
				w.run()
				doc := w.store.Get("second")
				if n := len(w.sim.Effects()); n != 1 || doc["status"] != tt.status || doc["dead_reason"] != tt.reason {
					t.Errorf("%d texts, and the second is %v\n%s", n, doc, w.story.String())
				}
			})
		})
	}
}

// TestRetryRepeats loses the answer to an e-mail under retry: it arrives twice, as its producer chose.
func TestRetryRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := limit(outbox.KindEmail, outbox.Retry, email("order-1"))
		p.faults = []simulator.Fault{{Provider: "sendgrid", Route: "send", Do: simulator.DoReset, When: simulator.After}}
		w := newWorld(t, p)
		w.run()
		if n := len(w.sim.Effects()); n != 2 {
			t.Errorf("%d e-mails, want 2", n)
		}
	})
}

// TestAChargeSurvivesItsKeys crashes after the confirmation was processed and comes back after Stripe has forgotten
// every key: only the stored PaymentIntent tells that the money has moved.
func TestAChargeSurvivesItsKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		charge := &wanted{id: "order-1", kind: outbox.KindCharge, doc: map[string]any{"kind": "charge", "payload": map[string]any{
			"amount": int64(1000), "currency": "eur", "customer": "cus_1", "payment_method": "pm_card_visa"}}}
		p := limit(outbox.KindCharge, outbox.Park, charge)
		// The operations are: the claim, the creation, progress, the confirmation.
		p.slots = [][]life{{{incidents: []incident{{at: 4, what: dies, after: true}}}, {pause: 26 * time.Hour}}}
		w := newWorld(t, p)
		w.run()
		if doc, n := w.store.Get("order-1"), len(w.sim.Effects()); n != 1 || doc["status"] != "done" {
			t.Errorf("%d charges, %v", n, doc)
		}
		for _, c := range w.sim.Requests() {
			if c.Route == "confirm" && c.Count > 1 {
				t.Errorf("%d confirmations, want one: %s", c.Count, http.StatusText(c.Status))
			}
		}
	})
}
