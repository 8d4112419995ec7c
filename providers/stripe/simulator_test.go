package stripe

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/providertest"
	"github.com/outboxd/outboxd/providers/simulator"
)

var simulation = providertest.Simulation[*Provider]{
	Name:   simulator.ProviderStripe,
	Config: simulator.Config{StripeKey: testKey},
	URL:    func(s *simulator.Servers) string { return s.StripeURL },
	New:    newProvider,
	Intent: func() *outbox.Intent { return newIntent(nil) },
	Other:  func() *outbox.Intent { return with(newIntent(nil), &outbox.SMS{}) },
	Own: func(e simulator.Effect) bool {
		return e.OutboxID == "order-17" && e.Amount == 1999 && e.Currency == "eur"
	},
}

// with returns the intent with another payload.
func with(in *outbox.Intent, payload any) *outbox.Intent {
	in.Payload = payload
	return in
}

// simulate returns a rig whose provider meets the simulator.
func simulate(t *testing.T, faults ...simulator.Fault) (*simulator.Sim, *rig) {
	t.Helper()
	sim, p := simulation.Start(t, faults...)
	return sim, &rig{Provider: p}
}

func TestSimulated(t *testing.T) {
	simulation.Run(t)
}

func TestSimulatedDeclines(t *testing.T) {
	for card, code := range map[string]string{
		"pm_card_chargeDeclined": "generic_decline", "pm_card_chargeDeclinedInsufficientFunds": "insufficient_funds",
		"pm_card_chargeDeclinedLostCard": "lost_card", "pm_card_chargeDeclinedExpiredCard": "expired_card",
		"pm_card_authenticationRequired": "authentication_required",
	} {
		sim, r := simulate(t)
		in := newIntent(nil)
		in.Payload.(*outbox.Charge).PaymentMethod = card
		want := outbox.CodeDeclined
		if code == "authentication_required" {
			want = outbox.CodeActionRequired
		}
		for range 2 { // the second time the stored PaymentIntent says so
			if _, f := r.deliver(t, in); f == nil || f.Class != outbox.Permanent || f.Code != want || f.ProviderCode != code {
				t.Errorf("%s: %v", card, f)
			}
		}
		simulation.WantEffects(t, sim, 0)
	}
}

func TestSimulatedStatesOfAcceptance(t *testing.T) {
	sim, r := simulate(t)
	in := newIntent(nil)
	in.Payload.(*outbox.Charge).PaymentMethod = "pm_usBankAccount_success"
	if receipt, f := r.deliver(t, in); f != nil || receipt.Status != "processing" {
		t.Errorf("%+v, %v", receipt, f)
	}
	simulation.WantEffects(t, sim, 1)
}

// TestSimulatedFaultsChargeOnce meets each fault at each request, before and after processing, once and as an answer
// that Stripe stores. However often the attempt must be repeated, there is one effect and one receipt.
func TestSimulatedFaultsChargeOnce(t *testing.T) {
	for _, route := range []string{"create", "confirm", "retrieve"} {
		for _, when := range []string{simulator.Before, simulator.After} {
			for _, fault := range []simulator.Fault{
				{Do: simulator.DoReset}, {Do: simulator.DoDrop}, {Do: simulator.DoTruncate}, {Do: simulator.DoHTML}, {Do: simulator.DoGarbage},
				{Do: simulator.DoEmpty}, {Do: simulator.DoRedirect}, {Do: simulator.DoFlood, Size: 4 << 20},
				{Do: simulator.DoStatus, Status: 500}, {Do: simulator.DoStatus, Status: 500, Saved: true},
				{Do: simulator.DoStatus, Status: 503}, {Do: simulator.DoStatus, Status: 429}, {Do: simulator.DoStatus, Status: 409},
				{Do: simulator.DoStatus, Status: 424}, {Do: simulator.DoStatus, Status: 401},
			} {
				fault.Route, fault.When = route, when
				t.Run(fmt.Sprintf("%s %s %s %d %v", route, when, fault.Do, fault.Status, fault.Saved), func(t *testing.T) {
					faults := []simulator.Fault{fault}
					if route == "retrieve" { // is reached only after a confirmation that went wrong
						faults = append(faults, simulator.Fault{Route: "confirm", When: when, Do: simulator.DoDrop})
					}
					sim, r := simulate(t, faults...)
					in := newIntent(nil)
					attempts := 0
					for receipt, f := r.deliver(t, in); f != nil || receipt.ID == ""; receipt, f = r.deliver(t, in) {
						if f.Class == outbox.Permanent {
							t.Fatalf("attempt %d: %v", attempts, f)
						}
						if attempts++; attempts > 5 {
							t.Fatalf("after %d attempts: %v", attempts, f)
						}
					}
					simulation.WantEffects(t, sim, 1)
					// An attempt too many changes nothing.
					if receipt, f := r.deliver(t, in); f != nil || receipt.Status != "succeeded" {
						t.Errorf("%+v, %v", receipt, f)
					}
					simulation.WantEffects(t, sim, 1)
				})
			}
		}
	}
}

