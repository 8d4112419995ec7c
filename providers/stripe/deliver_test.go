package stripe

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/providertest"
)

// rig is a provider before a scripted server, and what was saved.
type rig struct {
	*providertest.Server
	*Provider
	saves []outbox.Progress
}

func newRig(t *testing.T) *rig {
	t.Helper()
	server := providertest.NewServer(t)
	return &rig{Server: server, Provider: newProvider(t, server.URL, providertest.NewTransport(t))}
}

func (r *rig) save(_ context.Context, p outbox.Progress) error {
	r.saves = append(r.saves, maps.Clone(p))
	return nil
}

// deliver attempts the intent, which goes on with what was saved last.
func (r *rig) deliver(t *testing.T, in *outbox.Intent) (outbox.Receipt, *outbox.Failure) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	receipt, err := r.Deliver(ctx, in, r.save)
	if n := len(r.saves); n > 0 {
		in.Progress = r.saves[n-1]
	}
	if err == nil {
		return receipt, nil
	}
	f, ok := errors.AsType[*outbox.Failure](err)
	if !ok {
		t.Fatalf("the error is %v", err)
	}
	return receipt, f
}

// labelled returns an answer whose PaymentIntent carries other labels.
func labelled(r providertest.Reply, id, key string) providertest.Reply {
	r.Body = strings.NewReplacer(`"outbox_id":"order-17"`, `"outbox_id":"`+id+`"`, `"outbox_key":"s0"`, `"outbox_key":"`+key+`"`).Replace(r.Body)
	return r
}

// sent lists the requests as "METHOD path key".
func (r *rig) sent() []string {
	var list []string
	for _, req := range r.Requests() {
		list = append(list, strings.TrimSpace(req.Method+" "+strings.TrimPrefix(req.Path, "/v1/payment_intents")+" "+req.Header.Get("Idempotency-Key")))
	}
	return list
}

func (r *rig) wantSent(t *testing.T, want ...string) {
	t.Helper()
	if got := r.sent(); !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

const (
	create  = "POST  test/s0/create/order-17"
	get     = "GET /pi_3Test"
	confirm = "POST /pi_3Test/confirm test/s0/confirm/order-17"

	confirmAgain = "POST /pi_3Test/confirm test/s0/confirm.2/order-17"
)

var (
	serverError = refusal(500, "api_error", "", "")
	replayed    = serverError.With("Idempotent-Replayed", "true")
	drop        = providertest.Reply{Fault: providertest.Drop}
)

func TestDeliverCreatesSavesAndConfirms(t *testing.T) {
	r := newRig(t)
	in := newIntent(nil)
	r.Script(unconfirmed, succeeded)
	receipt, f := r.deliver(t, in)
	if want := (outbox.Receipt{Provider: "stripe", ID: intentID, Status: "succeeded", RequestID: "req_Test", HTTPStatus: 200}); f != nil || receipt != want {
		t.Fatalf("%+v, %v", receipt, f)
	}
	r.wantSent(t, create, confirm)
	want := outbox.Progress{"key": "test/s0//order-17", "payment_intent": intentID, "create": int64(1), "confirm": int64(1), "confirm_at": in.Lease.At}
	if len(r.saves) != 1 || !maps.Equal(r.saves[0], want) {
		t.Errorf("saved %v, want %v", r.saves, want)
	}
	created, err := url.ParseQuery(r.Requests()[0].Body)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"amount": "1999", "currency": "eur", "customer": customer, "payment_method": method, "description": description,
		"receipt_email": receiptEmail, "metadata[outbox_id]": "order-17", "metadata[order]": "17", "metadata[note]": metaValue,
	} {
		if created.Get(name) != value {
			t.Errorf("create: %s is %q, want %q", name, created.Get(name), value)
		}
	}
	if created.Has("confirm") || created.Has("off_session") {
		t.Error("the creation may move money")
	}
	confirmed, err := url.ParseQuery(r.Requests()[1].Body)
	if err != nil {
		t.Fatal(err)
	}
	if confirmed.Get("off_session") != "true" || confirmed.Get("error_on_requires_action") != "true" || confirmed.Get("payment_method") != method {
		t.Errorf("the confirmation is %v", confirmed)
	}
	for name := range r.Requests()[0].Header {
		if strings.HasPrefix(name, "X-Stripe") {
			t.Errorf("the SDK's header %s was sent", name)
		}
	}
}

