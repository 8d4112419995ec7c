package contractcheck

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	stripesdk "github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/account"
	"github.com/stripe/stripe-go/v76/balance"
	"github.com/stripe/stripe-go/v76/paymentintent"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/simulator"
	"github.com/outboxd/outboxd/providers/stripe"
)

const testKey = "sk_test_contract"

// Requests by their paths.
const (
	create   = "POST /v1/payment_intents"
	confirm  = "POST /v1/payment_intents/{intent}/confirm"
	cancel   = "POST /v1/payment_intents/{intent}/cancel"
	retrieve = "GET /v1/payment_intents/{intent}"
	list     = "GET /v1/payment_intents"
	search   = "GET /v1/payment_intents/search"
	funds    = "GET /v1/balance"
	self     = "GET /v1/account"
)

func TestStripe(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	t.Run("provider", v.testProvider)
	t.Run("settling", v.testSettling)
	t.Run("SDK", v.testSDK)
	t.Run("refused", v.testRefused)
	t.Run("errors", v.testErrors)
}

// taken is an exchange that both accept.
func taken(request string) exchange { return exchange{request, 200, 200} }

func fullCharge() *outbox.Charge {
	return &outbox.Charge{
		Amount: 1999, Currency: "eur", Customer: "cus_contract", PaymentMethod: "pm_card_visa", Description: "Order 17 & more",
		StatementDescriptorSuffix: "ORDER 17", ReceiptEmail: "payer@example.com", Metadata: map[string]string{"order no.": "17", "17": "a number as name"},
		Account: "acct_contract",
	}
}

func (v *vendor) testProvider(t *testing.T) {
	pay := func(change func(*outbox.Charge)) *outbox.Charge {
		c := fullCharge()
		change(c)
		return c
	}
	noUnset(t, fullCharge())
	for name, row := range map[string]struct {
		charge  *outbox.Charge
		confirm int // the simulator's status
		class   outbox.Class
		second  []exchange // of a second delivery and a look-up
	}{
		"full":     {fullCharge(), 200, outbox.Done, []exchange{taken(retrieve), taken(retrieve)}},
		"smallest": {&outbox.Charge{Amount: 50, Currency: "usd", Customer: "cus_1", PaymentMethod: "pm_1"}, 200, outbox.Done, []exchange{taken(retrieve), taken(retrieve)}},
		"slow":     {pay(func(c *outbox.Charge) { c.PaymentMethod = "pm_usBankAccount_success" }), 200, outbox.Done, []exchange{taken(retrieve), taken(retrieve)}},
		"declined": {pay(func(c *outbox.Charge) { c.PaymentMethod = "pm_card_chargeDeclined" }), 402, outbox.Permanent, []exchange{taken(retrieve), taken(retrieve)}},
		"to be authenticated": {pay(func(c *outbox.Charge) { c.PaymentMethod = "pm_card_authenticationRequired" }), 402, outbox.Permanent,
			[]exchange{taken(retrieve), taken(retrieve)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tw := v.twin(t)
			p, err := stripe.New(stripe.Config{APIKey: testKey, URL: tw.url, Transport: newTransport(t)})
			if err != nil {
				t.Fatal(err)
			}
			in := newIntent(outbox.KindCharge, row.charge)
			save := func(_ context.Context, progress outbox.Progress) error {
				in.Progress = maps.Clone(progress)
				return nil
			}
			ctx := t.Context()
			_, err = p.Deliver(ctx, in, save)
			expectClass(t, err, row.class)
			tw.expect(t, taken(create), exchange{confirm, 200, row.confirm})
			_, err = p.Deliver(ctx, in, save)
			expectClass(t, err, row.class)
			_, err = p.LookUp(ctx, in)
			expectClass(t, err, row.class)
			tw.expect(t, row.second...)
			if err := p.Check(ctx); err != nil {
				t.Error(err)
			}
			tw.expect(t, taken(funds))
		})
	}
}

