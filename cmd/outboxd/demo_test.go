package main

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
)

// The demo is its own proof: it fails if one number does not fit. Credentials that look real must not reach its worker.
// What it leaves running is the real API, whose shop reaches worker and simulators.
func TestDemo(t *testing.T) {
	t.Parallel()
	p := launch(t, []string{"OUTBOXD_MONGODB_URI=" + mongotest.URI(t), "STRIPE_API_KEY=sk_live_real", "STRIPE_API_URL=http://127.0.0.1:1", "OUTBOXD_DATABASE=mine", "STRIPE_API_KEY_FILE=/run/secrets/stripe", "TMPDIR=" + t.TempDir()}, "demo", "--keep")
	api := keptAt(t, p, "shop")
	if code, page := get(t, api+"/"); code != http.StatusOK || !strings.Contains(page, "A small shop") {
		t.Errorf("the shop: %d %s", code, page)
	}
	if code, page := get(t, api+"/readyz"); code != http.StatusOK {
		t.Errorf("the API is not ready: %s", page)
	}
	buy(t, api)
	p.signal(t, os.Interrupt)
	if code := p.end(t); code != exitDone {
		t.Fatalf("exit code %d\n%s%s", code, p.out, p.log)
	}
	out := p.out.String()
	checkHuman(t, out)
	for _, want := range []string{"The API serves " + api + "/payments", "card declined", "SendGrid limits the rate", "dead: ambiguous", "dead: exhausted", "dead: expired", "dead: invalid", "cancelled", "equal", "ended as they must"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	if strings.Contains(out, "NOT EQUAL") || t.Failed() {
		t.Log(out)
	}
}

// keptAt waits for the list of what is left running, and returns an address of it without its last slash.
func keptAt(t *testing.T, p *process, name string) string {
	t.Helper()
	all := p.out.awaitText(t, "/metrics\n")
	found := regexp.MustCompile(`\n  ` + name + ` +(http://127\.0\.0\.1:\d+)/\n`).FindStringSubmatch(all)
	if found == nil {
		t.Fatalf("no address of %s in:\n%s", name, all)
	}
	return found[1]
}

// buy orders while the simulated Stripe is off: the payment waits, and is charged once Stripe is on again.
func buy(t *testing.T, api string) {
	t.Helper()
	send := func(path, body string, want int) string {
		t.Helper()
		code, answer := post(t, api+path, body)
		if code != want {
			t.Fatalf("POST %s: %d %s", path, code, answer)
		}
		return answer
	}
	send("/simulator", `{"name":"stripe","off":true}`, http.StatusOK)
	var payment struct{ ID, State string }
	order := send("/payments", `{"amount":450,"currency":"eur","customer":"cus_shop","payment_method":"pm_card_visa"}`, http.StatusAccepted)
	if err := json.Unmarshal([]byte(order), &payment); err != nil {
		t.Fatal(err)
	}
	send("/simulator", `{"name":"stripe","off":false}`, http.StatusOK)
	_, answer := get(t, api+"/payments/"+payment.ID+"?wait=30s")
	if err := json.Unmarshal([]byte(answer), &payment); err != nil || payment.State != "paid" {
		t.Errorf("what became of the order: %s (%v)", answer, err)
	}
}
