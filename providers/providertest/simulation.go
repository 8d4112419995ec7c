package providertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
	"github.com/outboxd/outboxd/providers/simulator"
)

// Simulation describes one provider before its simulated API. P is the provider's own type, for tests that need more
// than a [Provider].
type Simulation[P Provider] struct {
	Name   string // of the provider in the simulator
	Config simulator.Config
	URL    func(*simulator.Servers) string
	New    func(tb testing.TB, url string, transport *providers.Transport) P
	// Intent makes an intent that was claimed just now, and Other one of another kind.
	Intent, Other func() *outbox.Intent
	// Own tells whether an effect is all that the intent asks for.
	Own func(simulator.Effect) bool
}

// Start starts a simulator with faults of this provider, and the provider before it, until the test ends.
func (s Simulation[P]) Start(tb testing.TB, faults ...simulator.Fault) (*simulator.Sim, P) {
	tb.Helper()
	servers, err := simulator.Start(s.Config, simulator.Addrs{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(servers.Close)
	for i := range faults {
		faults[i].Provider = s.Name
	}
	if err := servers.Sim.AddFaults(faults...); err != nil {
		tb.Fatal(err)
	}
	return servers.Sim, s.New(tb, s.URL(servers), NewTransport(tb))
}

// WantEffects fails the test unless there are n effects, all of them the intent's own.
func (s Simulation[P]) WantEffects(tb testing.TB, sim *simulator.Sim, n int) {
	tb.Helper()
	effects := sim.Effects()
	if len(effects) != n {
		tb.Fatalf("%d effects, want %d: %+v", len(effects), n, effects)
	}
	for _, e := range effects {
		if !s.Own(e) {
			tb.Errorf("the effect is %+v", e)
		}
	}
}

// Run tests what holds for every provider.
func (s Simulation[P]) Run(t *testing.T) {
	t.Run("credentials that are right pass the check", func(t *testing.T) {
		_, p := s.Start(t)
		if err := p.Check(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("a delivery has one effect, which the receipt names", func(t *testing.T) {
		sim, p := s.Start(t)
		receipt, err := deliverTo(t.Context(), p, s.Intent())
		if err != nil {
			t.Fatal(err)
		}
		s.WantEffects(t, sim, 1)
		if id := sim.Effects()[0].ID; receipt.ID != id {
			t.Errorf("the receipt names %q, the effect is %q", receipt.ID, id)
		}
	})
	t.Run("an intent of another kind is refused", func(t *testing.T) {
		sim, p := s.Start(t)
		_, err := deliverTo(t.Context(), p, s.Other())
		if f := Failed(t, err); f.Class != outbox.Permanent {
			t.Errorf("deliver: %v", f)
		}
		if _, err := p.LookUp(t.Context(), s.Other()); err == nil {
			t.Error("look-up: no error")
		}
		s.WantEffects(t, sim, 0)
	})
}

// RunSends tests a provider whose effect is one request on the route "send", without a key that makes it repeatable.
// Each fault strikes before and after the request was processed. The look-up has to say which it was.
func (s Simulation[P]) RunSends(t *testing.T) {
	for _, when := range []string{simulator.Before, simulator.After} {
		for _, fault := range []simulator.Fault{
			{Do: simulator.DoReset}, {Do: simulator.DoDrop}, {Do: simulator.DoHTML}, {Do: simulator.DoRedirect},
			{Do: simulator.DoHang}, {Do: simulator.DoStatus, Status: 500}, {Do: simulator.DoStatus, Status: 503},
		} {
			fault.Route, fault.When = "send", when
			t.Run(fmt.Sprintf("%s %s %d is found out by a look-up", when, fault.Do, fault.Status), func(t *testing.T) {
				sim, p := s.Start(t, fault)
				in := s.Intent()
				ctx, cancel := context.WithTimeout(t.Context(), shortTime)
				defer cancel()
				_, err := deliverTo(ctx, p, in)
				if f := Failed(t, err); f.Class != outbox.Ambiguous {
					t.Fatal(f)
				}
				answer, err := p.LookUp(t.Context(), in)
				if err != nil || answer.Found != (when == simulator.After) || (answer.Receipt.ID != "") != answer.Found {
					t.Errorf("%+v, %v", answer, err)
				}
				s.WantEffects(t, sim, map[bool]int{true: 1, false: 0}[answer.Found])
			})
		}
	}
	for _, do := range []string{simulator.DoTruncate, simulator.DoGarbage, simulator.DoEmpty} {
		t.Run("accepted with an answer that is damaged: "+do, func(t *testing.T) {
			sim, p := s.Start(t, simulator.Fault{Route: "send", When: simulator.After, Do: do})
			if receipt, err := deliverTo(t.Context(), p, s.Intent()); err != nil || receipt.Provider != s.Name {
				t.Errorf("%+v, %v", receipt, err)
			}
			s.WantEffects(t, sim, 1)
		})
	}
}

// deliverTo attempts the intent once, and keeps the progress in it.
func deliverTo(ctx context.Context, p Provider, in *outbox.Intent) (outbox.Receipt, error) {
	return p.Deliver(ctx, in, func(_ context.Context, progress outbox.Progress) error {
		in.Progress = progress
		return nil
	})
}

// NewTransport returns a transport whose connections are closed when the test ends.
func NewTransport(tb testing.TB) *providers.Transport {
	transport := providers.NewTransport(providers.TransportConfig{})
	tb.Cleanup(transport.CloseIdleConnections)
	return transport
}

// Failed returns err as the failure that every error of a provider is.
func Failed(tb testing.TB, err error) *outbox.Failure {
	tb.Helper()
	f, ok := errors.AsType[*outbox.Failure](err)
	if !ok {
		tb.Fatalf("the error is %v", err)
	}
	return f
}

// NamesEveryProblem fails the test unless err, of a wrong configuration, has each of the texts and none of the values.
func NamesEveryProblem(tb testing.TB, err error, texts, values []string) {
	tb.Helper()
	if err == nil {
		tb.Fatal("there is no error")
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			tb.Errorf("the error says nothing of the %s: %v", text, err)
		}
	}
	for _, value := range values {
		if strings.Contains(err.Error(), value) {
			tb.Errorf("the error shows the configuration: %v", err)
		}
	}
}
