package simulator_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"github.com/outboxd/outboxd/providers/simulator"
)

// stripeFault is the SDK's typed error, or a failed test.
func stripeFault(t *testing.T, err error) *stripe.Error {
	t.Helper()
	se, ok := errors.AsType[*stripe.Error](err)
	if !ok {
		t.Fatalf("got %v, want an error of the API", err)
	}
	return se
}

func replayed(h http.Header) bool { return h.Get("Idempotent-Replayed") == "true" }

func TestStripeKeyReplaysTheFirstAnswer(t *testing.T) {
	b := start(t, simulator.Config{})
	api := b.stripe()
	first, err := api.New(charge(t.Context(), "x", "k"))
	if err != nil {
		t.Fatal(err)
	}
	if first.Status != stripe.PaymentIntentStatusSucceeded || first.AmountReceived != 1999 || first.Metadata["outbox_id"] != "x" {
		t.Errorf("charged: %s, received %d, metadata %v", first.Status, first.AmountReceived, first.Metadata)
	}
	if replayed(first.LastResponse.Header) || first.LastResponse.RequestID == "" {
		t.Errorf("the first answer: headers %v", first.LastResponse.Header)
	}
	again, err := api.New(charge(t.Context(), "x", "k"))
	if err != nil {
		t.Fatal(err)
	}
	if again.ID != first.ID || !replayed(again.LastResponse.Header) || string(again.LastResponse.RawJSON) != string(first.LastResponse.RawJSON) {
		t.Errorf("a repeated key gave %s (replayed %t), want %s", again.ID, replayed(again.LastResponse.Header), first.ID)
	}
	other, err := api.New(charge(t.Context(), "y", "k", func(p *stripe.PaymentIntentParams) { p.SetStripeAccount("acct_1") }))
	if err != nil || other.ID == first.ID {
		t.Errorf("the same key on another account: %v, id %s; keys belong to an account", err, other.ID)
	}
	b.wantEffects("x", "y")
}

