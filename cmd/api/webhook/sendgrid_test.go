package webhook_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"testing"

	"github.com/outboxd/outboxd/cmd/api/webhook"
)

func TestWebhookKeys(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := webhook.ParseSendGridKey(base64.StdEncoding.EncodeToString(der)); err != nil || !got.Equal(&key.PublicKey) {
		t.Errorf("%v, %v", got, err)
	}
	other, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherDER, err := x509.MarshalPKIXPublicKey(other)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "%%%", "AAAA", base64.StdEncoding.EncodeToString(otherDER)} {
		if got, err := webhook.ParseSendGridKey(text); err == nil {
			t.Errorf("%q is a key: %v", text, got)
		}
	}
}
