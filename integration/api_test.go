package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// shop is the reference API as a process of its own.
type shop struct {
	*process
	url string
}

func (w *world) shop() *shop {
	w.Helper()
	p := start(w, w.environment(), "outbox-api", "--log-level=debug")
	var line struct{ Address string }
	text := p.find(p.errOut, "its address", func(line string) bool { return strings.Contains(line, `"address"`) })
	if err := json.Unmarshal([]byte(text), &line); err != nil {
		w.Fatalf("read the API's address from %q: %v", text, err)
	}
	return &shop{p, line.Address}
}

type payment struct {
	ID, State string
	Receipt   struct{ Provider, ID string }
	Failure   struct{ Reason, Code string }
}

// ask sends a request and reads a payment.
func (s *shop) ask(method, path, body string, want int, headers ...string) payment {
	s.tb.Helper()
	req, err := http.NewRequestWithContext(s.tb.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		s.tb.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	var p payment
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || resp.StatusCode != want {
		s.tb.Fatalf("%s %s: %s, want %d; error %v", method, path, resp.Status, want, err)
	}
	return p
}

// order posts a payment by the given method of payment.
func (s *shop) order(customer, method string, headers ...string) payment {
	s.tb.Helper()
	return s.ask(http.MethodPost, "/payments", fmt.Sprintf(`{"amount":1999,"currency":"eur","customer":"cus_%s","payment_method":%q,"email":"%s@example.org","phone":%q,"description":"Two ${books}"}`,
		customer, method, customer, phone(customer)), http.StatusAccepted, headers...)
}

// becomes waits until a payment has the state.
func (s *shop) becomes(id, state string) payment {
	s.tb.Helper()
	var p payment
	eventually(s.tb, "the payment becomes "+state, func() bool {
		p = s.ask(http.MethodGet, "/payments/"+id, "", http.StatusOK)
		return p.State == state
	})
	return p
}

// From the request to the customer's receipt: the whole way through the reference API, a worker and the providers.
func TestPayment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	api := w.shop()
	worker := w.worker("--log-level=debug")

	paid := api.order("ada", "pm_card_visa", "Idempotency-Key", "order 1")
	again := api.order("ada", "pm_card_visa", "Idempotency-Key", "order 1")
	declined := api.order("bob", "pm_card_visa_chargeDeclinedInsufficientFunds")
	if paid.State != "pending" || again.ID != paid.ID || declined.ID == paid.ID {
		t.Errorf("POST answered %+v, %+v and %+v", paid, again, declined)
	}

	if p := api.becomes(paid.ID, "paid"); p.Receipt.Provider != "stripe" || !strings.HasPrefix(p.Receipt.ID, "pi_") || p.Failure.Code != "" {
		t.Errorf("the paid payment is %+v", p)
	}
	if p := api.becomes(declined.ID, "failed"); p.Failure.Reason != "permanent" || p.Failure.Code != "declined" || p.Receipt.ID != "" {
		t.Errorf("the declined payment is %+v", p)
	}
	// Two charges; receipt by e-mail and SMS for one, an e-mail for the other.
	eventually(t, "all follow-ups are done", func() bool { return w.count(bson.D{{Key: "status", Value: "done"}}) == 4 })
	worker.stop()
	api.stop()

	if n := w.count(bson.D{}); n != 5 {
		t.Errorf("%d intents exist, want 5", n)
	}
	effects := w.sim.effects()
	if len(effects) != 4 {
		t.Errorf("there were %d effects, want 4: %+v", len(effects), effects)
	}
	for _, want := range []struct {
		provider, to, text string
		amount             int64
	}{
		{"stripe", "", "", 1999},
		{"sendgrid", "ada@example.org", "Receipt: 19.99 EUR", 0},
		{"twilio", phone("ada"), "Thank you for your payment of 19.99 EUR", 0},
		{"sendgrid", "bob@example.org", "Your payment of 19.99 EUR failed", 0},
	} {
		n := 0
		for _, e := range effects {
			if e.Provider == want.provider && e.Amount == want.amount && (want.to == "" || e.To == want.to) && strings.Contains(e.Subject+e.Body, want.text) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d effects are like %+v, want 1", n, want)
		}
	}

	// What the customers gave stays between them, the database and the providers.
	for _, p := range []*process{worker, api.process} {
		printed := p.out.String() + p.errOut.String()
		for _, secret := range []string{"@example.org", phone("ada"), phone("bob"), "${books}", "pm_card_visa", "integration", "sk_test"} {
			if strings.Contains(printed, secret) {
				t.Errorf("%s printed %q", p.name, secret)
			}
		}
	}
}
