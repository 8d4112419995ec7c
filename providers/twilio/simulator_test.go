package twilio

import (
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
	"github.com/outboxd/outboxd/providers/providertest"
	"github.com/outboxd/outboxd/providers/simulator"
)

var simulation = providertest.Simulation[*Provider]{
	Name:   simulator.ProviderTwilio,
	Config: simulator.Config{TwilioSID: testSID, TwilioToken: testToken, QueueDelay: time.Hour}, // look-ups meet the queue
	URL:    func(s *simulator.Servers) string { return s.TwilioURL },
	New: func(tb testing.TB, url string, transport *providers.Transport) *Provider {
		p, err := New(Config{
			AccountSID: testSID, AuthToken: testToken, URL: url, CallbackBase: "https://hooks.example/twilio", Transport: transport,
		})
		if err != nil {
			tb.Fatal(err)
		}
		return p
	},
	Intent: current,
	Other:  func() *outbox.Intent { return with(current(), &outbox.Email{}) },
	Own: func(e simulator.Effect) bool {
		return e.OutboxID == "sms-17" && e.To == recipient && e.Body == content
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

// current is the test's intent with its first attempt now.
func current() *outbox.Intent {
	in := newIntent()
	in.FirstAttemptAt, in.AmbiguousAt = time.Now(), time.Now()
	return in
}

func TestSimulatedRefusals(t *testing.T) {
	for to, code := range map[string]string{
		"+15005550001": outbox.CodeBadRecipient, "+15005550002": outbox.CodeBadRecipient, "+15005550003": outbox.CodeForbidden,
		"+15005550004": outbox.CodeOptedOut, "+15005550009": outbox.CodeBadRecipient,
	} {
		sim, p := simulation.Start(t)
		in := current()
		in.Payload.(*outbox.SMS).To = to
		_, err := p.Deliver(t.Context(), in, nil)
		if f := providertest.Failed(t, err); f.Class != outbox.Permanent || f.Code != code {
			t.Errorf("%v, want %s", f, code)
		}
		simulation.WantEffects(t, sim, 0)
	}
	sim, p := simulation.Start(t)
	in := current()
	in.Payload.(*outbox.SMS).From = "+15005550008"
	_, err := p.Deliver(t.Context(), in, nil)
	if f := providertest.Failed(t, err); f.Class != outbox.RateLimited || f.Code != outbox.CodeSenderQueueFull || !f.LaneOpen {
		t.Error(f)
	}
	simulation.WantEffects(t, sim, 0)
}

func TestSimulatedLikeTextsCannotBeToldApart(t *testing.T) {
	_, p := simulation.Start(t)
	in := current()
	for range 2 {
		if _, err := p.Deliver(t.Context(), in, nil); err != nil {
			t.Fatal(err)
		}
	}
	_, err := p.LookUp(t.Context(), in)
	if f := providertest.Failed(t, err); f.Class != outbox.Ambiguous || f.Code != outbox.CodeCannotTell {
		t.Error(f)
	}
}
