package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/outboxd/outboxd/cmd/api/webhook"
)

const formType = "application/x-www-form-urlencoded"

// took is the answer to a webhook that is stored: none.
type took struct{}

type stripeInput struct {
	Signature string `header:"Stripe-Signature" required:"true"`
}

type sendGridInput struct {
	Signature string `header:"X-Twilio-Email-Event-Webhook-Signature" required:"true"`
	Timestamp string `header:"X-Twilio-Email-Event-Webhook-Timestamp" required:"true"`
}

type twilioInput struct {
	Signature string `header:"X-Twilio-Signature" required:"true"`
}

// webhookOperations registers the webhooks whose secret is configured.
func (a *API) webhookOperations() {
	if len(a.cfg.Webhooks.Stripe) > 0 {
		huma.Register(a.huma, webhookOperation("stripe", "Take an event of Stripe's"), answering(a.stripe))
		a.takesBody("/webhooks/stripe", jsonType, &huma.Schema{})
	}
	if a.cfg.Webhooks.SendGrid != nil {
		huma.Register(a.huma, webhookOperation("sendgrid", "Take a batch of SendGrid's Event Webhook"), answering(a.sendGrid))
		a.takesBody("/webhooks/sendgrid", jsonType, &huma.Schema{})
	}
	if a.cfg.Webhooks.TwilioToken != "" {
		huma.Register(a.huma, webhookOperation("twilio", "Take a status callback of Twilio's"), answering(a.twilio))
		a.takesBody("/webhooks/twilio", formType, &huma.Schema{})
	}
}

func webhookOperation(provider, summary string) huma.Operation {
	return huma.Operation{
		OperationID: provider + "Webhook", Method: http.MethodPost, Path: "/webhooks/" + provider, Tags: []string{"webhooks"},
		Summary: summary, DefaultStatus: http.StatusNoContent, SkipValidateParams: true,
		Description: "204 once it is stored. A repetition is harmless. After any other answer the provider posts it again.",
		Responses:   responses(http.StatusBadRequest, http.StatusForbidden, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge),
	}
}

// verified turns what is wrong with a webhook into an answer.
func verified(err error) error {
	if errors.Is(err, webhook.ErrSignature) {
		return transport(http.StatusForbidden, "%v", webhook.ErrSignature)
	}
	return transport(http.StatusBadRequest, "%v", err) // package webhook's errors repeat nothing of the body
}

// stored answers once the report is stored. Whatever goes wrong there, the provider is told to come back.
func (a *API) stored(x *exchange, report func() error) (*took, error) {
	if err := a.work(x); err != nil {
		return nil, err
	}
	if err := report(); err != nil {
		return nil, transport(http.StatusServiceUnavailable, "it could not be stored; post it again").after(retryLater).because(err)
	}
	return nil, nil
}

func (a *API) stripe(ctx context.Context, in *stripeInput) (*took, error) {
	x := exchangeOf(ctx)
	body, err := x.body(maxWebhook)
	if err != nil {
		return nil, err
	}
	if err := webhook.VerifyStripe(a.cfg.Webhooks.Stripe, in.Signature, body, time.Now()); err != nil {
		return nil, verified(err)
	}
	event, err := webhook.ReadStripe(body)
	if err != nil {
		return nil, verified(err)
	}
	return a.stored(x, func() error { return a.cfg.Payments.ReportCharge(ctx, event) })
}

func (a *API) sendGrid(ctx context.Context, in *sendGridInput) (*took, error) {
	x := exchangeOf(ctx)
	body, err := x.body(maxWebhook)
	if err != nil {
		return nil, err
	}
	if err := webhook.VerifySendGrid(a.cfg.Webhooks.SendGrid, in.Signature, in.Timestamp, body); err != nil {
		return nil, verified(err)
	}
	events, err := webhook.ReadSendGrid(body)
	if err != nil {
		return nil, verified(err)
	}
	return a.stored(x, func() error { return a.cfg.Payments.ReportEmails(ctx, events) })
}

func (a *API) twilio(ctx context.Context, in *twilioInput) (*took, error) {
	x := exchangeOf(ctx)
	body, err := x.body(maxBody)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, transport(http.StatusBadRequest, "the body must be a form")
	}
	address := *a.cfg.Webhooks.PublicURL
	address.Path, address.RawPath, address.RawQuery = x.r.URL.Path, x.r.URL.RawPath, x.r.URL.RawQuery
	if err := webhook.VerifyTwilio(a.cfg.Webhooks.TwilioToken, address, form, in.Signature); err != nil {
		return nil, verified(err)
	}
	report, err := webhook.ReadTwilio(x.r.URL.Query(), form)
	if err != nil {
		return nil, verified(err)
	}
	return a.stored(x, func() error { return a.cfg.Payments.ReportSMS(ctx, report) })
}