func TestStripeKeyWithOtherParameters(t *testing.T) {
	b := start(t, simulator.Config{})
	api := b.stripe()
	pi, err := api.New(charge(t.Context(), "x", "k"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = api.New(charge(t.Context(), "x", "k", func(p *stripe.PaymentIntentParams) { p.Amount = stripe.Int64(5) }))
	if se := stripeFault(t, err); se.Code != "amount_too_small" {
		t.Errorf("invalid parameters: %s, want to be refused before the key is looked at", se.Code)
	}
	_, err = api.New(charge(t.Context(), "x", "k", func(p *stripe.PaymentIntentParams) { p.Amount = stripe.Int64(2000) }))
	if se := stripeFault(t, err); se.Type != stripe.ErrorTypeIdempotency || se.HTTPStatusCode != 400 {
		t.Errorf("other amount: %d %s", se.HTTPStatusCode, se.Type)
	}
	p := &stripe.PaymentIntentCancelParams{}
	p.SetIdempotencyKey("k")
	_, err = api.Cancel(pi.ID, p)
	if se := stripeFault(t, err); se.Type != stripe.ErrorTypeIdempotency {
		t.Errorf("other endpoint: %s", se.Type)
	}
	b.wantEffects("x")
}

func TestStripeSavesDeclinesAndFailuresOnly(t *testing.T) {
	fault := func(f simulator.Fault) simulator.Fault {
		f.Provider, f.Route, f.Do = "stripe", "create", simulator.DoStatus
		return f
	}
	declined := func(p *stripe.PaymentIntentParams) { p.PaymentMethod = new("pm_card_chargeDeclined") }
	for _, tc := range []struct {
		name    string
		fault   *simulator.Fault
		change  func(*stripe.PaymentIntentParams)
		first   int // status
		second  int // status of the same request afterwards
		effects int
	}{
		{"a decline is replayed", nil, declined, 402, 402, 0},
		{"a stored 500 before is replayed", new(fault(simulator.Fault{Status: 500, Saved: true})), nil, 500, 500, 0},
		{"a stored 500 after is replayed although money moved", new(fault(simulator.Fault{Status: 500, Saved: true, When: simulator.After})), nil, 500, 500, 1},
		{"an unstored 500 before is forgotten", new(fault(simulator.Fault{Status: 500})), nil, 500, 200, 1},
		{"an unstored 500 after hides a stored success", new(fault(simulator.Fault{Status: 500, When: simulator.After})), nil, 500, 200, 1},
		{"a 429 is forgotten", new(fault(simulator.Fault{Status: 429})), nil, 429, 200, 1},
		{"a 401 is forgotten", new(fault(simulator.Fault{Status: 401})), nil, 401, 200, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := start(t, simulator.Config{})
			if tc.fault != nil {
				b.faults(*tc.fault)
			}
			send := func() (int, http.Header) {
				p := charge(t.Context(), "x", "k")
				if tc.change != nil {
					tc.change(p)
				}
				pi, err := b.stripe().New(p)
				if err != nil {
					se := stripeFault(t, err)
					return se.HTTPStatusCode, se.LastResponse.Header
				}
				return pi.LastResponse.StatusCode, pi.LastResponse.Header
			}
			if got, _ := send(); got != tc.first {
				t.Errorf("first: %d, want %d", got, tc.first)
			}
			got, header := send()
			if got != tc.second {
				t.Errorf("second: %d, want %d", got, tc.second)
			}
			if want := tc.first == tc.second; tc.first != 200 && want && !replayed(header) {
				t.Error("the second answer is not marked as replayed")
			}
			if n := len(b.Sim.Effects()); n != tc.effects {
				t.Errorf("%d effects, want %d", n, tc.effects)
			}
		})
	}
}

func TestStripeKeyInFlight(t *testing.T) {
	b := start(t, simulator.Config{})
	// Only Close ends the delay: the first request surely holds its key while the second comes.
	b.faults(simulator.Fault{Provider: "stripe", Do: simulator.DoDelay, Delay: time.Hour})
	first := make(chan error, 1)
	go func() { _, err := b.stripe().New(charge(t.Context(), "x", "k")); first <- err }()
	if err := b.Sim.WaitRequests(t.Context(), "stripe", "create", 1); err != nil {
		t.Fatal(err)
	}
	_, err := b.stripe().New(charge(t.Context(), "x", "k"))
	if se := stripeFault(t, err); se.HTTPStatusCode != 409 || se.Code != "idempotency_key_in_use" {
		t.Errorf("in flight: %d %s", se.HTTPStatusCode, se.Code)
	}
	b.Close()
	if err := <-first; err == nil {
		t.Error("the first request was answered after Close")
	}
	b.wantEffects()
}

func TestStripeConcurrentConfirmsChargeOnce(t *testing.T) {
	b := start(t, simulator.Config{})
	api := b.stripe()
	pi, err := api.New(charge(t.Context(), "x", "create", unconfirmed))
	if err != nil {
		t.Fatal(err)
	}
	b.wantEffects()
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			_, err := api.Confirm(pi.ID, confirm(t.Context(), strconv.Itoa(i%16)))
			if err == nil {
				return
			}
			se, ok := errors.AsType[*stripe.Error](err)
			if !ok || (se.Code != "payment_intent_unexpected_state" && se.Code != "idempotency_key_in_use") {
				t.Errorf("confirm: %v", err)
			}
		})
	}
	wg.Wait()
	b.wantEffects("x")
}

func unconfirmed(p *stripe.PaymentIntentParams) {
	p.Confirm, p.OffSession, p.ErrorOnRequiresAction = nil, nil, nil
}

func confirm(ctx context.Context, key string) *stripe.PaymentIntentConfirmParams {
	p := &stripe.PaymentIntentConfirmParams{OffSession: new(true), ErrorOnRequiresAction: new(true)}
	p.Context = ctx
	p.SetIdempotencyKey(key)
	return p
}

