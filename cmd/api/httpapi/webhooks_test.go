package httpapi_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	stripe "github.com/stripe/stripe-go/v76/webhook"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/api/httpapi"
	"github.com/outboxd/outboxd/cmd/api/payments"
	"github.com/outboxd/outboxd/migrations"
)

const stripeSecret, twilioToken = "whsec_test", "twilio-token"

// withAll serves the API with Stripe's and Twilio's webhooks.
func withAll(t *testing.T) *api {
	t.Helper()
	return start(t).with(httpapi.Config{Webhooks: httpapi.Webhooks{
		Stripe: []string{stripeSecret}, TwilioToken: twilioToken, PublicURL: &url.URL{Scheme: "https", Host: "pay.example.org"},
	}})
}

// event posts an event as Stripe does.
func (a *api) event(id, kind, payment string, change ...string) answer {
	a.t.Helper()
	body := fmt.Sprintf(`{"id":%q,"object":"event","type":%q,"created":%d,"data":{"object":{"id":"pi_1","object":"payment_intent","amount":1999,"currency":"eur","customer":"cus_1","metadata":{"outbox_id":%q}}}}`,
		id, kind, time.Now().Unix(), "charge:"+payment)
	body = strings.NewReplacer(change...).Replace(body)
	signed := stripe.GenerateTestSignedPayload(&stripe.UnsignedPayload{Payload: []byte(body), Secret: stripeSecret})
	return a.do("POST", "/webhooks/stripe", body, "Stripe-Signature", signed.Header)
}

// processing is what the worker writes of a bank debit.
func processing() bson.D {
	return bson.D{{Key: "state", Value: "paid"}, {Key: "receipt", Value: bson.D{{Key: "provider", Value: "stripe"}, {Key: "id", Value: "pi_1"}, {Key: "status", Value: "processing"}}}}
}

// A charge in processing ends by Stripe's event, and an end that is bad is told to the customer once.
func TestStripesEventsEndWhatIsInProcessing(t *testing.T) {
	a := withAll(t)
	good, bad, early := a.order(), a.order(), a.order()
	for _, id := range []string{good, bad} {
		a.set(id, processing())
		if ans := a.do("GET", "/payments/"+id, ""); ans.body.State != payments.StateProcessing {
			t.Errorf("in processing: %s", ans.text)
		}
	}
	for range 2 { // a replay is harmless
		for n, e := range []struct{ kind, id string }{{"payment_intent.succeeded", good}, {"payment_intent.payment_failed", bad}, {"payment_intent.succeeded", early}} {
			if ans := a.event(fmt.Sprint("evt_", n), e.kind, e.id); ans.status != http.StatusNoContent {
				t.Errorf("%s: %d %s", e.kind, ans.status, ans.text)
			}
		}
	}
	a.event("evt_late", "payment_intent.payment_failed", good)                  // comes after the good one, and changes nothing
	a.event("evt_other", "payment_intent.payment_failed", good, "pi_1", "pi_0") // nor does that of another PaymentIntent
	a.set(early, processing())                                                  // the worker settles after the event
	for id, want := range map[string]payments.State{good: payments.StatePaid, bad: payments.StateFailed, early: payments.StatePaid} {
		if ans := a.do("GET", "/payments/"+id, ""); ans.body.State != want || want == payments.StateFailed && !strings.Contains(ans.text, "another card") {
			t.Errorf("want %s: %s", want, ans.text)
		}
	}
	_, intents := a.written()
	told := 0
	for _, in := range intents {
		if in["kind"] == "email" {
			told++
			if text := fmt.Sprint(in); in["_id"] != "reversal:"+bad+":pi_1" || !strings.Contains(text, "ada@example.org") || !strings.Contains(text, "did not arrive") {
				t.Errorf("the intent is %v", in)
			}
		}
	}
	if told != 1 {
		t.Errorf("%d messages about a reversal", told)
	}
	var receipts []bson.M
	if a.read(payments.Receipts, &receipts); len(receipts) != 5 {
		t.Errorf("%d receipts: %v", len(receipts), receipts)
	}
	if text := fmt.Sprint(receipts); strings.Contains(text, "cus_1") || strings.Contains(text, "@") {
		t.Errorf("the receipts hold a customer's data: %s", text)
	}
}

// An event is believed only of the very payment that it is about.
func TestStripesEventsThatDoNotFit(t *testing.T) {
	a := withAll(t)
	id := a.order()
	for name, change := range map[string][]string{
		"another amount": {"1999", "1998"}, "another currency": {`"eur"`, `"usd"`}, "another customer": {"cus_1", "cus_2"}, "another outbox": {`"outbox_id"`, `"outbox_ns":"aaaaaaaaaa","outbox_id"`},
		"of nobody": {"charge:" + id, "order-7"}, "an unknown payment": {id, "pay_aaaaaaaaaaaaaaaaaaaaaaaaaa"}, "no id of a payment": {id, "pay_x"},
		"another event": {"payment_intent.succeeded", "payment_intent.processing"}, "of something else": {"payment_intent.succeeded", "charge.succeeded"},
	} {
		if ans := a.event("evt_"+strings.ReplaceAll(name, " ", "_"), "payment_intent.succeeded", id, change...); ans.status != http.StatusNoContent {
			t.Errorf("%s: %d %s", name, ans.status, ans.text)
		}
	}
	if ans := a.do("GET", "/payments/"+id, ""); ans.body.State != payments.StatePending {
		t.Errorf("the payment is %s", ans.text)
	}
	for name, c := range map[string]struct {
		body, signature string
		status          int
	}{"unsigned": {"{}", "", 403}, "forged": {"{}", "t=1,v1=00", 403}} {
		if ans := a.do("POST", "/webhooks/stripe", c.body, "Stripe-Signature", c.signature); ans.status != c.status {
			t.Errorf("%s: %d %s", name, ans.status, ans.text)
		}
	}
	signed := stripe.GenerateTestSignedPayload(&stripe.UnsignedPayload{Payload: []byte("[]"), Secret: stripeSecret})
	if ans := a.do("POST", "/webhooks/stripe", "[]", "Stripe-Signature", signed.Header); ans.status != http.StatusBadRequest {
		t.Errorf("no event: %d %s", ans.status, ans.text)
	}
	if ans := a.do("POST", "/webhooks/stripe", strings.Repeat(" ", 3<<20), "Stripe-Signature", "x"); ans.status != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: %d %s", ans.status, ans.text)
	}
}

