package sendgrid

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sendgrid/rest"
	"github.com/sendgrid/sendgrid-go"

	"github.com/outboxd/outboxd/providers"
)

// Name is this provider's name in receipts and failures.
const Name = "sendgrid"

// DefaultURL is SendGrid's address. Accounts of its European region use https://api.eu.sendgrid.com.
const DefaultURL = "https://api.sendgrid.com"

// Config sets a [Provider].
type Config struct {
	APIKey    providers.Secret     // with the scope mail.send, and messages.read for look-ups; required
	URL       string               // base URL; defaults to DefaultURL
	Transport *providers.Transport // required; the caller closes it
	Events    Events               // asked before SendGrid's log; nil: none
}

// Events are entries of SendGrid's Event Webhook that were stored somewhere. An implementation must be safe for
// concurrent use and must leave most of its context's time to the log.
type Events interface {
	// Accepted returns the sg_message_id of an event about the e-mail with those labels, written by SendGrid at or
	// after an instant. An entry holds the labels outbox_id, outbox_ns and outbox_key as fields. All of them must be
	// the same; an empty one must be missing. Not found proves nothing, so that an implementation that cannot read
	// its entries reports that by itself and finds none.
	Accepted(ctx context.Context, labels map[string]string, since time.Time) (messageID string, found bool)
}

// Provider sends through one SendGrid account. It is safe for concurrent use and holds no goroutine.
type Provider struct {
	key    providers.Secret
	base   string
	http   *rest.Client
	events Events // nil: none
}

// New makes a Provider. The error names everything that is wrong with the configuration.
func New(cfg Config) (*Provider, error) {
	base, err := providers.BaseURL(cmp.Or(cfg.URL, DefaultURL))
	errs := []error{err}
	if !cfg.APIKey.Usable() {
		errs = append(errs, errors.New("the API key is missing or holds characters that a header cannot carry"))
	}
	if cfg.Transport == nil {
		errs = append(errs, errors.New("the transport is missing"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("configure sendgrid: %w", err)
	}
	return &Provider{key: cfg.APIKey, base: base, http: &rest.Client{HTTPClient: cfg.Transport.Client()}, events: cfg.Events}, nil
}

// Name returns the provider's name, for logs and for people.
func (p *Provider) Name() string { return Name }

// Check asks for the key's scopes: a harmless call that shows whether address and key are right. Its error is an
// *outbox.Failure; of class hold if SendGrid does not accept the key.
func (p *Provider) Check(ctx context.Context) error {
	call := p.send(ctx, rest.Get, "/v3/scopes", nil)
	if f := failure(ctx, call); f != nil {
		return providers.Harmless(f)
	}
	return nil
}

// send makes one request. The SDK's client type keeps the last request's body and must not be shared, so each call
// builds a request of its own. What became of it is in the call; the SDK's error says nothing more.
func (p *Provider) send(ctx context.Context, method rest.Method, path string, body []byte) *providers.Call {
	ctx, call := providers.Track(ctx)
	req := sendgrid.GetRequest(p.key.Reveal(), path, p.base)
	req.Method, req.Body = method, body
	_, _ = p.http.SendWithContext(ctx, req)
	return call
}
