package stripe

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	stripe "github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/balance"
	"github.com/stripe/stripe-go/v76/paymentintent"

	"github.com/outboxd/outboxd/providers"
)

// Name is this provider's name in receipts and failures.
const Name = "stripe"

// Config sets a [Provider].
type Config struct {
	APIKey    providers.Secret     // secret or restricted key; required
	URL       string               // base URL; defaults to Stripe's own
	Transport *providers.Transport // required; the caller closes it
}

// Provider charges through one Stripe account. It is safe for concurrent use and holds no goroutine.
type Provider struct {
	intents paymentintent.Client
	balance balance.Client
}

// New makes a Provider. The error names everything that is wrong with the configuration.
func New(cfg Config) (*Provider, error) {
	base, err := providers.BaseURL(cmp.Or(cfg.URL, stripe.APIURL))
	errs := []error{err}
	if !cfg.APIKey.Usable() {
		errs = append(errs, errors.New("the API key is missing or holds characters that a header cannot carry"))
	}
	if cfg.Transport == nil {
		errs = append(errs, errors.New("the transport is missing"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("configure stripe: %w", err)
	}
	// The SDK's retries know nothing of leases and deadlines, its telemetry is nobody's business here, and its log
	// shows the bodies of errors.
	backend := stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{
		HTTPClient:        cfg.Transport.Client(),
		URL:               new(base),
		MaxNetworkRetries: stripe.Int64(0),
		EnableTelemetry:   new(false),
		LeveledLogger:     &stripe.LeveledLogger{Level: stripe.LevelNull},
	})
	return &Provider{
		intents: paymentintent.Client{B: backend, Key: cfg.APIKey.Reveal()},
		balance: balance.Client{B: backend, Key: cfg.APIKey.Reveal()},
	}, nil
}

// Name returns the provider's name, for logs and for people.
func (p *Provider) Name() string { return Name }

// Check asks for the account's balance: a harmless call that shows whether address and key are right. Its error is an
// *outbox.Failure; of class hold if Stripe does not accept the key.
func (p *Provider) Check(ctx context.Context) error {
	ctx, call := providers.Track(ctx)
	_, err := p.balance.Get(&stripe.BalanceParams{Params: stripe.Params{Context: ctx}})
	if f := failure(ctx, call, err, ""); f != nil {
		return providers.Harmless(f)
	}
	return nil
}