// testSettling looks for what a forgotten life of the intent made, and cancels what an attempt left.
func (v *vendor) testSettling(t *testing.T) {
	t.Parallel()
	tw := v.twin(t)
	p, err := stripe.New(stripe.Config{APIKey: testKey, URL: tw.url, Transport: newTransport(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, account := range []string{"", "acct_contract"} {
		charge := fullCharge()
		charge.Account = account
		in := newIntent(outbox.KindCharge, charge)
		in.FirstDueAt = in.FirstDueAt.Add(-48 * time.Hour)
		_, err = p.Deliver(t.Context(), in, func(_ context.Context, progress outbox.Progress) error {
			in.Progress = maps.Clone(progress)
			return outbox.ErrLeaseLost // so that nothing is confirmed
		})
		expectClass(t, err, outbox.Transient)
		tw.expect(t, taken(list), taken(create))
		answer, err := p.LookUp(t.Context(), in)
		if err != nil || !answer.Certain {
			t.Errorf("%+v, %v", answer, err)
		}
		tw.expect(t, taken(retrieve), taken(cancel))
	}
}

// testSDK sends what the provider does not, but the simulator offers.
func (v *vendor) testSDK(t *testing.T) {
	tw := v.twin(t)
	backend := stripesdk.GetBackendWithConfig(stripesdk.APIBackend, &stripesdk.BackendConfig{
		HTTPClient: newTransport(t).Client(), URL: new(tw.url), MaxNetworkRetries: new(int64(0)), EnableTelemetry: new(false),
		LeveledLogger: &stripesdk.LeveledLogger{Level: stripesdk.LevelNull},
	})
	intents := paymentintent.Client{B: backend, Key: testKey}
	params := stripesdk.Params{Context: t.Context()}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	base := func() *stripesdk.PaymentIntentParams {
		p := &stripesdk.PaymentIntentParams{Params: params, Amount: new(int64(4200)), Currency: new("usd"), Customer: new("cus_1")}
		p.AddMetadata("outbox_id", "contract")
		return p
	}
	automatic := base()
	automatic.PaymentMethod, automatic.CaptureMethod = new("pm_card_visa"), new("manual")
	automatic.Confirm, automatic.OffSession, automatic.ErrorOnRequiresAction = new(true), new(true), new(true)
	automatic.SetIdempotencyKey("contract:1")
	automatic.SetupFutureUsage = new("off_session")
	_, err := intents.New(automatic)
	must(err)
	tw.expect(t, taken(create))

	present := base()
	present.AutomaticPaymentMethods = &stripesdk.PaymentIntentAutomaticPaymentMethodsParams{Enabled: new(true), AllowRedirects: new("never")}
	present.Shipping = &stripesdk.ShippingDetailsParams{Name: new("Ann"), Address: &stripesdk.AddressParams{Line1: new("1 Road"), City: new("Town")}}
	present.AddExpand("latest_charge")
	pi, err := intents.New(present)
	must(err)
	pi, err = intents.Confirm(pi.ID, &stripesdk.PaymentIntentConfirmParams{
		Params: params, PaymentMethod: new("pm_card_authenticationRequired"), ReturnURL: new("https://example.com/back"),
	})
	must(err)
	if pi.Status != stripesdk.PaymentIntentStatusRequiresAction {
		t.Errorf("status %s, want requires_action", pi.Status)
	}
	_, err = intents.Cancel(pi.ID, &stripesdk.PaymentIntentCancelParams{Params: params, CancellationReason: new("requested_by_customer")})
	must(err)
	_, err = intents.Get(pi.ID, &stripesdk.PaymentIntentParams{Params: params})
	must(err)
	tw.expect(t, taken(create), taken(confirm), taken(cancel), taken(retrieve))

	typed := base()
	typed.PaymentMethodTypes = stripesdk.StringSlice([]string{"card", "us_bank_account"})
	_, err = intents.New(typed)
	must(err)
	tw.expect(t, taken(create))

	must(intents.List(&stripesdk.PaymentIntentListParams{
		ListParams: stripesdk.ListParams{Context: t.Context(), Limit: new(int64(2)), Single: true, StartingAfter: new(pi.ID)},
		Customer:   new("cus_1"), CreatedRange: &stripesdk.RangeQueryParams{GreaterThanOrEqual: 1, LesserThan: 9_999_999_999},
	}).Err())
	must(intents.Search(&stripesdk.PaymentIntentSearchParams{SearchParams: stripesdk.SearchParams{
		Context: t.Context(), Query: "metadata['outbox_id']:'contract'", Limit: new(int64(1)), Single: true,
	}}).Err())
	tw.expect(t, taken(list), taken(search))

	_, err = (balance.Client{B: backend, Key: testKey}).Get(&stripesdk.BalanceParams{Params: params})
	must(err)
	_, err = (account.Client{B: backend, Key: testKey}).Get()
	must(err)
	tw.expect(t, taken(funds), taken(self))
}

// testRefused sends what is wrong by the description alone. stripe-mock looks at no lengths and at few inner
// parameters; those are for the simulator's own tests.
func (v *vendor) testRefused(t *testing.T) {
	const root = "/v1/payment_intents"
	valid := "amount=1999&currency=eur&customer=cus_1&payment_method=pm_1"
	for name, row := range map[string]struct {
		method, path, form string
		key                string
		status             int
	}{
		"no key":                {"POST", root, valid, "", 401},
		"no key for a question": {"GET", "/v1/balance", "", "", 401},
		"unknown path":          {"POST", "/v1/payment_intentions", valid, testKey, 404},
		"unknown action":        {"POST", root + "/pi_1/confuse", "", testKey, 404},
		"unknown method":        {"DELETE", root + "/pi_1", "", testKey, 404},

		"no amount":                   {"POST", root, "currency=eur", testKey, 400},
		"no currency":                 {"POST", root, "amount=1999", testKey, 400},
		"nothing":                     {"POST", root, "", testKey, 400},
		"amount no integer":           {"POST", root, "amount=many&currency=eur", testKey, 400},
		"amount with fraction":        {"POST", root, "amount=19.99&currency=eur", testKey, 400},
		"amount a list":               {"POST", root, "amount[]=1999&currency=eur", testKey, 400},
		"amount an object":            {"POST", root, "amount[value]=1999&currency=eur", testKey, 400},
		"unknown parameter":           {"POST", root, valid + "&colour=red", testKey, 400},
		"confirm no boolean":          {"POST", root, valid + "&confirm=maybe", testKey, 400},
		"capture method unknown":      {"POST", root, valid + "&capture_method=later", testKey, 400},
		"confirmation method unknown": {"POST", root, valid + "&confirmation_method=later", testKey, 400},
		"future usage unknown":        {"POST", root, valid + "&setup_future_usage=never", testKey, 400},
		"metadata a text":             {"POST", root, valid + "&metadata=x", testKey, 400},
		"metadata in metadata":        {"POST", root, valid + "&metadata[a][b]=x", testKey, 400},
		"types a text":                {"POST", root, valid + "&payment_method_types=card", testKey, 400},
		"description a list":          {"POST", root, valid + "&description[]=x", testKey, 400},
		"customer an object":          {"POST", root, valid[:27] + "&customer[id]=cus_1", testKey, 400},
		"method options a text":       {"POST", root, valid + "&payment_method_options=x", testKey, 400},
		"transfer a text":             {"POST", root, valid + "&transfer_data=x", testKey, 400},
		"expand a text":               {"POST", root, valid + "&expand=customer", testKey, 400},
		"shipping a text":             {"POST", root, valid + "&shipping=home", testKey, 400},
		"JSON":                        {"POST", root, `{"amount":1999,"currency":"eur"}`, testKey, 400},

		"confirm: unknown parameter":      {"POST", root + "/pi_1/confirm", "amount=1999", testKey, 400},
		"confirm: off_session unknown":    {"POST", root + "/pi_1/confirm", "off_session=perhaps", testKey, 400},
		"confirm: error_on… no boolean":   {"POST", root + "/pi_1/confirm", "error_on_requires_action=2", testKey, 400},
		"confirm: off_session a list":     {"POST", root + "/pi_1/confirm", "off_session[]=true", testKey, 400},
		"confirm: future usage unknown":   {"POST", root + "/pi_1/confirm", "setup_future_usage=never", testKey, 400},
		"confirm: capture method unknown": {"POST", root + "/pi_1/confirm", "capture_method=later", testKey, 400},
		"confirm: expand a text":          {"POST", root + "/pi_1/confirm", "expand=customer", testKey, 400},
		"cancel: expand a text":           {"POST", root + "/pi_1/cancel", "expand=customer", testKey, 400},
		"cancel: unknown parameter":       {"POST", root + "/pi_1/cancel", "reason=abandoned", testKey, 400},
		"cancel: unknown reason":          {"POST", root + "/pi_1/cancel", "cancellation_reason=mood", testKey, 400},
		"retrieve: unknown parameter":     {"GET", root + "/pi_1?colour=red", "", testKey, 400},
		"list: unknown parameter":         {"GET", root + "?status=succeeded", "", testKey, 400},
		"list: limit no integer":          {"GET", root + "?limit=all", "", testKey, 400},
		"list: created no integer":        {"GET", root + "?created[gte]=today", "", testKey, 400},
		"search: no query":                {"GET", root + "/search", "", testKey, 400},
		"search: unknown parameter":       {"GET", root + "/search?query=status:'succeeded'&created=1", "", testKey, 400},
		"list: customer a list":           {"GET", root + "?customer[]=cus_1", "", testKey, 400},
		"account: unknown parameter":      {"GET", "/v1/account?colour=red", "", testKey, 400},
		"balance: unknown parameter":      {"GET", "/v1/balance?colour=red", "", testKey, 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tw := v.twin(t)
			path, query, _ := strings.Cut(row.path, "?")
			r := httptest.NewRequest(row.method, tw.url, strings.NewReader(row.form))
			r.URL.Path, r.URL.RawQuery = path, query
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if row.key != "" {
				r.Header.Set("Authorization", "Bearer "+row.key)
			}
			mock, sim := tw.ask(v.mock, r, []byte(row.form)), tw.ask(tw.sim.Stripe(), r, []byte(row.form))
			if mock.Code != row.status || sim.Code != row.status {
				t.Errorf("stripe-mock %d, simulator %d, want %d\n%s%s", mock.Code, sim.Code, row.status, mock.Body, sim.Body)
			}
			if sim.Code >= 400 && errorType(t, sim.Body.Bytes()) != "invalid_request_error" {
				t.Errorf("the simulator: %s", sim.Body)
			}
			if err := v.api.check("/components/schemas/error", decoded(t, sim.Body.Bytes())); err != nil {
				t.Errorf("the simulator: %v\n%s", err, sim.Body)
			}
			if len(tw.sim.Effects()) > 0 {
				t.Error("a refused request had an effect")
			}
		})
	}
}

// testErrors holds the answers for which there is no request, but a fault, against the description.
func (v *vendor) testErrors(t *testing.T) {
	for _, status := range []int{400, 401, 402, 403, 404, 409, 424, 429, 500, 502, 503, 504} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			tw := v.twin(t)
			if err := tw.sim.AddFaults(simulator.Fault{Do: simulator.DoStatus, Status: status}); err != nil {
				t.Fatal(err)
			}
			form := url.Values{"amount": {"1999"}, "currency": {"eur"}}.Encode()
			r := httptest.NewRequest(http.MethodPost, tw.url+"/v1/payment_intents", nil)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Authorization", "Bearer "+testKey)
			rec := tw.ask(tw.sim.Stripe(), r, []byte(form))
			if rec.Code != status {
				t.Errorf("status %d, want %d", rec.Code, status)
			}
			tw.fits(r, rec)
		})
	}
}

// expectClass compares the class of a provider's error; none is done.
func expectClass(t *testing.T, err error, want outbox.Class) {
	t.Helper()
	got := outbox.Done
	if f, ok := errors.AsType[*outbox.Failure](err); ok {
		got = f.Class
	} else if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("class %s, want %s: %v", got, want, err)
	}
}
