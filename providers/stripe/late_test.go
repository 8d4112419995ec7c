package stripe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	stripe "github.com/stripe/stripe-go/v76"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/providertest"
	"github.com/outboxd/outboxd/providers/simulator"
)

// holder is a network before the simulator that keeps the first confirmation until it is let go.
type holder struct {
	*rig
	sim     *simulator.Sim
	abort   atomic.Pointer[context.CancelFunc] // ends the attempt whose confirmation is held
	release func() int                         // lets it go and returns the status that Stripe answered with
}

func hold(t *testing.T) *holder {
	t.Helper()
	servers, err := simulator.Start(simulator.Config{StripeKey: testKey}, simulator.Addrs{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(servers.Close)
	target, err := url.Parse(servers.StripeURL)
	if err != nil {
		t.Fatal(err)
	}
	line := &http.Transport{}
	t.Cleanup(line.CloseIdleConnections)
	pass := httputil.NewSingleHostReverseProxy(target)
	pass.Transport = line
	held := make(chan *http.Request, 1)
	h := &holder{sim: servers.Sim}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !strings.HasSuffix(req.URL.Path, "/confirm") || len(held) > 0 {
			pass.ServeHTTP(w, req)
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		late, err := http.NewRequest(req.Method, servers.StripeURL+req.URL.RequestURI(), strings.NewReader(string(body)))
		if err != nil {
			t.Error(err)
		}
		late.Header = req.Header.Clone()
		held <- late
		(*h.abort.Load())()
	}))
	t.Cleanup(proxy.Close)
	h.rig = &rig{Provider: newProvider(t, proxy.URL, providertest.NewTransport(t))}
	h.release = func() int {
		resp, err := line.RoundTrip(<-held)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	return h
}

// attempt delivers the intent until its confirmation is under way, and is cut off then.
func (h *holder) attempt(t *testing.T, in *outbox.Intent) *outbox.Failure {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h.abort.Store(&cancel)
	_, err := h.Deliver(ctx, in, h.save)
	in.Progress = h.saves[len(h.saves)-1]
	f, ok := errors.AsType[*outbox.Failure](err)
	if !ok || f.Class != outbox.Ambiguous {
		t.Fatalf("the attempt ended with %v", err)
	}
	return f
}

var latePolicy = outbox.Policy{
	Retry: outbox.RetryPolicy{MaxAttempts: 1, Base: time.Second, Max: time.Minute}, OnAmbiguous: outbox.Retry, AsksFirst: true,
	Reconcile: outbox.ReconcilePolicy{Wait: 30 * time.Second, Interval: 30 * time.Second, AbsentAfter: 2 * time.Minute, GiveUp: 15 * time.Minute},
}

// TestLateConfirmationChargesNothing: a confirmation arrives after the charge was declared expired or exhausted, or was
// begun again in a new generation.
func TestLateConfirmationChargesNothing(t *testing.T) {
	for name, change := range map[string]func(*outbox.Intent){
		"expired":   func(in *outbox.Intent) { in.ExpiresAt = in.Lease.At.Add(time.Minute) },
		"exhausted": func(in *outbox.Intent) { in.Attempts = 2 },
		"both":      func(in *outbox.Intent) { in.Attempts, in.ExpiresAt = 2, in.Lease.At.Add(time.Minute) },
	} {
		h := hold(t)
		in := newIntent(nil)
		change(in)
		h.attempt(t, in)
		in.AmbiguousAt = in.Lease.At
		later := in.Lease.At.Add(3 * time.Minute)
		in.Lease.At = later
		in.Attempts = max(in.Attempts, 2)
		if action, _ := outbox.Next(in, latePolicy, later); action != outbox.LookUp {
			t.Fatalf("%s: the action is %d", name, action)
		}
		answer, err := h.LookUp(t.Context(), in)
		if err != nil || answer.Found || !answer.Certain {
			t.Fatalf("%s: %+v, %v", name, answer, err)
		}
		if len(answer.Also) != 1 || answer.Also[0].What != outbox.WhatCancelAtProvider || answer.Also[0].Ref != storedIn(in) || answer.Also[0].RequestID == "" {
			t.Errorf("%s: history gets %+v", name, answer.Also)
		}
		d := outbox.Decide(in, outbox.Verdict{Event: outbox.Absent, Certain: answer.Certain, Also: answer.Also}, latePolicy, later)
		if d.Status != outbox.StatusDead || d.Ambiguous != outbox.ClearMark {
			t.Errorf("%s: decided %s/%s, mark %d", name, d.Status, d.Reason, d.Ambiguous)
		}
		if status := h.release(); status != http.StatusBadRequest {
			t.Errorf("%s: the late confirmation is answered with %d", name, status)
		}
		if n := len(h.sim.Effects()); n != 0 {
			t.Errorf("%s: %d effects after it was declared to have had none", name, n)
		}
	}
}

func TestLateConfirmationOfAnEarlierGeneration(t *testing.T) {
	h := hold(t)
	in := newIntent(nil)
	h.attempt(t, in)
	in.Generation++
	if receipt, f := h.deliver(t, in); f != nil || receipt.Status != "succeeded" {
		t.Fatalf("%+v, %v", receipt, f)
	}
	h.release()
	simulation.WantEffects(t, h.sim, 1)
}

func TestLateConfirmationOfAChangedPayload(t *testing.T) {
	h := hold(t)
	in := newIntent(nil)
	h.attempt(t, in)
	charge(in).Amount = 100
	if _, f := h.deliver(t, in); f == nil || f.Code != outbox.CodeMismatch {
		t.Fatalf("%v", f)
	}
	h.release()
	if n := len(h.sim.Effects()); n != 0 {
		t.Errorf("%d effects of an amount that was corrected", n)
	}
}

// TestLookUpThatCannotCancel leaves it open, however the cancellation fails, and ends it once it can.
func TestLookUpThatCannotCancel(t *testing.T) {
	for _, fault := range []simulator.Fault{
		{Do: simulator.DoStatus, Status: 500}, {Do: simulator.DoDrop}, {Do: simulator.DoReset}, {Do: simulator.DoHTML}, {Do: simulator.DoEmpty},
		{Do: simulator.DoStatus, Status: 401}, {Do: simulator.DoStatus, Status: 403}, {Do: simulator.DoStatus, Status: 404}, {Do: simulator.DoStatus, Status: 400},
		{Do: simulator.DoStatus, Status: 429}, {Do: simulator.DoStatus, Status: 409}, {Do: simulator.DoStatus, Status: 500, Saved: true}, {Do: simulator.DoGarbage},
		{Do: simulator.DoHTML, Status: 404},
	} {
		for _, when := range []string{simulator.Before, simulator.After} {
			name := fmt.Sprintf("%s %s %d %v", when, fault.Do, fault.Status, fault.Saved)
			sim, r := simulate(t, simulator.Fault{Route: "confirm", When: simulator.Before, Do: simulator.DoDrop})
			in := newIntent(nil)
			r.deliver(t, in)
			fault.Provider, fault.Route, fault.When = simulator.ProviderStripe, "cancel", when
			if err := sim.AddFaults(fault); err != nil {
				t.Fatal(err)
			}
			answer, err := r.LookUp(t.Context(), in)
			if f, ok := err.(*outbox.Failure); !ok || f.Class == outbox.Permanent || answer.Certain || answer.Found {
				t.Errorf("%s: %+v, %v", name, answer, err)
			}
			answer, err = r.LookUp(t.Context(), in)
			if err != nil || !answer.Certain || answer.Found || len(answer.Also) != 1 {
				t.Errorf("%s, then: %+v, %v", name, answer, err)
			}
			if status := r.status(t, storedIn(in)); status != stripe.PaymentIntentStatusCanceled {
				t.Errorf("%s: it is %s", name, status)
			}
			simulation.WantEffects(t, sim, 0)
		}
	}
}

// TestLookUpMeetsAChargeAtTheLastMoment: the confirmation arrives between the question and the cancellation.
func TestLookUpMeetsAChargeAtTheLastMoment(t *testing.T) {
	r := newRig(t)
	r.Script(unconfirmed, refusal(400, "invalid_request_error", "payment_intent_unexpected_state", ""), succeeded)
	answer, err := r.LookUp(t.Context(), newIntent(saved(1)))
	if err != nil || !answer.Found || answer.Receipt.ID != intentID {
		t.Errorf("%+v, %v", answer, err)
	}
	r.Script(unconfirmed, refusal(400, "invalid_request_error", "payment_intent_unexpected_state", ""), cancelled)
	if answer, err = r.LookUp(t.Context(), newIntent(saved(1))); err != nil || !answer.Certain {
		t.Errorf("%+v, %v", answer, err)
	}
	r.Script(unconfirmed, refusal(400, "invalid_request_error", "payment_intent_unexpected_state", ""), unconfirmed)
	if answer, err = r.LookUp(t.Context(), newIntent(saved(1))); err == nil || answer.Certain {
		t.Errorf("%+v, %v", answer, err)
	}
}

// TestLookUpOfACancelledPayment tells what a look-up cancelled from what somebody else did.
func TestLookUpOfACancelledPayment(t *testing.T) {
	for name, row := range map[string]struct {
		reason  string
		history []outbox.Record
		certain bool
		also    int
	}{
		"by a look-up, recorded":          {"abandoned", []outbox.Record{{What: outbox.WhatCancelAtProvider, Ref: intentID}}, true, 0},
		"by a look-up that left no trace": {"abandoned", nil, true, 1},
		"by the customer":                 {"requested_by_customer", nil, false, 0},
		"by somebody":                     {"", nil, false, 0},
		"by somebody, another recorded":   {"", []outbox.Record{{What: outbox.WhatCancelAtProvider, Ref: "pi_3Other"}}, false, 0},
	} {
		r := newRig(t)
		reply := cancelled
		reply.Body = strings.Replace(reply.Body, `"object"`, fmt.Sprintf(`"cancellation_reason":%q,"object"`, row.reason), 1)
		r.Script(reply)
		in := newIntent(saved(1))
		in.History = row.history
		answer, err := r.LookUp(t.Context(), in)
		if answer.Certain != row.certain || (err == nil) != row.certain || len(answer.Also) != row.also {
			t.Errorf("%s: %+v, %v", name, answer, err)
		}
		if f, ok := err.(*outbox.Failure); !row.certain && (!ok || f.Class != outbox.Permanent || f.Code != outbox.CodeCanceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRetriedAfterALookUpCancelledIt charges anew what a person made pending again, in the same generation and in a new
// one.
func TestRetriedAfterALookUpCancelledIt(t *testing.T) {
	for n, fault := range []simulator.Fault{
		{Do: simulator.DoDrop}, {Do: simulator.DoStatus, Status: 500, Saved: true}, {Do: simulator.DoDrop}, {Do: simulator.DoStatus, Status: 500, Saved: true},
	} {
		raised := n / 2
		fault.Route, fault.When = "confirm", simulator.Before // one that Stripe stores holds its key
		sim, r := simulate(t, fault)
		in := newIntent(nil)
		r.deliver(t, in)
		answer, err := r.LookUp(t.Context(), in)
		if err != nil || !answer.Certain {
			t.Fatalf("%+v, %v", answer, err)
		}
		first := storedIn(in)
		in.History, in.Generation = answer.Also, raised
		for range 2 { // an attempt too many changes nothing
			if receipt, f := r.deliver(t, in); f != nil || receipt.ID == first {
				t.Errorf("generation %d: %+v, %v", raised, receipt, f)
			}
		}
		simulation.WantEffects(t, sim, 1)
	}
}

// TestLookUpWithoutAPaymentIsCertain: only what is stored is confirmed.
func TestLookUpWithoutAPaymentIsCertain(t *testing.T) {
	_, r := simulate(t, simulator.Fault{Route: "create", When: simulator.After, Do: simulator.DoDrop})
	in := newIntent(nil)
	r.deliver(t, in)
	if answer, err := r.LookUp(t.Context(), in); err != nil || answer.Found || !answer.Certain || len(answer.Also) != 0 {
		t.Errorf("%+v, %v", answer, err)
	}
}