func TestSimulatedLostConfirmationIsFound(t *testing.T) {
	sim, r := simulate(t, simulator.Fault{Route: "confirm", When: simulator.After, Do: simulator.DoReset})
	in := newIntent(nil)
	if _, f := r.deliver(t, in); f == nil || f.Class != outbox.Ambiguous {
		t.Fatalf("%v", f)
	}
	answer, err := r.LookUp(t.Context(), in)
	receipt, found := answer.Receipt, answer.Found
	if err != nil || !found || receipt.Status != "succeeded" {
		t.Errorf("%+v, %v, %v", receipt, found, err)
	}
	simulation.WantEffects(t, sim, 1)
}

func TestSimulatedConfirmationThatNeverArrivedIsAbsent(t *testing.T) {
	sim, r := simulate(t, simulator.Fault{Route: "confirm", When: simulator.Before, Do: simulator.DoHang})
	in := newIntent(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := r.Deliver(ctx, in, r.save); err == nil {
		t.Fatal("there is no error")
	}
	in.Progress = r.saves[len(r.saves)-1]
	if answer, err := r.LookUp(t.Context(), in); answer.Found || err != nil {
		t.Errorf("%v, %v", answer.Found, err)
	}
	simulation.WantEffects(t, sim, 0)
}

// TestSimulatedDaysLater repeats a confirmation whose key Stripe has forgotten.
func TestSimulatedDaysLater(t *testing.T) {
	for _, when := range []string{simulator.Before, simulator.After} {
		sim, r := simulate(t, simulator.Fault{Route: "confirm", When: when, Do: simulator.DoDrop})
		in := newIntent(nil)
		if _, f := r.deliver(t, in); f == nil || f.Class != outbox.Ambiguous {
			t.Fatalf("%v", f)
		}
		sim.Advance(72 * time.Hour)
		in.Lease.At = in.Lease.At.Add(72 * time.Hour)
		if receipt, f := r.deliver(t, in); f != nil || receipt.Status != "succeeded" {
			t.Errorf("%s: %+v, %v", when, receipt, f)
		}
		simulation.WantEffects(t, sim, 1)
	}
}

// TestSimulatedTwoWorkers lets a worker that lost its lease, and with it the right to store progress, meet the one that
// took over.
func TestSimulatedTwoWorkers(t *testing.T) {
	sim, r := simulate(t)
	slow, fast := newIntent(nil), newIntent(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := r.Deliver(ctx, slow, func(context.Context, outbox.Progress) error {
		if receipt, f := r.deliver(t, fast); f != nil || receipt.ID == "" {
			t.Errorf("%+v, %v", receipt, f)
		}
		return outbox.ErrLeaseLost
	})
	if err == nil {
		t.Error("the slow worker saw no error")
	}
	simulation.WantEffects(t, sim, 1)
}

// TestSimulatedPayloadChangedUnderItsKey changes the payload after a creation whose answer was lost. It moved nothing,
// so that what the payload asks for now is charged, under a fresh key, and nothing else.
func TestSimulatedPayloadChangedUnderItsKey(t *testing.T) {
	sim, r := simulate(t, simulator.Fault{Route: "create", When: simulator.After, Do: simulator.DoDrop})
	in := newIntent(nil)
	if _, f := r.deliver(t, in); f == nil || f.Class != outbox.Transient {
		t.Fatalf("%v", f)
	}
	in.Payload.(*outbox.Charge).Amount = 2999
	if receipt, f := r.deliver(t, in); f != nil || receipt.Status != "succeeded" {
		t.Errorf("%+v, %v", receipt, f)
	}
	if effects := sim.Effects(); len(effects) != 1 || effects[0].Amount != 2999 {
		t.Errorf("%+v", effects)
	}
}

func TestSimulatedPaymentCancelledByHand(t *testing.T) {
	sim, r := simulate(t, simulator.Fault{Route: "confirm", When: simulator.Before, Do: simulator.DoDrop})
	in := newIntent(nil)
	r.deliver(t, in)
	if _, err := r.intents.Cancel(in.Progress["payment_intent"].(string), nil); err != nil {
		t.Fatal(err)
	}
	if _, f := r.deliver(t, in); f == nil || f.Class != outbox.Permanent || f.Code != outbox.CodeCanceled {
		t.Errorf("%v", f)
	}
	simulation.WantEffects(t, sim, 0)
}