func TestStripeForgetsKeysAfterADay(t *testing.T) {
	b := start(t, simulator.Config{})
	api := b.stripe()
	send := func() string {
		pi, err := api.New(charge(t.Context(), "x", "k"))
		if err != nil {
			t.Fatal(err)
		}
		return pi.ID
	}
	first := send()
	b.control(http.MethodPost, b.StripeURL+"/_sim/clock", `{"advance":"23h59m"}`, nil)
	if again := send(); again != first {
		t.Error("the key was forgotten before a day had passed")
	}
	b.Sim.Advance(2 * time.Minute)
	if again := send(); again == first {
		t.Error("the key was still known after a day")
	}
	b.wantEffects("x", "x") // this is how a card is charged twice

	// Confirming by id stays safe for ever: the PaymentIntent itself remembers.
	pi, err := api.New(charge(t.Context(), "y", "y:create", unconfirmed))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.Confirm(pi.ID, confirm(t.Context(), "y:confirm")); err != nil {
		t.Fatal(err)
	}
	b.Sim.Advance(25 * time.Hour)
	_, err = api.Confirm(pi.ID, confirm(t.Context(), "y:confirm"))
	if se := stripeFault(t, err); se.Code != stripe.ErrorCodePaymentIntentUnexpectedState || se.HTTPStatusCode != 400 {
		t.Errorf("a late second confirm: %d %s", se.HTTPStatusCode, se.Code)
	}
	b.wantEffects("x", "x", "y")
	got, err := api.Get(pi.ID, nil)
	if err != nil || got.Status != stripe.PaymentIntentStatusSucceeded {
		t.Errorf("get: %v, %s", err, got.Status)
	}
}

func TestStripeStates(t *testing.T) {
	b := start(t, simulator.Config{})
	api := b.stripe()
	create := func(method string, change ...func(*stripe.PaymentIntentParams)) *stripe.PaymentIntent {
		t.Helper()
		pi, err := api.New(charge(t.Context(), method, "", append(change, func(p *stripe.PaymentIntentParams) {
			if p.PaymentMethod = new(method); method == "" {
				p.PaymentMethod = nil
			}
		})...))
		if err != nil {
			t.Fatal(err)
		}
		return pi
	}
	present := func(p *stripe.PaymentIntentParams) {
		p.OffSession, p.ErrorOnRequiresAction, p.ReturnURL = nil, nil, new("https://shop.example.com/back")
	}
	manual := func(p *stripe.PaymentIntentParams) { p.CaptureMethod = new("manual") }
	for _, tc := range []struct {
		pi   *stripe.PaymentIntent
		want stripe.PaymentIntentStatus
	}{
		{create("", unconfirmed), stripe.PaymentIntentStatusRequiresPaymentMethod},
		{create("pm_1AnyCard", unconfirmed), stripe.PaymentIntentStatusRequiresConfirmation},
		{create("pm_1AnyCard"), stripe.PaymentIntentStatusSucceeded},
		{create("pm_1AnyCard", manual), stripe.PaymentIntentStatusRequiresCapture},
		{create("pm_usBankAccount_success"), stripe.PaymentIntentStatusProcessing},
		{create("pm_card_authenticationRequired", present), stripe.PaymentIntentStatusRequiresAction},
	} {
		if tc.pi.Status != tc.want {
			t.Errorf("status %s, want %s", tc.pi.Status, tc.want)
		}
	}
	if n := len(b.Sim.Effects()); n != 3 {
		t.Errorf("%d effects, want those of succeeded, requires_capture and processing", n)
	}

	waiting := create("pm_card_visa", unconfirmed)
	pi, err := api.Cancel(waiting.ID, &stripe.PaymentIntentCancelParams{CancellationReason: new("duplicate")})
	if err != nil || pi.Status != stripe.PaymentIntentStatusCanceled || pi.CanceledAt == 0 {
		t.Errorf("cancel: %v, %+v", err, pi)
	}
	_, err = api.Confirm(waiting.ID, confirm(t.Context(), "late"))
	if se := stripeFault(t, err); se.Code != stripe.ErrorCodePaymentIntentUnexpectedState || se.PaymentIntent.Status != "canceled" {
		t.Errorf("confirm after cancel: %s", se.Code)
	}
	paid := create("pm_card_visa")
	_, err = api.Cancel(paid.ID, nil)
	if se := stripeFault(t, err); se.Code != stripe.ErrorCodePaymentIntentUnexpectedState {
		t.Errorf("cancel after success: %s", se.Code)
	}
	_, err = api.Get("pi_unknown", nil)
	if se := stripeFault(t, err); se.HTTPStatusCode != 404 || se.Code != stripe.ErrorCodeResourceMissing {
		t.Errorf("unknown id: %d %s", se.HTTPStatusCode, se.Code)
	}
	other := &stripe.PaymentIntentParams{}
	other.SetStripeAccount("acct_other")
	_, err = api.Get(paid.ID, other)
	if se := stripeFault(t, err); se.HTTPStatusCode != 404 {
		t.Errorf("another account's PaymentIntent: %d", se.HTTPStatusCode)
	}
	mine := create("pm_card_visa", unconfirmed)
	foreign := confirm(t.Context(), "foreign")
	foreign.SetStripeAccount("acct_other")
	_, err = api.Confirm(mine.ID, foreign)
	if se := stripeFault(t, err); se.HTTPStatusCode != 404 {
		t.Errorf("confirm from another account: %d", se.HTTPStatusCode)
	}
}

