package twilio

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
	"github.com/outboxd/outboxd/providers/simulator"
)

func simulate(t *testing.T, faults ...simulator.Fault) (*simulator.Sim, *Provider) {
	t.Helper()
	servers, err := simulator.Start(simulator.Config{TwilioSID: testSID, TwilioToken: testToken, QueueDelay: time.Hour}, simulator.Addrs{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(servers.Close)
	transport := providers.NewTransport(providers.TransportConfig{})
	t.Cleanup(transport.CloseIdleConnections)
	for i := range faults {
		faults[i].Provider = simulator.ProviderTwilio
	}
	if err := servers.Sim.AddFaults(faults...); err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{
		AccountSID: testSID, AuthToken: testToken, URL: servers.TwilioURL, CallbackBase: "https://hooks.example/twilio", Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	return servers.Sim, p
}

// current is the test's intent with its first attempt now.
func current() *outbox.Intent {
	in := newIntent()
	in.FirstAttemptAt, in.AmbiguousAt = time.Now(), time.Now()
	return in
}

func wantEffects(t *testing.T, sim *simulator.Sim, n int) {
	t.Helper()
	effects := sim.Effects()
	if len(effects) != n {
		t.Fatalf("%d effects, want %d: %+v", len(effects), n, effects)
	}
	for _, e := range effects {
		if e.OutboxID != "sms-17" || e.To != recipient || e.Body != content {
			t.Errorf("the effect is %+v", e)
		}
	}
}

func TestSimulatedCheck(t *testing.T) {
	_, p := simulate(t)
	if err := p.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSimulatedDelivery(t *testing.T) {
	sim, p := simulate(t)
	receipt, err := p.Deliver(t.Context(), current(), nil)
	if err != nil || receipt.ID != sim.Effects()[0].ID {
		t.Fatalf("%+v, %v", receipt, err)
	}
	wantEffects(t, sim, 1)
}

func TestSimulatedRefusals(t *testing.T) {
	for to, code := range map[string]string{
		"+15005550001": outbox.CodeBadRecipient, "+15005550002": outbox.CodeBadRecipient, "+15005550003": outbox.CodeForbidden,
		"+15005550004": outbox.CodeOptedOut, "+15005550009": outbox.CodeBadRecipient,
	} {
		sim, p := simulate(t)
		in := current()
		in.Payload.(*outbox.SMS).To = to
		_, err := p.Deliver(t.Context(), in, nil)
		if f := failed(t, err); f.Class != outbox.Permanent || f.Code != code {
			t.Errorf("%v, want %s", f, code)
		}
		wantEffects(t, sim, 0)
	}
	sim, p := simulate(t)
	in := current()
	in.Payload.(*outbox.SMS).From = "+15005550008"
	_, err := p.Deliver(t.Context(), in, nil)
	if f := failed(t, err); f.Class != outbox.RateLimited || f.Code != outbox.CodeSenderQueueFull || !f.LaneOpen {
		t.Error(f)
	}
	wantEffects(t, sim, 0)
}

// TestSimulatedFaults meets each fault before and after processing: afterwards the look-up says which it was, also
// while the message still waits in Twilio's queue.
func TestSimulatedFaults(t *testing.T) {
	for _, when := range []string{simulator.Before, simulator.After} {
		for _, fault := range []simulator.Fault{
			{Do: simulator.DoReset}, {Do: simulator.DoDrop}, {Do: simulator.DoHTML}, {Do: simulator.DoRedirect}, {Do: simulator.DoHang},
			{Do: simulator.DoStatus, Status: 500}, {Do: simulator.DoStatus, Status: 503},
		} {
			fault.Route, fault.When = "send", when
			t.Run(fmt.Sprintf("%s %s %d", when, fault.Do, fault.Status), func(t *testing.T) {
				sim, p := simulate(t, fault)
				in := current()
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				_, err := p.Deliver(ctx, in, nil)
				if f := failed(t, err); f.Class != outbox.Ambiguous {
					t.Fatal(f)
				}
				answer, err := p.LookUp(t.Context(), in)
				receipt, found := answer.Receipt, answer.Found
				if err != nil || found != (when == simulator.After) || (receipt.ID != "") != found {
					t.Errorf("%+v, %v, %v", receipt, found, err)
				}
				wantEffects(t, sim, map[bool]int{true: 1, false: 0}[found])
			})
		}
	}
}

func TestSimulatedCreationWhoseAnswerIsDamaged(t *testing.T) {
	for _, do := range []string{simulator.DoTruncate, simulator.DoGarbage, simulator.DoEmpty} {
		sim, p := simulate(t, simulator.Fault{Route: "send", When: simulator.After, Do: do})
		receipt, err := p.Deliver(t.Context(), current(), nil)
		if err != nil || receipt.Provider != Name || receipt.ID != "" {
			t.Errorf("%s: %+v, %v", do, receipt, err)
		}
		wantEffects(t, sim, 1)
	}
}

func TestSimulatedLikeTextsCannotBeToldApart(t *testing.T) {
	_, p := simulate(t)
	in := current()
	for range 2 {
		if _, err := p.Deliver(t.Context(), in, nil); err != nil {
			t.Fatal(err)
		}
	}
	_, err := p.LookUp(t.Context(), in)
	if f := failed(t, err); f.Class != outbox.Ambiguous || f.Code != outbox.CodeCannotTell {
		t.Error(f)
	}
}