func TestDeliverConfirmsNothingThatIsNotSaved(t *testing.T) {
	for name, progress := range map[string]outbox.Progress{"first attempt": nil, "later attempt": saved(1)} {
		r := newRig(t)
		r.Script(unconfirmed)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := r.Deliver(ctx, newIntent(progress), func(context.Context, outbox.Progress) error { return outbox.ErrLeaseLost })
		f, _ := errors.AsType[*outbox.Failure](err)
		if f == nil || f.Class != outbox.Transient || f.Code != outbox.CodeProgressNotSaved || !errors.Is(err, outbox.ErrLeaseLost) {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(r.Requests()); n != 1 {
			t.Errorf("%s: %d requests were sent, want 1", name, n)
		}
	}
}

func TestDeliverAsksBeforeItConfirmsAgain(t *testing.T) {
	r := newRig(t)
	in := newIntent(nil)
	r.Script(unconfirmed, drop)
	if _, f := r.deliver(t, in); f == nil || f.Class != outbox.Ambiguous || f.Code != outbox.CodeNoAnswer {
		t.Fatalf("%v", f)
	}
	r.Script(unconfirmed, succeeded)
	if _, f := r.deliver(t, in); f != nil {
		t.Fatal(f)
	}
	r.wantSent(t, get, confirm)

	r.Script(succeeded)
	if receipt, f := r.deliver(t, in); f != nil || receipt.ID != intentID {
		t.Errorf("%+v, %v", receipt, f)
	}
	r.wantSent(t, get)
}

func TestDeliverRepeatsALostCreationUnderItsKey(t *testing.T) {
	r := newRig(t)
	in := newIntent(nil)
	for _, lost := range []providertest.Reply{drop, serverError, {Status: 502, Body: "<html>"}} {
		r.Script(lost)
		if _, f := r.deliver(t, in); f == nil || f.Class != outbox.Transient {
			t.Fatalf("%v", f)
		}
		r.wantSent(t, create)
	}
	if len(r.saves) != 0 {
		t.Errorf("saved %v", r.saves)
	}
}

func TestDeliverTakesAFreshKeyWhereAServerErrorIsReplayed(t *testing.T) {
	r := newRig(t)
	in := newIntent(nil)
	r.Script(replayed)
	if _, f := r.deliver(t, in); f == nil || f.Class != outbox.Transient || f.Code != outbox.CodeReplayedError {
		t.Fatalf("%v", f)
	}
	r.Script(unconfirmed, serverError)
	if _, f := r.deliver(t, in); f == nil || f.Class != outbox.Ambiguous || f.Code != outbox.CodeServerError {
		t.Fatalf("%v", f)
	}
	r.wantSent(t, "POST  test/s0/create.2/order-17", confirm)
	r.Script(unconfirmed, replayed)
	if _, f := r.deliver(t, in); f == nil || f.Class != outbox.Ambiguous || f.Code != outbox.CodeReplayedError {
		t.Fatalf("%v", f)
	}
	r.wantSent(t, get, confirm)
	r.Script(unconfirmed, succeeded)
	if _, f := r.deliver(t, in); f != nil {
		t.Fatal(f)
	}
	r.wantSent(t, get, confirmAgain)
}

func TestDeliverDoesNotRelyOnAKeyBeyondItsWindow(t *testing.T) {
	r := newRig(t)
	in := newIntent(nil)
	begin := in.Lease.At
	r.Script(unconfirmed, drop)
	r.deliver(t, in)
	for _, step := range []struct {
		at  time.Duration
		key string
	}{
		{keyWindow - time.Second, confirm},
		{keyWindow, confirmAgain},
		{2*keyWindow - time.Second, confirmAgain},
		{2 * keyWindow, "POST /pi_3Test/confirm test/s0/confirm.3/order-17"},
	} {
		in.Lease.At = begin.Add(step.at)
		r.Script(unconfirmed, drop)
		r.deliver(t, in)
		r.wantSent(t, get, step.key)
	}
}

func TestDeliverStartsAnewInAnotherGeneration(t *testing.T) {
	r := newRig(t)
	in := newIntent(saved(3))
	in.Generation = 1
	r.Script(unconfirmed, cancelled, labelled(unconfirmed, "order-17", "s1"), labelled(succeeded, "order-17", "s1"))
	if _, f := r.deliver(t, in); f != nil {
		t.Fatal(f)
	}
	r.wantSent(t, get, "POST /pi_3Test/cancel test/s1/retire/order-17", "POST  test/s1/create/order-17", "POST /pi_3Test/confirm test/s1/confirm/order-17")
}

func TestDeliverKeysOfIDsThatNoHeaderCarries(t *testing.T) {
	r := newRig(t)
	in := newIntent(nil)
	in.ID = outbox.NewStringID(" order-17\n")
	r.Script(labelled(unconfirmed, ` order-17\n`, "s0"), labelled(succeeded, ` order-17\n`, "s0"))
	if _, f := r.deliver(t, in); f != nil {
		t.Fatal(f)
	}
	for _, request := range r.sent() {
		if !strings.Contains(request, " sha256:") {
			t.Errorf("sent %q", request)
		}
	}
}

func TestDeliverDoesNotBeginAConfirmationThatItCannotWaitFor(t *testing.T) {
	r := newRig(t)
	r.Script(unconfirmed, succeeded)
	const whole = 800 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), whole)
	defer cancel()
	deadline, _ := ctx.Deadline()
	_, err := r.Deliver(ctx, newIntent(nil), func(context.Context, outbox.Progress) error {
		slow, cancel := context.WithDeadline(t.Context(), deadline.Add(-whole/(2*confirmShare)))
		defer cancel()
		<-slow.Done() // the database took nearly all of the time
		return nil
	})
	f, _ := errors.AsType[*outbox.Failure](err)
	if f == nil || f.Class != outbox.Transient || f.Code != outbox.CodeNotSent {
		t.Errorf("%v", err)
	}
	r.wantSent(t, create)
}

