package twilio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// Name is this provider's name in receipts and failures.
const Name = "twilio"

// DefaultURL is Twilio's address.
const DefaultURL = "https://api.twilio.com"

// Config sets a [Provider].
type Config struct {
	AccountSID   string               // AC…; required
	AuthToken    providers.Secret     // required
	URL          string               // base URL; defaults to DefaultURL
	CallbackBase string               // URL for status callbacks, to which outbox_id, outbox_ns and outbox_key are added; empty: none
	Transport    *providers.Transport // required; the caller closes it
}

// Provider sends through one Twilio account. It is safe for concurrent use and holds no goroutine.
type Provider struct {
	sid       string
	token     providers.Secret
	base      string
	callback  *url.URL // nil: none
	transport *providers.Transport
}

// New makes a Provider. The error names everything that is wrong with the configuration.
func New(cfg Config) (*Provider, error) {
	base, err := providers.BaseURL(cmp.Or(cfg.URL, DefaultURL))
	errs := []error{err}
	if sid := providers.Token(cfg.AccountSID); sid == "" {
		errs = append(errs, errors.New("the account SID is missing or holds characters that no SID has"))
	}
	if !cfg.AuthToken.Usable() {
		errs = append(errs, errors.New("the auth token is missing or holds characters that no token has"))
	}
	callback, err := readCallback(cfg.CallbackBase)
	errs = append(errs, err)
	if cfg.Transport == nil {
		errs = append(errs, errors.New("the transport is missing"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("configure twilio: %w", err)
	}
	return &Provider{sid: cfg.AccountSID, token: cfg.AuthToken, base: base, callback: callback, transport: cfg.Transport}, nil
}

func readCallback(base string) (*url.URL, error) {
	if base == "" {
		return nil, nil
	}
	u, err := providers.CallbackURL(base)
	if err != nil {
		return nil, fmt.Errorf("the callback base: %w", err)
	}
	return u, nil
}

// callbackFor is the status callback of an intent, empty if there is none.
func (p *Provider) callbackFor(in *outbox.Intent) string {
	if p.callback == nil {
		return ""
	}
	u := *p.callback
	q := u.Query()
	for name, value := range in.Labels() {
		if value != "" {
			q.Set(name, value)
		}
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// Name returns the provider's name, for logs and for people.
func (p *Provider) Name() string { return Name }

// Check asks for the account: a harmless call that shows whether address and credentials are right. Its error is an
// *outbox.Failure; of class hold if Twilio does not accept the credentials.
func (p *Provider) Check(ctx context.Context) error {
	service, call := p.service(ctx)
	account, err := service.FetchAccount(p.sid)
	if f := failure(ctx, call); f != nil {
		return providers.Harmless(f)
	}
	if err != nil || account.Sid == nil || *account.Sid != p.sid {
		return providers.Harmless(call.Unreadable(ctx, Name))
	}
	return nil
}