func TestStripeDeclines(t *testing.T) {
	b := start(t, simulator.Config{})
	api := b.stripe()
	for method, want := range map[string][2]string{
		"pm_card_chargeDeclined":                       {"card_declined", "generic_decline"},
		"pm_card_visa_chargeDeclined":                  {"card_declined", "generic_decline"},
		"pm_card_chargeDeclinedInsufficientFunds":      {"card_declined", "insufficient_funds"},
		"pm_card_visa_chargeDeclinedInsufficientFunds": {"card_declined", "insufficient_funds"},
		"pm_card_chargeDeclinedLostCard":               {"card_declined", "lost_card"},
		"pm_card_visa_chargeDeclinedStolenCard":        {"card_declined", "stolen_card"},
		"pm_card_chargeDeclinedExpiredCard":            {"expired_card", "expired_card"},
		"pm_card_chargeDeclinedIncorrectCvc":           {"incorrect_cvc", "incorrect_cvc"},
		"pm_card_chargeDeclinedProcessingError":        {"processing_error", "processing_error"},
		"pm_card_authenticationRequired":               {"authentication_required", "authentication_required"},
	} {
		pi, err := api.New(charge(t.Context(), "x", method+":create", unconfirmed, func(p *stripe.PaymentIntentParams) {
			p.PaymentMethod = new(method)
		}))
		if err != nil {
			t.Fatal(err)
		}
		_, err = api.Confirm(pi.ID, confirm(t.Context(), method+":confirm"))
		se := stripeFault(t, err)
		if se.HTTPStatusCode != 402 || se.Type != stripe.ErrorTypeCard || string(se.Code) != want[0] || string(se.DeclineCode) != want[1] {
			t.Errorf("%s: %d %s %s %s, want %v", method, se.HTTPStatusCode, se.Type, se.Code, se.DeclineCode, want)
		}
		if se.PaymentIntent == nil || se.PaymentIntent.ID != pi.ID || se.PaymentIntent.Status != stripe.PaymentIntentStatusRequiresPaymentMethod {
			t.Errorf("%s: the error's PaymentIntent is %+v", method, se.PaymentIntent)
		}
		// Under a new key, and with a good card, the same PaymentIntent is charged.
		p := confirm(t.Context(), method+":confirm:g1")
		p.PaymentMethod = new("pm_card_visa")
		if pi, err = api.Confirm(pi.ID, p); err != nil || pi.Status != stripe.PaymentIntentStatusSucceeded {
			t.Errorf("%s: second try: %v", method, err)
		}
	}
	if n := len(b.Sim.Effects()); n != 10 {
		t.Errorf("%d effects, want 10", n)
	}
}

