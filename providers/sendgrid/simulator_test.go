package sendgrid

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
	servers, err := simulator.Start(simulator.Config{SendGridKey: testKey}, simulator.Addrs{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(servers.Close)
	transport := providers.NewTransport(providers.TransportConfig{})
	t.Cleanup(transport.CloseIdleConnections)
	for i := range faults {
		faults[i].Provider = simulator.ProviderSendGrid
	}
	if err := servers.Sim.AddFaults(faults...); err != nil {
		t.Fatal(err)
	}
	return servers.Sim, newProvider(t, servers.SendGridURL, transport)
}

func wantEffects(t *testing.T, sim *simulator.Sim, n int) {
	t.Helper()
	effects := sim.Effects()
	if len(effects) != n {
		t.Fatalf("%d effects, want %d: %+v", len(effects), n, effects)
	}
	for _, e := range effects {
		if e.OutboxID != "mail-17" || e.To != recipient || e.Subject != subject {
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
	receipt, err := p.Deliver(t.Context(), newIntent(), nil)
	if err != nil || receipt.ID != sim.Effects()[0].ID {
		t.Fatalf("%+v, %v", receipt, err)
	}
	wantEffects(t, sim, 1)
}

// TestSimulatedFaults meets each fault before and after processing: afterwards the look-up says which it was.
func TestSimulatedFaults(t *testing.T) {
	for _, when := range []string{simulator.Before, simulator.After} {
		for _, fault := range []simulator.Fault{
			{Do: simulator.DoReset}, {Do: simulator.DoDrop}, {Do: simulator.DoHTML}, {Do: simulator.DoRedirect}, {Do: simulator.DoHang},
			{Do: simulator.DoStatus, Status: 500}, {Do: simulator.DoStatus, Status: 503},
		} {
			fault.Route, fault.When = "send", when
			t.Run(fmt.Sprintf("%s %s %d", when, fault.Do, fault.Status), func(t *testing.T) {
				sim, p := simulate(t, fault)
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				_, err := p.Deliver(ctx, newIntent(), nil)
				if f := failed(t, err); f.Class != outbox.Ambiguous {
					t.Fatal(f)
				}
				answer, err := p.LookUp(t.Context(), newIntent())
				receipt, found := answer.Receipt, answer.Found
				if err != nil || found != (when == simulator.After) || (receipt.ID != "") != found {
					t.Errorf("%+v, %v, %v", receipt, found, err)
				}
				wantEffects(t, sim, map[bool]int{true: 1, false: 0}[found])
			})
		}
	}
}

func TestSimulatedAcceptedAnswerThatIsDamaged(t *testing.T) {
	for _, do := range []string{simulator.DoTruncate, simulator.DoGarbage, simulator.DoEmpty} {
		sim, p := simulate(t, simulator.Fault{Route: "send", When: simulator.After, Do: do})
		if _, err := p.Deliver(t.Context(), newIntent(), nil); err != nil {
			t.Errorf("%s: %v", do, err)
		}
		wantEffects(t, sim, 1)
	}
}

// TestSimulatedLogLags finds nothing until the log has followed, and never another intent's e-mail.
func TestSimulatedLogLags(t *testing.T) {
	servers, err := simulator.Start(simulator.Config{LogsDelay: 5 * time.Minute}, simulator.Addrs{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(servers.Close)
	transport := providers.NewTransport(providers.TransportConfig{})
	t.Cleanup(transport.CloseIdleConnections)
	p := newProvider(t, servers.SendGridURL, transport)
	other := newIntent()
	other.ID = outbox.NewStringID("mail-18")
	for _, in := range []*outbox.Intent{newIntent(), other} {
		if _, err := p.Deliver(t.Context(), in, nil); err != nil {
			t.Fatal(err)
		}
	}
	unsent := newIntent()
	unsent.ID = outbox.NewStringID("mail-19")
	for _, lag := range []bool{true, false} {
		for in, want := range map[*outbox.Intent]bool{newIntent(): !lag, other: !lag, unsent: false} {
			if answer, err := p.LookUp(t.Context(), in); err != nil || answer.Found != want {
				t.Errorf("%s: found %v, want %v, %v", in.ID, answer.Found, want, err)
			}
		}
		servers.Sim.Advance(6 * time.Minute)
	}
}

func TestSimulatedRateLimit(t *testing.T) {
	sim, p := simulate(t, simulator.Fault{Route: "send", Do: simulator.DoStatus, Status: 429, Headers: map[string]string{"X-RateLimit-Reset": "+3"}})
	_, err := p.Deliver(t.Context(), newIntent(), nil)
	if f := failed(t, err); f.Class != outbox.RateLimited || f.RetryAfter < time.Second || f.RetryAfter > 4*time.Second {
		t.Errorf("%v after %v", f, f.RetryAfter)
	}
	wantEffects(t, sim, 0)
}
