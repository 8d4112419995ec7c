package worker

import (
	"errors"
	"fmt"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
	"github.com/outboxd/outboxd/providers/sendgrid"
	"github.com/outboxd/outboxd/providers/stripe"
	"github.com/outboxd/outboxd/providers/twilio"
)

// lanes gives each configured lane its provider.
func lanes(configured []config.Lane, provider func(kind string) (dispatcher.Provider, error)) ([]dispatcher.Lane, error) {
	var errs []error
	list := make([]dispatcher.Lane, 0, len(configured))
	for _, l := range configured {
		lane := l.Lane
		var err error
		if lane.Provider, err = provider(l.Kind); err != nil {
			errs = append(errs, err)
		}
		list = append(list, lane)
	}
	return list, errors.Join(errs...)
}

// Provider returns what carries out a kind, whose credentials must be there. The events may be nil.
func Provider(kind string, p config.Providers, transport *providers.Transport, events sendgrid.Events) (dispatcher.Provider, error) {
	switch kind {
	case outbox.KindCharge:
		return stripe.New(stripe.Config{APIKey: p.Stripe.Key, URL: p.Stripe.URL, Transport: transport})
	case outbox.KindEmail:
		return sendgrid.New(sendgrid.Config{APIKey: p.SendGrid.Key, URL: p.SendGrid.URL, Transport: transport, Events: events})
	case outbox.KindSMS:
		return twilio.New(twilio.Config{
			AccountSID: p.Twilio.SID.Reveal(), AuthToken: p.Twilio.Token, URL: p.Twilio.URL, CallbackBase: p.Twilio.Callback, Transport: transport,
		})
	default:
		return nil, fmt.Errorf("no provider carries out intents of kind %q", kind)
	}
}

// connections is how many idle connections are kept for each provider: a lane's concurrency.
func connections(configured []config.Lane) int {
	n := 0
	for _, l := range configured {
		n = max(n, l.Concurrency)
	}
	return n
}
