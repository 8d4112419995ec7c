package config

import (
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// Stripe is how charges are made.
type Stripe struct {
	Key providers.Secret
	URL string // empty: the SDK's
}

// SendGrid is how e-mail is sent.
type SendGrid struct {
	Key providers.Secret
	URL string // empty: the SDK's
}

// Twilio is how texts are sent.
type Twilio struct {
	SID, Token providers.Secret
	URL        string // empty: the SDK's
	Callback   string // where Twilio reports what becomes of a text, with the intent's labels added; empty: nowhere
}

// Providers are the credentials; a provider without any is nil and its kind is not served.
type Providers struct {
	Stripe   *Stripe
	SendGrid *SendGrid
	Twilio   *Twilio
}

// Variables that hold the providers' credentials, for messages that say what is missing.
const (
	VariableStripe      = "STRIPE_API_KEY"
	VariableSendGrid    = "SENDGRID_API_KEY"
	VariableTwilioSID   = "TWILIO_ACCOUNT_SID"
	VariableTwilioToken = "TWILIO_AUTH_TOKEN"
	variableCallback    = "TWILIO_CALLBACK_URL"
)

// LoadProviders reads the credentials alone.
func LoadProviders(src Source) (Providers, error) {
	r := &reader{Source: src}
	p := r.providers()
	return p, r.problems.orNil()
}

func (r *reader) providers() Providers {
	var p Providers
	stripeURL := r.baseURL("STRIPE_API_URL")
	if key := r.credential(VariableStripe); key != "" {
		p.Stripe = &Stripe{Key: key, URL: stripeURL}
	}
	sendGridURL := r.baseURL("SENDGRID_API_URL")
	if key := r.credential(VariableSendGrid); key != "" {
		p.SendGrid = &SendGrid{Key: key, URL: sendGridURL}
	}
	twilioURL := r.baseURL("TWILIO_API_URL")
	callback := r.Env(variableCallback)
	if callback != "" {
		if _, err := providers.CallbackURL(callback); err != nil {
			r.problems.add("variable "+variableCallback, "%v", err)
		}
	}
	sid := r.credential(VariableTwilioSID)
	token := r.credential(VariableTwilioToken)
	switch {
	case sid != "" && token != "":
		p.Twilio = &Twilio{SID: sid, Token: token, URL: twilioURL, Callback: callback}
	case sid != "":
		r.problems.add("variable "+VariableTwilioToken, "is missing beside %s", VariableTwilioSID)
	case token != "":
		r.problems.add("variable "+VariableTwilioSID, "is missing beside %s", VariableTwilioToken)
	}
	return p
}

// credential returns a secret that goes into an HTTP header.
func (r *reader) credential(variable string) providers.Secret {
	value, where := r.secret(variable)
	if value != "" && !value.Usable() {
		r.problems.add(where, "cannot stand in a request: it holds a space or a character that is not printable ASCII")
	}
	return value
}

// baseURL returns the URL that a variable holds.
func (r *reader) baseURL(variable string) string {
	value := r.Env(variable)
	if value == "" {
		return ""
	}
	base, err := providers.BaseURL(value)
	if err != nil {
		r.problems.add("variable "+variable, "%v", err)
	}
	return base
}

// Missing names the variables that would let a kind be served, or nothing if it can be.
func (p Providers) Missing(kind string) string {
	switch {
	case kind == outbox.KindCharge && p.Stripe == nil:
		return VariableStripe
	case kind == outbox.KindEmail && p.SendGrid == nil:
		return VariableSendGrid
	case kind == outbox.KindSMS && p.Twilio == nil:
		return VariableTwilioSID + " and " + VariableTwilioToken
	default:
		return ""
	}
}
