package simulator

import (
	"cmp"
	"net/http"
	"strings"
	"time"
)

// The states of a PaymentIntent (docs.stripe.com, "How PaymentIntents work").
const (
	needsMethod       = "requires_payment_method"
	needsConfirmation = "requires_confirmation"
	needsAction       = "requires_action"
	needsCapture      = "requires_capture"
	processing        = "processing"
	canceled          = "canceled"
	succeeded         = "succeeded"
)

// intent is a PaymentIntent as Stripe writes it. It is guarded by stripeAPI.mu; its maps are never changed after they
// were set, so that a shallow copy may be encoded without the lock.
type intent struct {
	ID                   string            `json:"id"`
	Object               string            `json:"object"`
	Amount               int64             `json:"amount"`
	AmountCapturable     int64             `json:"amount_capturable"`
	AmountReceived       int64             `json:"amount_received"`
	CanceledAt           *int64            `json:"canceled_at"`
	CancellationReason   *string           `json:"cancellation_reason"`
	CaptureMethod        string            `json:"capture_method"`
	ClientSecret         string            `json:"client_secret"`
	ConfirmationMethod   string            `json:"confirmation_method"`
	Created              int64             `json:"created"`
	Currency             string            `json:"currency"`
	Customer             *string           `json:"customer"`
	Description          *string           `json:"description"`
	LastPaymentError     *stripeError      `json:"last_payment_error"`
	LatestCharge         *string           `json:"latest_charge"`
	Livemode             bool              `json:"livemode"`
	Metadata             map[string]string `json:"metadata"`
	NextAction           map[string]any    `json:"next_action"`
	PaymentMethod        *string           `json:"payment_method"`
	PaymentMethodOptions map[string]any    `json:"payment_method_options"`
	PaymentMethodTypes   []string          `json:"payment_method_types"`
	ReceiptEmail         *string           `json:"receipt_email"`
	SetupFutureUsage     *string           `json:"setup_future_usage"`
	StatementDescriptor  *string           `json:"statement_descriptor"`
	StatementSuffix      *string           `json:"statement_descriptor_suffix"`
	Status               string            `json:"status"`

	account     string
	born        time.Time
	noRedirects bool
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (p *stripeAPI) create(c *call, sc *stripeCall, in createInput) reply {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.now = p.sim.Now() // under the lock, so that the list is in the order of its times
	id := newID("pi_3", 23)
	pi := &intent{
		ID: id, Object: "payment_intent", Amount: in.amount, Currency: in.currency, Created: c.now.Unix(),
		CaptureMethod: cmp.Or(in.capture, "automatic"), ClientSecret: newID(id+"_secret_", 25), ConfirmationMethod: cmp.Or(in.confirmation, "automatic"),
		Customer: optional(in.customer), Description: optional(in.description), Metadata: in.metadata,
		PaymentMethod: optional(in.method), PaymentMethodOptions: map[string]any{}, PaymentMethodTypes: in.types,
		ReceiptEmail: optional(in.receiptEmail), SetupFutureUsage: optional(in.futures),
		StatementDescriptor: optional(in.descriptor), StatementSuffix: optional(in.descriptorSuffix),
		Status: needsMethod, account: sc.account, born: c.now, noRedirects: in.noRedirects,
	}
	if len(pi.PaymentMethodTypes) == 0 {
		pi.PaymentMethodTypes = []string{"card"}
	}
	if in.method != "" {
		pi.Status = needsConfirmation
	}
	if in.confirm {
		if bad := pi.confirmable(in.confirmInput); bad != nil {
			return bad.reply() // such a request leaves no PaymentIntent behind
		}
	}
	p.intents[id] = pi
	p.order = append(p.order, pi)
	if in.confirm {
		return p.attempt(c, pi, in.confirmInput)
	}
	return jsonReply(http.StatusOK, *pi)
}

func (p *stripeAPI) confirm(c *call, sc *stripeCall, in confirmInput) reply {
	p.mu.Lock()
	defer p.mu.Unlock()
	pi := p.intents[sc.id]
	if pi == nil || pi.account != sc.account {
		return noSuchIntent(sc.id)
	}
	if bad := pi.confirmable(in); bad != nil {
		return bad.reply()
	}
	return p.attempt(c, pi, in)
}

// confirmable says why the PaymentIntent cannot be confirmed, or nil.
func (pi *intent) confirmable(in confirmInput) *stripeError {
	switch pi.Status {
	case needsMethod, needsConfirmation, needsAction:
	default:
		bad := stripeInvalid("payment_intent_unexpected_state", "",
			"You cannot confirm this PaymentIntent because it has a status of "+pi.Status+".")
		bad.PaymentIntent = new(*pi)
		return bad
	}
	if cmp.Or(in.method, deref(pi.PaymentMethod)) == "" {
		bad := stripeInvalid("payment_intent_unexpected_state", "payment_method",
			"You cannot confirm this PaymentIntent because it's missing a payment method.")
		bad.PaymentIntent = new(*pi)
		return bad
	}
	// Since API version 2023-08-16 payment methods are automatic, some of them redirect, and a confirmation in the
	// customer's presence needs to know whereto (docs.stripe.com, "Confirm a PaymentIntent", return_url).
	if !in.offSession && !in.errorOnAction && !in.returnURLOK && !pi.noRedirects {
		return stripeInvalid("", "return_url", "This PaymentIntent accepts payment methods that might redirect: provide a return_url, "+
			"or set automatic_payment_methods[allow_redirects] to never.")
	}
	return nil
}

// attempt is one try to charge. The caller holds the lock and has asked confirmable.
func (p *stripeAPI) attempt(c *call, pi *intent, in confirmInput) reply {
	method := cmp.Or(in.method, deref(pi.PaymentMethod))
	pi.PaymentMethod, pi.LastPaymentError, pi.NextAction = &method, nil, nil
	pi.CaptureMethod = cmp.Or(in.capture, pi.CaptureMethod)
	if in.futures != "" {
		pi.SetupFutureUsage = &in.futures
	}
	name := strings.TrimPrefix(method, "pm_card_")
	for _, brand := range []string{"visa_", "mastercard_", "amex_"} {
		name = strings.TrimPrefix(name, brand)
	}
	if d, ok := declines[name]; ok && name != method {
		return p.declined(pi, d, true)
	}
	switch {
	case method == "pm_card_authenticationRequired" && (in.errorOnAction || in.offSession):
		return p.declined(pi, authenticationRequired, in.offSession)
	case method == "pm_card_authenticationRequired":
		pi.Status = needsAction
		pi.NextAction = map[string]any{"type": "use_stripe_sdk", "use_stripe_sdk": map[string]any{"type": "three_d_secure_redirect"}}
	case strings.HasPrefix(method, "pm_usBankAccount"):
		p.charge(c, pi, processing)
	case pi.CaptureMethod == "manual":
		p.charge(c, pi, needsCapture)
	default:
		p.charge(c, pi, succeeded)
	}
	return jsonReply(http.StatusOK, *pi)
}

// declined refuses the payment; charged says whether the card's issuer was asked, which leaves a failed charge.
func (p *stripeAPI) declined(pi *intent, d decline, charged bool) reply {
	method := deref(pi.PaymentMethod)
	fail := stripeError{
		Type: "card_error", Code: d.code, DeclineCode: d.declineCode, AdviceCode: d.advice, Message: d.message,
		PaymentMethod: map[string]any{
			"id": method, "object": "payment_method", "type": "card", "livemode": false, "created": pi.Created, "customer": pi.Customer,
			"billing_details": map[string]any{"address": nil, "email": nil, "name": nil, "phone": nil},
		},
	}
	if charged {
		fail.Charge = newID("ch_3", 23)
		pi.LatestCharge = &fail.Charge
	}
	pi.Status, pi.PaymentMethod, pi.LastPaymentError = needsMethod, nil, new(fail)
	fail.status, fail.PaymentIntent = http.StatusPaymentRequired, new(*pi)
	return fail.reply()
}

// charge moves the money: once in the life of a PaymentIntent, since confirmable refuses the states it leads to. Were
// that ever wrong, the second effect must be seen, so nothing here hides it.
func (p *stripeAPI) charge(c *call, pi *intent, status string) {
	pi.Status = status
	pi.LatestCharge = new(newID("ch_3", 23))
	switch status {
	case succeeded:
		pi.AmountReceived = pi.Amount
	case needsCapture:
		pi.AmountCapturable = pi.Amount
	}
	p.sim.happened(Effect{
		Provider: ProviderStripe, Kind: "charge", ID: pi.ID, OutboxID: pi.Metadata["outbox_id"],
		OutboxNS: pi.Metadata["outbox_ns"], OutboxKey: pi.Metadata["outbox_key"], At: c.now, Status: status,
		Amount: pi.Amount, Currency: pi.Currency, Customer: deref(pi.Customer), Account: pi.account, Key: c.key,
	})
}

func (p *stripeAPI) cancel(c *call, sc *stripeCall, reason string) reply {
	p.mu.Lock()
	defer p.mu.Unlock()
	pi := p.intents[sc.id]
	if pi == nil || pi.account != sc.account {
		return noSuchIntent(sc.id)
	}
	switch pi.Status {
	case succeeded, canceled, processing:
		bad := stripeInvalid("payment_intent_unexpected_state", "",
			"You cannot cancel this PaymentIntent because it has a status of "+pi.Status+".")
		bad.PaymentIntent = new(*pi)
		return bad.reply()
	}
	pi.Status, pi.AmountCapturable, pi.NextAction = canceled, 0, nil
	pi.CanceledAt, pi.CancellationReason = new(c.now.Unix()), optional(reason)
	return jsonReply(http.StatusOK, *pi)
}