// callback posts a status callback as Twilio does.
func (a *api) callback(outboxID, sid, status, token string) answer {
	a.t.Helper()
	path := "/webhooks/twilio?outbox_id=" + url.QueryEscape(outboxID)
	if a.namespace != "" {
		path += "&outbox_ns=" + a.namespace
	}
	form := url.Values{"MessageSid": {sid}, "MessageStatus": {status}, "To": {"+4915112345678"}}
	mac := hmac.New(sha1.New, []byte(token))
	mac.Write([]byte("https://pay.example.org" + path + "MessageSid" + sid + "MessageStatus" + status + "To+4915112345678"))
	return a.do("POST", path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "X-Twilio-Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

// smsState is what GET says of the receipt by SMS.
func (a *api) message(id, channel string) string {
	a.t.Helper()
	for _, m := range a.do("GET", "/payments/"+id, "").body.Messages {
		if m.Channel == channel {
			return m.State
		}
	}
	return ""
}

// Reports may come twice and out of order: what came of a text stays.
func TestTwiliosReports(t *testing.T) {
	a := withAll(t)
	for want, statuses := range map[string][]string{
		"delivered": {"queued", "sent", "delivered", "sent", "queued", "delivered"},
		"failed":    {"undelivered", "sent", "delivered"},
		"sent":      {"sent", "queued", "teleported"},
	} {
		id := a.order()
		a.set(id, paid())
		for _, status := range statuses {
			if ans := a.callback("charge:"+id+":done:1", "SM"+want, status, twilioToken); ans.status != http.StatusNoContent {
				t.Errorf("%s: %d %s", status, ans.status, ans.text)
			}
		}
		if got := a.message(id, "sms"); got != want {
			t.Errorf("after %v the text is %s", statuses, got)
		}
		a.set(id, bson.D{{Key: "delivery.receipt_sms.state", Value: "sent"}}) // the worker settles after the reports
		if got := a.message(id, "sms"); got != want {
			t.Errorf("after %v and the worker's word the text is %s", statuses, got)
		}
	}
	if ans := a.callback("charge:x:done:1", "SM1", "sent", "other"); ans.status != http.StatusForbidden {
		t.Errorf("forged: %d %s", ans.status, ans.text)
	}
	// What becomes of the messages of a copy of this database is not ours.
	id := a.order()
	a.set(id, paid())
	a.namespace = "aaaaaaaaaa"
	if ans := a.callback("charge:"+id+":done:1", "SMcopy", "undelivered", twilioToken); ans.status != http.StatusNoContent || a.message(id, "sms") != "pending" {
		t.Errorf("of a copy: %d %s, the text is %s", ans.status, ans.text, a.message(id, "sms"))
	}
	own, err := migrations.New(a.db, "").Namespace(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a.namespace = own
	if a.callback("charge:"+id+":done:1", "SMown", "undelivered", twilioToken); a.message(id, "sms") != "failed" {
		t.Errorf("of this outbox: the text is %s", a.message(id, "sms"))
	}
	if ans := a.callback("order-7", "SM1", "sent", twilioToken); ans.status != http.StatusNoContent {
		t.Errorf("nobody's: %d %s", ans.status, ans.text)
	}
	if ans := a.callback("order-7", "", "sent", twilioToken); ans.status != http.StatusBadRequest {
		t.Errorf("no callback: %d %s", ans.status, ans.text)
	}
	var receipts []bson.M
	if a.read(payments.Receipts, &receipts); len(receipts) != 12 || strings.Contains(fmt.Sprint(receipts), "+49") {
		t.Errorf("%d receipts: %v", len(receipts), receipts)
	}
}

// A bounce is written on the payment.
func TestSendGridsReports(t *testing.T) {
	key := newKey(t)
	a := withWebhook(start(t), key)
	id := a.order()
	a.set(id, append(paid(), bson.E{Key: "delivery.receipt_email.state", Value: "sent"}))
	for n, event := range []struct{ name, want string }{{"processed", "sent"}, {"delivered", "delivered"}, {"bounce", "failed"}, {"delivered", "failed"}, {"open", "failed"}} {
		body := fmt.Sprintf(`[{"event":%q,"timestamp":%d,"sg_event_id":"ev-%d","outbox_id":"charge:%s:done:0"}]`, event.name, sentAt+n, n, id)
		for range 2 {
			if status := a.postEvents(body, signed(t, key, body)...); status != http.StatusNoContent {
				t.Errorf("%s: %d", event.name, status)
			}
		}
		if got := a.message(id, "email"); got != event.want {
			t.Errorf("after %s the e-mail is %s, want %s", event.name, got, event.want)
		}
	}
}
