package worker

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

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

// Provider returns what carries out a kind, whose credentials must be there. It asks for its transport by its name. The
// events may be nil.
func Provider(kind string, p config.Providers, transport func(provider string) *providers.Transport, events sendgrid.Events) (dispatcher.Provider, error) {
	switch kind {
	case outbox.KindCharge:
		return stripe.New(stripe.Config{APIKey: p.Stripe.Key, URL: p.Stripe.URL, Transport: transport(stripe.Name)})
	case outbox.KindEmail:
		return sendgrid.New(sendgrid.Config{APIKey: p.SendGrid.Key, URL: p.SendGrid.URL, Transport: transport(sendgrid.Name), Events: events})
	case outbox.KindSMS:
		return twilio.New(twilio.Config{
			AccountSID: p.Twilio.SID.Reveal(), AuthToken: p.Twilio.Token, URL: p.Twilio.URL, CallbackBase: p.Twilio.Callback, Transport: transport(twilio.Name),
		})
	default:
		return nil, fmt.Errorf("no provider carries out intents of kind %q", kind)
	}
}

// Plain returns the same transport for each provider.
func Plain(transport *providers.Transport) func(string) *providers.Transport {
	return func(string) *providers.Transport { return transport }
}

// observed tells of each answer: of which provider, to which operation, with which status.
func observed(transport *providers.Transport, told func(provider, operation string, status int)) func(string) *providers.Transport {
	return func(provider string) *providers.Transport {
		return transport.Observed(func(req *http.Request, status int) { told(provider, operation(req), status) })
	}
}

// operation tells what a request is for. A question is a GET at all providers, and only Stripe knows cancelling.
func operation(req *http.Request) string {
	switch {
	case req.Method == http.MethodGet:
		return "lookup"
	case strings.HasSuffix(req.URL.Path, "/cancel"):
		return "cancel"
	default:
		return "send"
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
