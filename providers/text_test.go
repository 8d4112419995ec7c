package providers_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/outboxd/outboxd/providers"
)

func TestSecretShowsItselfNowhere(t *testing.T) {
	const value = "sk_live_NeverShowThis"
	config := struct{ Key providers.Secret }{value}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("config", "config", config, "key", config.Key)
	data, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{log.String(), string(data)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		shown = append(shown, fmt.Sprintf(verb, config), fmt.Sprintf(verb, &config), fmt.Sprintf(verb, config.Key))
	}
	for _, text := range shown {
		if strings.Contains(text, value) {
			t.Errorf("the secret shows in %s", text)
		}
	}
	if config.Key.Reveal() != value {
		t.Error("the secret is not revealed where it is needed")
	}
}

func TestSecretUsable(t *testing.T) {
	for value, want := range map[string]bool{"": false, "sk_test_1": true, "with space": false, "line\n": false, "tür": false, "a\x7f": false} {
		if got := providers.Secret(value).Usable(); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}

func TestToken(t *testing.T) {
	for value, want := range map[string]string{
		"card_declined": "card_declined", "pi_3N-x.Y": "pi_3N-x.Y", "": "", "+4915112345678": "", "a@b.example": "", "two words": "",
		"line\nbreak": "", "ümlaut": "", strings.Repeat("x", 200): strings.Repeat("x", 200), strings.Repeat("x", 201): "",
	} {
		if got := providers.Token(value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

func TestKeyIsInjectiveAndFitsAHeader(t *testing.T) {
	seen := map[string]string{}
	for _, id := range []string{"order-1", " order-1", "order-1 ", "order-1\n", "bestellung-ü", "bestellung-u", strings.Repeat("ü", 100), "a:g1"} {
		key := providers.Key(id)
		if other, there := seen[key]; there {
			t.Errorf("%q and %q share the key %q", id, other, key)
		}
		seen[key] = id
		if !providers.Secret(key).Usable() || len(key)+len(":confirm:1000") > 255 {
			t.Errorf("the key %q does not fit", key)
		}
	}
	if seen["order-1"] != "order-1" {
		t.Error("an ordinary id is not its own key")
	}
	if providers.Key("ns/s0/create/ü") == providers.Key("ns/s1/create/ü") {
		t.Error("two generations share a key")
	}
}

func TestBaseURL(t *testing.T) {
	for raw, want := range map[string]string{
		"https://api.stripe.com": "https://api.stripe.com", "http://127.0.0.1:8080/": "http://127.0.0.1:8080",
		"https://gateway.example/stripe/": "https://gateway.example/stripe", "": "", "api.stripe.com": "", "ftp://x": "", "https://": "",
		"https://gateway.example/stripe/v": "https://gateway.example/stripe/v", "https://gateway.example/version": "https://gateway.example/version",
		"https://gateway.example/v-stripe": "https://gateway.example/v-stripe", "https://v1.gateway.example": "https://v1.gateway.example",
		"https://gateway.example/2010": "https://gateway.example/2010",
		"https://api.stripe.com/v1":    "", "https://api.stripe.com/v1/": "", "https://api.stripe.com/V1": "", "https://api.stripe.com//v1//": "",
		"https://api.sendgrid.com/v3": "", "https://api.sendgrid.com/v3/mail/send": "", "https://api.twilio.com/2010-04-01": "",
		"https://api.twilio.com/2010-04-01/Accounts/": "", "https://gateway.example/stripe/v1": "", "https://gateway.example/v2/stripe": "",
		"https://gateway.example/v4": "", "https://gateway.example/v1.1": "", "https://gateway.example/v1beta2": "", "https://gateway.example/%76%31": "",
		"https://user:secret@x": "", "https://x?key=secret": "", "https://x#a": "", "https://x:port": "", "/path": "",
	} {
		got, err := providers.BaseURL(raw)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", raw, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error repeats the address: %v", raw, err)
		}
	}
}
