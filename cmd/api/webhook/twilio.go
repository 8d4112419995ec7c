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

// VerifyTwilio checks that a status callback was signed with the account's auth token. address is the whole URL as
// Twilio was told it, with its query; form is the body. Source: Twilio, "Webhooks security": the URL, then each
// parameter's name and value in the order of the names. Whether the URL is signed with its port is not consistent, so
// both count.
func VerifyTwilio(token string, address url.URL, form url.Values, signature string) error {
	given, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		return ErrSignature
	}
	var params strings.Builder
	for _, name := range slices.Sorted(maps.Keys(form)) {
		for _, value := range slices.Compact(slices.Sorted(slices.Values(form[name]))) { // as Twilio's own SDKs do
			params.WriteString(name + value)
		}
	}
	for _, signed := range withAndWithoutPort(address) {
		mac := hmac.New(sha1.New, []byte(token))
		mac.Write([]byte(signed + params.String()))
		if hmac.Equal(given, mac.Sum(nil)) {
			return nil
		}
	}
	return ErrSignature
}

func withAndWithoutPort(address url.URL) [2]string {
	without, with := address, address
	without.Host = address.Hostname()
	if strings.Contains(without.Host, ":") { // IPv6
		without.Host = "[" + without.Host + "]"
	}
	if address.Port() == "" {
		with.Host += map[bool]string{true: ":443", false: ":80"}[address.Scheme == "https"]
	}
	return [2]string{without.String(), with.String()}
}

// maxOutboxID bounds an outbox_id, in bytes; an intent's id is shorter.
const maxOutboxID = 1024

// ReadTwilio reads a verified status callback. query is that of the address, to which the worker added the outbox_id.
func ReadTwilio(query, form url.Values) (payments.SMSReport, error) {
	r := payments.SMSReport{
		MessageID: providers.Token(form.Get("MessageSid")),
		Status:    strings.ToLower(providers.Token(form.Get("MessageStatus"))),
		OutboxID:  query.Get(outbox.ReservedMetadata),
		Namespace: query.Get(outbox.ReservedNamespace),
	}
	if r.MessageID == "" || r.Status == "" || len(r.OutboxID) > maxOutboxID {
		return payments.SMSReport{}, errors.New("the form is no status callback of Twilio's")
	}
	return r, nil
}
