package sendgrid

import (
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/providertest"
	"github.com/outboxd/outboxd/providers/simulator"
)

var simulation = providertest.Simulation[*Provider]{
	Name:   simulator.ProviderSendGrid,
	Config: simulator.Config{SendGridKey: testKey},
	URL:    func(s *simulator.Servers) string { return s.SendGridURL },
	New:    newProvider,
	Intent: newIntent,
	Other:  func() *outbox.Intent { return with(newIntent(), &outbox.SMS{}) },
	Own: func(e simulator.Effect) bool {
		return e.OutboxID == "mail-17" && e.To == recipient && e.Subject == subject
	},
}

// with returns the intent with another payload.
func with(in *outbox.Intent, payload any) *outbox.Intent {
	in.Payload = payload
	return in
}

func TestSimulated(t *testing.T) {
	simulation.Run(t)
	simulation.RunSends(t)
}

// TestSimulatedLogLags finds nothing until the log has followed, and never another intent's e-mail.
func TestSimulatedLogLags(t *testing.T) {
	servers, err := simulator.Start(simulator.Config{LogsDelay: 5 * time.Minute}, simulator.Addrs{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(servers.Close)
	p := newProvider(t, servers.SendGridURL, providertest.NewTransport(t))
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
	sim, p := simulation.Start(t, simulator.Fault{Route: "send", Do: simulator.DoStatus, Status: 429, Headers: map[string]string{"X-RateLimit-Reset": "+3"}})
	_, err := p.Deliver(t.Context(), newIntent(), nil)
	if f := providertest.Failed(t, err); f.Class != outbox.RateLimited || f.RetryAfter < time.Second || f.RetryAfter > 4*time.Second {
		t.Errorf("%v after %v", f, f.RetryAfter)
	}
	simulation.WantEffects(t, sim, 0)
}
