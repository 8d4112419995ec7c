package webhook

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/outboxd/outboxd/cmd/api/payments"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// TwilioHeader carries Twilio's signature.
const TwilioHeader = "X-Twilio-Signature"

// VerifyTwilio checks that a status callback was signed with the account's auth token. address is the whole URL as Twilio
// was told it, with its query; form is the body. Source: Twilio, "Webhooks security": the URL, then each parameter's name
// and value in the order of the names.
func VerifyTwilio(token, address string, form url.Values, signature string) error {
	given, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		return ErrSignature
	}
	mac := hmac.New(sha1.New, []byte(token))
	mac.Write([]byte(address))
	for _, name := range slices.Sorted(maps.Keys(form)) {
		values := slices.Compact(slices.Sorted(slices.Values(form[name]))) // a parameter that stands twice, as Twilio's SDKs do
		for _, value := range values {
			mac.Write([]byte(name + value))
		}
	}
	if !hmac.Equal(given, mac.Sum(nil)) {
		return ErrSignature
	}
	return nil
}

// maxOutboxID bounds an outbox_id, in bytes; an intent's id is shorter.
const maxOutboxID = 1024

// ReadTwilio reads a verified status callback. query is that of the address, to which the worker added the outbox_id.
func ReadTwilio(query, form url.Values) (payments.SMSReport, error) {
	r := payments.SMSReport{
		MessageID: providers.Token(form.Get("MessageSid")),
		Status:    strings.ToLower(providers.Token(form.Get("MessageStatus"))),
		OutboxID:  query.Get(outbox.ReservedMetadata),
	}
	if r.MessageID == "" || r.Status == "" || len(r.OutboxID) > maxOutboxID {
		return payments.SMSReport{}, errors.New("the form is no status callback of Twilio's")
	}
	return r, nil
}