func TestStripeConfirmationDecidesOnCapture(t *testing.T) {
	api := start(t, simulator.Config{}).stripe()
	pi, err := api.New(charge(t.Context(), "x", "", func(p *stripe.PaymentIntentParams) {
		p.Confirm, p.OffSession, p.ErrorOnRequiresAction = nil, nil, nil
		p.ConfirmationMethod = new("manual")
		p.AddMetadata("17", "a number as name")
	}))
	if err != nil {
		t.Fatal(err)
	}
	if pi.ConfirmationMethod != stripe.PaymentIntentConfirmationMethodManual || pi.Metadata["17"] != "a number as name" {
		t.Errorf("created %s %v", pi.ConfirmationMethod, pi.Metadata)
	}
	p := confirm(t.Context(), "")
	p.CaptureMethod, p.SetupFutureUsage = new("manual"), new("off_session")
	pi, err = api.Confirm(pi.ID, p)
	if err != nil || pi.Status != stripe.PaymentIntentStatusRequiresCapture || pi.SetupFutureUsage != stripe.PaymentIntentSetupFutureUsageOffSession {
		t.Errorf("confirmed: %v, %+v", err, pi)
	}
}

func TestStripeRefusesBadParameters(t *testing.T) {
	b := start(t, simulator.Config{})
	for _, tc := range []struct {
		name, param, code string
		change            func(*stripe.PaymentIntentParams)
	}{
		{"no amount", "amount", "parameter_missing", func(p *stripe.PaymentIntentParams) { p.Amount = nil }},
		{"too little", "amount", "amount_too_small", func(p *stripe.PaymentIntentParams) { p.Amount = stripe.Int64(49) }},
		{"too much", "amount", "amount_too_large", func(p *stripe.PaymentIntentParams) { p.Amount = stripe.Int64(100_000_000) }},
		{"no currency", "currency", "parameter_missing", func(p *stripe.PaymentIntentParams) { p.Currency = nil }},
		{"bad currency", "currency", "", func(p *stripe.PaymentIntentParams) { p.Currency = new("euro") }},
		{"bad customer", "customer", "resource_missing", func(p *stripe.PaymentIntentParams) { p.Customer = new("ann") }},
		{"bad method", "payment_method", "resource_missing", func(p *stripe.PaymentIntentParams) { p.PaymentMethod = new("visa") }},
		{"no method", "payment_method", "payment_intent_unexpected_state", func(p *stripe.PaymentIntentParams) { p.PaymentMethod = nil }},
		{"bad receipt", "receipt_email", "email_invalid", func(p *stripe.PaymentIntentParams) { p.ReceiptEmail = new("ann") }},
		{"unknown", "surprise", "parameter_unknown", func(p *stripe.PaymentIntentParams) { p.AddExtra("surprise", "1") }},
		{"object as text", "shipping", "", func(p *stripe.PaymentIntentParams) { p.AddExtra("shipping", "home") }},
		{"list as text", "payment_method_types", "", func(p *stripe.PaymentIntentParams) { p.AddExtra("payment_method_types", "card") }},
		{"text as list", "description", "", func(p *stripe.PaymentIntentParams) { p.AddExtra("description[]", "x") }},
		{"future usage", "setup_future_usage", "", func(p *stripe.PaymentIntentParams) { p.SetupFutureUsage = new("never") }},
		{"confirmation method", "confirmation_method", "", func(p *stripe.PaymentIntentParams) { p.ConfirmationMethod = new("later") }},
		{"off session without confirm", "off_session", "", func(p *stripe.PaymentIntentParams) { p.Confirm = nil }},
		{"present without return", "return_url", "", func(p *stripe.PaymentIntentParams) { p.OffSession, p.ErrorOnRequiresAction = nil, nil }},
		{"metadata too long", "metadata[" + fmt.Sprintf("%041d", 0) + "]", "", func(p *stripe.PaymentIntentParams) { p.AddMetadata(fmt.Sprintf("%041d", 0), "") }},
	} {
		_, err := b.stripe().New(charge(t.Context(), "x", "", tc.change))
		se := stripeFault(t, err)
		if se.HTTPStatusCode != 400 || se.Type != stripe.ErrorTypeInvalidRequest || se.Param != tc.param || string(se.Code) != tc.code {
			t.Errorf("%s: %d %s param %q code %q, want 400, %q and %q", tc.name, se.HTTPStatusCode, se.Type, se.Param, se.Code, tc.param, tc.code)
		}
	}
	b.wantEffects()
}

