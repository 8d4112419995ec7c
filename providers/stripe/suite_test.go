package stripe

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
	"github.com/outboxd/outboxd/providers/providertest"
)

// What must not show anywhere.
const (
	testKey      = "sk_test_51NeverShowThis"
	clientSecret = "pi_3Test_secret_NeverShowThis"
	receiptEmail = "payer@private.example"
	description  = "Confidential order of Mr. Payer"
	customer     = "cus_PrivateCustomer"
	method       = "pm_PrivateMethod"
	metaValue    = "internal-note-4711"
)

const intentID = "pi_3Test"

func newProvider(tb testing.TB, url string, transport *providers.Transport) *Provider {
	tb.Helper()
	p, err := New(Config{APIKey: testKey, URL: url, Transport: transport})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func newIntent(progress outbox.Progress) *outbox.Intent {
	now := time.Now()
	return &outbox.Intent{
		ID: outbox.NewStringID("order-17"), Namespace: "test", Kind: outbox.KindCharge, Status: outbox.StatusLeased, Attempts: 1,
		FirstDueAt: now, FirstAttemptAt: now, Lease: outbox.Lease{Token: "t", At: now}, Progress: progress,
		Metadata: map[string]string{"note": metaValue},
		Payload: &outbox.Charge{
			Amount: 1999, Currency: "eur", Customer: customer, PaymentMethod: method, Description: description,
			ReceiptEmail: receiptEmail, Metadata: map[string]string{"order": "17"},
		},
	}
}

func saved(confirm int64) outbox.Progress {
	return outbox.Progress{"key": "test/s0//order-17", "payment_intent": intentID, "create": int64(1), "confirm": confirm, "confirm_at": time.Now()}
}

func saveNothing(context.Context, outbox.Progress) error { return nil }

func paymentIntent(status, lastError string) string {
	if lastError == "" {
		lastError = "null"
	}
	return fmt.Sprintf(`{"id":%q,"object":"payment_intent","amount":1999,"currency":"eur","status":%q,"client_secret":%q,
		"description":%q,"receipt_email":%q,"customer":%q,"metadata":{"outbox_id":"order-17","outbox_ns":"test","outbox_key":"s0"},"last_payment_error":%s}`,
		intentID, status, clientSecret, description, receiptEmail, customer, lastError)
}

// stripeError is an error's body, with everything in it that Stripe's errors carry and that must not show.
func stripeError(kind, code, declineCode string) string {
	return fmt.Sprintf(`{"error":{"type":%q,"code":%q,"decline_code":%q,"message":"No way: %s for %s","param":"receipt_email",
		"payment_intent":%s,"payment_method":{"id":%q,"billing_details":{"email":%q}}}}`,
		kind, code, declineCode, description, receiptEmail, paymentIntent("requires_payment_method", ""), method, receiptEmail)
}

func refusal(status int, kind, code, declineCode string) providertest.Reply {
	return providertest.JSON(status, stripeError(kind, code, declineCode)).With("Request-Id", "req_Test")
}

func errorFor(status int) string {
	if status >= 500 {
		return stripeError("api_error", "", "")
	}
	return stripeError("invalid_request_error", "", "")
}

func lastError(kind, code, declineCode string) string {
	body := stripeError(kind, code, declineCode)
	return strings.TrimSuffix(strings.TrimPrefix(body, `{"error":`), "}")
}

var (
	unconfirmed = providertest.JSON(200, paymentIntent("requires_confirmation", ""))
	cancelled   = providertest.JSON(200, paymentIntent("canceled", ""))
	succeeded   = providertest.JSON(200, paymentIntent("succeeded", "")).With("Request-Id", "req_Test")
)

func want(class outbox.Class, code string) providertest.Want {
	return providertest.Want{Class: class, Code: code}
}

func both(from, to int, w providertest.Want) providertest.Status {
	return providertest.Status{From: from, To: to, Own: w, Other: w}
}

var done = providertest.Want{Class: outbox.Done, ReceiptID: intentID}

// statusTable is what each status means for a request whose lost answer is of the given class.
func statusTable(lost outbox.Class) []providertest.Status {
	bad, stranger := want(lost, outbox.CodeBadAnswer), want(outbox.Hold, outbox.CodeNotTheProvider)
	table := []providertest.Status{
		{From: 200, To: 299, Own: done, Other: bad},
		both(300, 399, want(lost, outbox.CodeRedirected)),
		{From: 400, To: 499, Own: want(outbox.Permanent, outbox.CodeRejected), Other: bad},
		{From: 401, To: 401, Own: want(outbox.Hold, outbox.CodeUnauthorized)},
		{From: 403, To: 403, Own: want(outbox.Hold, outbox.CodeForbidden)},
		both(404, 405, stranger),
		both(408, 408, want(lost, outbox.CodeUnavailable)),
		{From: 409, To: 409, Own: want(outbox.Transient, outbox.CodeConflict), Other: bad},
		both(424, 424, want(lost, outbox.CodeUnavailable)),
		both(429, 429, want(outbox.RateLimited, outbox.CodeRateLimited)),
		both(500, 599, want(lost, outbox.CodeServerError)),
		both(502, 504, want(lost, outbox.CodeUnavailable)),
	}
	return providertest.Strangers(table)
}

// questionTable is the same for a question, whose refusal says nothing about the charge.
func questionTable(lost outbox.Class) []providertest.Status {
	table := statusTable(lost)
	for i, rule := range table {
		if rule.Own.Class == outbox.Permanent {
			table[i].Own = want(outbox.Ambiguous, outbox.CodeCannotTell)
		}
	}
	return table
}

func deliver(progress func() outbox.Progress) func(context.Context, providertest.Provider) (outbox.Receipt, bool, error) {
	return func(ctx context.Context, p providertest.Provider) (outbox.Receipt, bool, error) {
		receipt, err := p.Deliver(ctx, newIntent(progress()), saveNothing)
		return receipt, err == nil, err
	}
}

func none() outbox.Progress   { return nil }
func stored() outbox.Progress { return saved(1) }

// states are what a PaymentIntent that was asked for can be; the first three are common to attempt and look-up.
func stateRows() []providertest.Row {
	row := func(name, status, lastErr string, w providertest.Want) providertest.Row {
		return providertest.Row{Name: name, Reply: providertest.JSON(200, paymentIntent(status, lastErr)), Want: w, After: []providertest.Reply{}}
	}
	declined := want(outbox.Permanent, outbox.CodeDeclined)
	declined.ProviderCode = "insufficient_funds"
	duplicate := want(outbox.Permanent, outbox.CodeDeclined)
	duplicate.ProviderCode = "duplicate_transaction"
	return []providertest.Row{
		row("succeeded", "succeeded", "", done),
		row("to be captured", "requires_capture", "", done),
		row("processing", "processing", "", done),
		row("declined", "requires_payment_method", lastError("card_error", "card_declined", "insufficient_funds"), declined),
		row("declined as a duplicate", "requires_payment_method", lastError("card_error", "card_declined", "duplicate_transaction"), duplicate),
		row("authentication", "requires_payment_method", lastError("card_error", "authentication_required", ""), want(outbox.Permanent, outbox.CodeActionRequired)),
		row("authentication by decline code", "requires_payment_method", lastError("card_error", "card_declined", "authentication_required"), want(outbox.Permanent, outbox.CodeActionRequired)),
		row("requires action", "requires_action", "", want(outbox.Permanent, outbox.CodeActionRequired)),
		row("cancelled", "canceled", "", want(outbox.Permanent, outbox.CodeCanceled)),
		row("of an unknown state", "requires_patience", "", want(outbox.Ambiguous, outbox.CodeUnclassified)),
	}
}

// suite is what the provider must make of each answer.
func suite() providertest.Suite {
	ask := providertest.Step{
		Name: "ask", Good: unconfirmed, After: []providertest.Reply{succeeded}, Run: deliver(stored), Question: true,
		Silence: outbox.Transient, Broken: want(outbox.Transient, outbox.CodeBadAnswer), Error: errorFor, Statuses: questionTable(outbox.Transient),
		Rows: stateRows(),
	}
	for i := range ask.Rows {
		if ask.Rows[i].Want.Code == outbox.CodeUnclassified { // a question adds no doubt
			ask.Rows[i].Want.Class = outbox.Transient
		}
	}
	return providertest.Suite{
		Name: Name,
		New: func(tb testing.TB, url string, transport *providers.Transport) providertest.Provider {
			return newProvider(tb, url, transport)
		},
		Forbidden: []string{testKey, clientSecret, receiptEmail, description, customer, method, metaValue, "_secret_"},
		CheckGood: providertest.JSON(200, `{"object":"balance","available":[],"pending":[],"livemode":false}`),
		Steps: []providertest.Step{
			{
				Name: "create", Good: unconfirmed, After: []providertest.Reply{succeeded}, Run: deliver(none),
				Silence: outbox.Transient, Broken: want(outbox.Transient, outbox.CodeBadAnswer), Error: errorFor,
				Statuses: statusTable(outbox.Transient), Rows: createRows(),
			},
			{
				Name: "confirm", Before: []providertest.Reply{unconfirmed}, Good: succeeded, Run: deliver(none),
				Silence: outbox.Ambiguous, Broken: want(outbox.Ambiguous, outbox.CodeBadAnswer), Error: errorFor,
				Statuses: statusTable(outbox.Ambiguous), Rows: confirmRows(),
			},
			ask,
			{
				Name: "look-up", Good: succeeded, Question: true,
				Run:     providertest.LookUp(func() *outbox.Intent { return newIntent(saved(1)) }),
				Silence: outbox.Ambiguous, Broken: want(outbox.Ambiguous, outbox.CodeBadAnswer), Error: errorFor,
				Statuses: questionTable(outbox.Ambiguous),
				Rows: append(stateRows(),
					providertest.Row{Name: "unconfirmed", Reply: unconfirmed, After: []providertest.Reply{cancelled}},
					providertest.Row{Name: "never tried", Reply: providertest.JSON(200, paymentIntent("requires_payment_method", "")), After: []providertest.Reply{cancelled}},
					providertest.Row{
						Name: "of another id", Reply: providertest.JSON(200, strings.ReplaceAll(paymentIntent("succeeded", ""), intentID, "pi_3Other")),
						Want: want(outbox.Ambiguous, outbox.CodeBadAnswer),
					}),
			},
		},
	}
}

func TestSuite(t *testing.T) {
	rows := providertest.Run(t, suite())
	if rows < 5000 {
		t.Errorf("the suite had %d rows, want at least 5000", rows)
	}
}
