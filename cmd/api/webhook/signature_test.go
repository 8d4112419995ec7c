package webhook_test

import (
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	stripe "github.com/stripe/stripe-go/v76/webhook"
	twilio "github.com/twilio/twilio-go/client"

	"github.com/outboxd/outboxd/cmd/api/webhook"
)

// What Stripe's SDK signs is accepted, and what differs in anything is not.
func TestStripeSignatures(t *testing.T) {
	now := time.Now()
	body := []byte(`{"id":"evt_1","type":"payment_intent.succeeded"}`)
	sign := func(secret string, at time.Time) string {
		return stripe.GenerateTestSignedPayload(&stripe.UnsignedPayload{Payload: body, Secret: secret, Timestamp: at}).Header
	}
	good := sign("whsec_new", now)
	for _, c := range []struct {
		name, header string
		body         []byte
		genuine      bool
	}{
		{"as signed", good, body, true},
		{"by the secret before", sign("whsec_old", now), body, true},
		{"with a signature of another scheme", good + ",v0=00", body, true},
		{"with a wrong one beside it", "v1=00," + good, body, true},
		{"four minutes old", sign("whsec_new", now.Add(-4*time.Minute)), body, true},
		{"six minutes old", sign("whsec_new", now.Add(-6*time.Minute)), body, false},
		{"six minutes ahead", sign("whsec_new", now.Add(6*time.Minute)), body, false},
		{"another body", good, []byte(`{"id":"evt_2"}`), false},
		{"another secret", sign("whsec_x", now), body, false},
		{"another time", fmt.Sprintf("t=%d,%s", now.Unix()-1, good[len("t=1234567890,"):]), body, false},
		{"no header", "", body, false},
		{"no time", good[len("t=1234567890,"):], body, false},
		{"no signature", good[:len("t=1234567890")], body, false},
		{"nonsense", "t=x,v1=y", body, false},
	} {
		err := webhook.VerifyStripe([]string{"whsec_new", "whsec_old"}, c.header, c.body, now)
		if c.genuine != (err == nil) || err != nil && !errors.Is(err, webhook.ErrSignature) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// And the other way: what is accepted here, the SDK accepts.
	if err := stripe.ValidatePayload(body, good, "whsec_new"); err != nil {
		t.Error(err)
	}
}

// What Twilio's SDK accepts is accepted, with and without the port, and what differs in anything is not.
func TestTwilioSignatures(t *testing.T) {
	const token = "12345"
	form := url.Values{"MessageSid": {"SM1"}, "MessageStatus": {"delivered"}, "To": {"+4915112345678"}}
	params := map[string]string{"MessageSid": "SM1", "MessageStatus": "delivered", "To": "+4915112345678"}
	// The signatures were made with openssl, from the description: url, then names and values in order.
	for _, c := range []struct {
		name, address, signature string
		form                     url.Values
		genuine                  bool
	}{
		{"as signed", "https://pay.example.org/webhooks/twilio?outbox_id=charge%3Ax", "Jv3jKuqlmsJhnLwlXGzeaxs65jc=", form, true},
		{"signed with the port", "https://pay.example.org/webhooks/twilio?outbox_id=charge%3Ax", "P7YN5Eo/wVI9G7C4+8aqejzH36I=", form, true},
		{"told with the port", "https://pay.example.org:443/webhooks/twilio?outbox_id=charge%3Ax", "Jv3jKuqlmsJhnLwlXGzeaxs65jc=", form, true},
		{"another query", "https://pay.example.org/webhooks/twilio?outbox_id=charge%3Ay", "Jv3jKuqlmsJhnLwlXGzeaxs65jc=", form, false},
		{"another host", "https://pay.example.com/webhooks/twilio?outbox_id=charge%3Ax", "Jv3jKuqlmsJhnLwlXGzeaxs65jc=", form, false},
		{"http", "http://pay.example.org/webhooks/twilio?outbox_id=charge%3Ax", "Jv3jKuqlmsJhnLwlXGzeaxs65jc=", form, false},
		{"another status", "https://pay.example.org/webhooks/twilio?outbox_id=charge%3Ax", "Jv3jKuqlmsJhnLwlXGzeaxs65jc=", url.Values{"MessageSid": {"SM1"}, "MessageStatus": {"failed"}, "To": {"+4915112345678"}}, false},
		{"a parameter more", "https://pay.example.org/webhooks/twilio?outbox_id=charge%3Ax", "Jv3jKuqlmsJhnLwlXGzeaxs65jc=", url.Values{"MessageSid": {"SM1"}, "MessageStatus": {"delivered"}, "To": {"+4915112345678"}, "Z": {""}}, false},
		{"no signature", "https://pay.example.org/webhooks/twilio?outbox_id=charge%3Ax", "", form, false},
		{"nonsense", "https://pay.example.org/webhooks/twilio?outbox_id=charge%3Ax", "%%%", form, false},
	} {
		address, err := url.Parse(c.address)
		if err != nil {
			t.Fatal(err)
		}
		err = webhook.VerifyTwilio(token, *address, c.form, c.signature)
		if c.genuine != (err == nil) || err != nil && !errors.Is(err, webhook.ErrSignature) {
			t.Errorf("%s: %v", c.name, err)
		}
		sdk := twilio.NewRequestValidator(token)
		if c.genuine && !sdk.Validate(c.address, params, c.signature) {
			t.Errorf("%s: Twilio's SDK does not accept it", c.name)
		}
	}
	address, err := url.Parse("https://pay.example.org/webhooks/twilio?outbox_id=charge%3Ax")
	if err != nil {
		t.Fatal(err)
	}
	if err := webhook.VerifyTwilio("other", *address, form, "Jv3jKuqlmsJhnLwlXGzeaxs65jc="); err == nil {
		t.Error("another token is accepted")
	}
}

func TestReadStripe(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		ok   bool
		want string
	}{
		"an intent":           {`{"id":"evt_1","type":"payment_intent.succeeded","created":1,"data":{"object":{"id":"pi_1","amount":5,"currency":"eur","customer":"cus_1","metadata":{"outbox_id":"charge:x"}}}}`, true, "pi_1 5 eur cus_1 charge:x"},
		"a customer in whole": {`{"id":"evt_1","type":"payment_intent.canceled","created":1,"data":{"object":{"id":"pi_1","customer":{"id":"cus_1"}}}}`, true, "pi_1 0  cus_1 "},
		"of something else":   {`{"id":"evt_1","type":"customer.created","created":1,"data":{"object":{"id":"cus_1"}}}`, true, " 0   "},
		"no id":               {`{"type":"payment_intent.succeeded","created":1,"data":{"object":{"id":"pi_1"}}}`, false, ""},
		"no time":             {`{"id":"evt_1","type":"payment_intent.succeeded","data":{"object":{"id":"pi_1"}}}`, false, ""},
		"no object":           {`{"id":"evt_1","type":"payment_intent.succeeded","created":1,"data":{}}`, false, ""},
		"an id with a space":  {`{"id":"evt_1","type":"payment_intent.succeeded","created":1,"data":{"object":{"id":"pi 1"}}}`, false, ""},
		"an array":            {`[]`, false, ""},
	} {
		e, err := webhook.ReadStripe([]byte(c.body))
		if got := fmt.Sprint(e.PaymentIntent, " ", e.Amount, " ", e.Currency, " ", e.Customer, " ", e.OutboxID); (err == nil) != c.ok || c.ok && got != c.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