func TestStripeCredentials(t *testing.T) {
	b := start(t, simulator.Config{StripeKey: "sk_test_right"})
	_, err := b.stripeAs("sk_test_wrong").New(charge(t.Context(), "x", "k"))
	if se := stripeFault(t, err); se.HTTPStatusCode != 401 {
		t.Errorf("wrong key: %d", se.HTTPStatusCode)
	}
	if _, err := b.stripeAs("sk_test_right").New(charge(t.Context(), "x", "k")); err != nil {
		t.Errorf("the 401 was saved under the key, or the right key refused: %v", err)
	}
	for path, want := range map[string]string{"/v1/account": "account", "/v1/balance": "balance"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.StripeURL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for key, status := range map[string]int{"": 401, "sk_test_wrong": 401, "sk_test_right": 200} {
			req.SetBasicAuth(key, "")
			resp, err := b.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != status {
				t.Errorf("%s with key %q: %d, want %d", want, key, resp.StatusCode, status)
			}
		}
	}
}

func TestStripeListIsExactAndSearchLags(t *testing.T) {
	b := start(t, simulator.Config{})
	api := b.stripe()
	var ids []string
	for i := range 25 {
		pi, err := api.New(charge(t.Context(), strconv.Itoa(i), ""))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, pi.ID)
	}
	if _, err := api.New(charge(t.Context(), "other", "", func(p *stripe.PaymentIntentParams) { p.Customer = new("cus_bob") })); err != nil {
		t.Fatal(err)
	}
	lp := &stripe.PaymentIntentListParams{
		Customer: new("cus_ann"), CreatedRange: &stripe.RangeQueryParams{GreaterThanOrEqual: b.Sim.Now().Unix() - 60},
	}
	lp.Limit = stripe.Int64(10)
	it := api.List(lp)
	for i := 24; i >= 0; i-- {
		if !it.Next() || it.PaymentIntent().ID != ids[i] || it.PaymentIntent().Metadata["outbox_id"] != strconv.Itoa(i) {
			t.Fatalf("list: the %dth newest is not as created (%v)", 25-i, it.Err())
		}
	}
	if it.Next() {
		t.Error("the list goes on after the last of this customer")
	}
	late := &stripe.PaymentIntentListParams{CreatedRange: &stripe.RangeQueryParams{GreaterThan: b.Sim.Now().Unix() + 60}}
	if it := api.List(late); it.Next() || it.Err() != nil {
		t.Errorf("a list of the future shows something, or fails: %v", it.Err())
	}

	sp := func() *stripe.PaymentIntentSearchParams {
		return &stripe.PaymentIntentSearchParams{SearchParams: stripe.SearchParams{Query: "metadata['outbox_id']:'7' AND status:'succeeded'"}}
	}
	for range 2 { // at once, and half the lag later
		if it := api.Search(sp()); it.Next() || it.Err() != nil {
			t.Errorf("search shows early what Stripe shows after a minute, or fails: %v", it.Err())
		}
		b.Sim.Advance(simulator.DefaultSearchLag / 2)
	}
	found := api.Search(sp())
	if !found.Next() || found.PaymentIntent().ID != ids[7] || found.Next() {
		t.Errorf("search after the lag: %v", found.Err())
	}
	all := api.Search(&stripe.PaymentIntentSearchParams{SearchParams: stripe.SearchParams{Query: "customer:\"cus_ann\" AND amount>1000"}})
	n := 0
	for all.Next() {
		n++
	}
	if n != 25 || all.Err() != nil {
		t.Errorf("search over pages: %d of 25, %v", n, all.Err())
	}
	bad := api.Search(&stripe.PaymentIntentSearchParams{SearchParams: stripe.SearchParams{Query: "colour:'red'"}})
	if bad.Next() || stripeFault(t, bad.Err()).HTTPStatusCode != 400 {
		t.Error("a query that nobody understands was answered")
	}
}