func TestDeliverWithoutAConnectionForTheConfirmation(t *testing.T) {
	r := newRig(t)
	last := unconfirmed.With("Connection", "close")
	last.Then = r.StopListening
	r.Script(last)
	if _, f := r.deliver(t, newIntent(nil)); f == nil || f.Class != outbox.Transient || f.Code != outbox.CodeNotSent {
		t.Errorf("%v", f)
	}
	r.wantSent(t, create)
}

func TestDeliverToAConnectAccount(t *testing.T) {
	r := newRig(t)
	in := newIntent(nil)
	in.Payload.(*outbox.Charge).Account = "acct_17"
	r.Script(unconfirmed, drop)
	r.deliver(t, in)
	r.Script(unconfirmed, succeeded)
	r.deliver(t, in)
	for _, req := range r.Requests() {
		if req.Header.Get("Stripe-Account") != "acct_17" {
			t.Errorf("%s %s names the account %q", req.Method, req.Path, req.Header.Get("Stripe-Account"))
		}
	}
	in = newIntent(nil)
	in.Payload.(*outbox.Charge).Account = "acct_17"
	r.saves = nil
	r.Script(refusal(403, "invalid_request_error", "account_invalid", ""))
	if _, f := r.deliver(t, in); f == nil || f.Class != outbox.Permanent || f.Code != outbox.CodeForbidden {
		t.Errorf("an account of another platform: %v", f)
	}
}

// TestRefusalsOfAConnectAccount: what Stripe refuses because of the account that a payload names says nothing about
// others.
func TestRefusalsOfAConnectAccount(t *testing.T) {
	for name, row := range map[string]struct {
		account, code string
		status        int
		class         outbox.Class
		open          bool
	}{
		"of another platform":     {"acct_17", "account_invalid", 403, outbox.Permanent, false},
		"asked for with 401":      {"acct_17", "account_invalid", 401, outbox.Permanent, false},
		"we are no platform":      {"acct_17", "platform_account_required", 403, outbox.Permanent, false},
		"not permitted there":     {"acct_17", "more_permissions_required", 403, outbox.Hold, true},
		"refused there":           {"acct_17", "", 403, outbox.Hold, true},
		"refused here":            {"", "", 403, outbox.Hold, false},
		"not permitted here":      {"", "more_permissions_required", 403, outbox.Hold, false},
		"our key, whatever there": {"acct_17", "", 401, outbox.Hold, false},
	} {
		r := newRig(t)
		in := newIntent(nil)
		in.Payload.(*outbox.Charge).Account = row.account
		r.Script(refusal(row.status, "invalid_request_error", row.code, ""))
		if _, f := r.deliver(t, in); f == nil || f.Class != row.class || f.LaneOpen != row.open {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestLookUpWithoutProgressIsAbsent(t *testing.T) {
	r := newRig(t)
	r.Script(succeeded)
	answer, err := r.LookUp(t.Context(), newIntent(nil))
	found := answer.Found
	if found || err != nil {
		t.Errorf("%v, %v", found, err)
	}
	r.wantSent(t)
}

func TestNewNamesEveryProblem(t *testing.T) {
	_, err := New(Config{APIKey: "with space", URL: "ftp://secret"})
	providertest.NamesEveryProblem(t, err, []string{"URL", "API key", "transport"}, []string{"with space", "secret"})
}
