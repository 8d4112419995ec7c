package simulator_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/outboxd/outboxd/providers/simulator"
)

func TestEffectsAreCountedOnEveryListener(t *testing.T) {
	b := start(t, simulator.Config{})
	if _, err := b.stripe().New(charge(t.Context(), "one", "k1")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.stripe().New(charge(t.Context(), "one", "k1")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.mail(t.Context(), "two"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.text(); err != nil {
		t.Fatal(err)
	}
	b.wantEffects("one", "two", "")
	for _, base := range []string{b.StripeURL, b.SendGridURL, b.TwilioURL} {
		var effects []simulator.Effect
		b.control(http.MethodGet, base+"/_sim/effects", nil, &effects)
		if len(effects) != 3 {
			t.Fatalf("%s shows %d effects, want 3", base, len(effects))
		}
		if e := effects[0]; e.Provider != "stripe" || e.Kind != "charge" || e.Amount != 1999 || e.Currency != "eur" || e.Customer != "cus_ann" || e.Key != "k1" {
			t.Errorf("charge: %+v", e)
		}
		if e := effects[1]; e.To != "ann@example.com" || e.Subject != "Your receipt" || e.Kind != "email" {
			t.Errorf("email: %+v", e)
		}
		if e := effects[2]; e.To != "+491701234567" || e.Body != "Your code is 4711" || e.Kind != "sms" {
			t.Errorf("sms: %+v", e)
		}
		effects = nil
		b.control(http.MethodGet, base+"/_sim/effects?provider=stripe&outbox_id=one", nil, &effects)
		if len(effects) != 1 {
			t.Errorf("filtered: %d effects, want 1", len(effects))
		}
		var counts []simulator.RequestCount
		b.control(http.MethodGet, base+"/_sim/requests", nil, &counts)
		want := []simulator.RequestCount{
			{Provider: "sendgrid", Route: "send", Status: 202, Count: 1},
			{Provider: "stripe", Route: "create", Status: 200, Count: 2},
			{Provider: "twilio", Route: "send", Status: 201, Count: 1},
		}
		if len(counts) != 3 || counts[0] != want[0] || counts[1] != want[1] || counts[2] != want[2] {
			t.Errorf("requests: %+v", counts)
		}
	}
}

func TestEffectsAsLines(t *testing.T) {
	b := start(t, simulator.Config{})
	for range 2 {
		if _, err := b.mail(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := b.http.Get(b.StripeURL + "/_sim/effects?format=lines")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := 0
	for sc := bufio.NewScanner(resp.Body); sc.Scan(); lines++ {
		var e simulator.Effect
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil || e.OutboxID != "x" {
			t.Errorf("line %q: %v", sc.Text(), err)
		}
	}
	if lines != 2 {
		t.Errorf("%d lines, want 2", lines)
	}
}

func TestResetForgetsEverything(t *testing.T) {
	b := start(t, simulator.Config{})
	if _, err := b.mail(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	b.faults(simulator.Fault{Do: simulator.DoStatus, Status: 503})
	b.control(http.MethodPost, b.TwilioURL+"/_sim/clock", `{"advance":"25h"}`, nil)
	b.control(http.MethodPost, b.TwilioURL+"/_sim/settings", `{"logs_delay":"1h"}`, nil)
	if code := b.control(http.MethodPost, b.TwilioURL+"/_sim/reset", nil, nil); code != 200 {
		t.Fatalf("reset answered %d", code)
	}
	if n := len(b.Sim.Effects()) + len(b.Sim.Requests()) + len(b.Sim.Faults()); n != 0 {
		t.Errorf("%d things left", n)
	}
	if d := time.Until(b.Sim.Now()); d > time.Minute {
		t.Errorf("the clock is still %s ahead", d)
	}
	if _, err := b.mail(t.Context(), "y"); err != nil {
		t.Fatal(err)
	}
	if _, found := b.logs("to_email = 'ann@example.com'"); len(found) != 1 {
		t.Errorf("the log shows %d messages, want the one after the reset", len(found))
	}
}

func TestControlRefusesNonsense(t *testing.T) {
	b := start(t, simulator.Config{})
	for _, tc := range []struct{ method, path, body, says string }{
		{"POST", "faults", `{"do":"status"}`, "status"},
		{"POST", "faults", `{"do":"explode"}`, "explode"},
		{"POST", "faults", `{"do":"drop","whem":"after"}`, "whem"},
		{"POST", "faults", `{"do":"drop","match":{"outboxid":"x"}}`, "outboxid"},
		{"POST", "faults", `{"do":"drop","provider":"paypal"}`, "paypal"},
		{"POST", "faults", `{"do":"drop","when":"during"}`, "during"},
		{"POST", "faults", `{"do":"delay"}`, "delay"},
		{"POST", "faults", `{"do":"flood"}`, "size"},
		{"POST", "faults", `{"do":"delay","delay":"soon"}`, "delay"},
		{"POST", "faults", `{"do":"status","status":99}`, "99"},
		{"POST", "faults", `{"do":"drop","match":{"probability":2}}`, "probability"},
		{"POST", "faults", `{"do":"status","status":500,"saved":true,"provider":"twilio"}`, "saved"},
		{"POST", "faults", `[{"do":"drop"},{"do":"explode"}]`, "explode"},
		{"POST", "clock", `{"advance":"-1h"}`, "advance"},
		{"POST", "clock", `{"advance":"1h"}{}`, "more than one"},
		{"POST", "settings", `{"lag":"1h"}`, "lag"},
		{"POST", "settings", `{"latency":"-1h"}`, "latency"},
		{"GET", "wait", "", "what to wait for"},
		{"GET", "wait?requests=0", "", "requests"},
		{"GET", "wait?requests=1&timeout=1h", "", "timeout"},
		{"GET", "wait?requests=1&timeout=1ms", "", "within 1ms"},
	} {
		var out struct{ Error string }
		code := b.control(tc.method, b.StripeURL+"/_sim/"+tc.path, tc.body, &out)
		if code != 400 || !strings.Contains(out.Error, tc.says) {
			t.Errorf("%s %s %s: %d %q, want 400 with %q", tc.method, tc.path, tc.body, code, out.Error, tc.says)
		}
	}
	if n := len(b.Sim.Faults()); n != 0 {
		t.Errorf("%d faults were added by refused scripts", n)
	}
}

func TestWaitReturnsOnceItHappened(t *testing.T) {
	b := start(t, simulator.Config{})
	answered := make(chan int)
	go func() {
		answered <- b.control(http.MethodGet, b.StripeURL+"/_sim/wait?provider=sendgrid&route=send&requests=2&effects=2", nil, nil)
	}()
	for range 2 {
		if _, err := b.mail(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if code := <-answered; code != 200 {
		t.Errorf("wait answered %d", code)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Sim.WaitEffects(ctx, "", 3); err != context.Canceled {
		t.Errorf("a cancelled wait returned %v", err)
	}
}

func TestCloseEndsWhatHangs(t *testing.T) {
	b := start(t, simulator.Config{})
	b.faults(
		simulator.Fault{Provider: "stripe", Do: simulator.DoHang},
		simulator.Fault{Provider: "sendgrid", Do: simulator.DoDelay, Delay: time.Hour},
		simulator.Fault{Provider: "twilio", Do: simulator.DoDelay, When: simulator.After, Delay: time.Hour},
	)
	ended := make(chan error, 4)
	go func() { _, err := b.stripe().New(charge(t.Context(), "a", "")); ended <- err }()
	go func() { _, err := b.mail(t.Context(), "b"); ended <- err }()
	go func() { _, err := b.text(); ended <- err }()
	go func() { ended <- b.Sim.WaitRequests(t.Context(), "", "", 99) }()
	if err := b.Sim.WaitRequests(t.Context(), "", "", 3); err != nil {
		t.Fatal(err)
	}
	if err := b.Sim.WaitEffects(t.Context(), "twilio", 1); err != nil {
		t.Fatal(err)
	}
	b.Close()
	for range 4 {
		if err := <-ended; err == nil {
			t.Error("a call that was hanging at Close was answered")
		}
	}
	b.wantEffects("") // the message whose answer was late; nothing that had not begun
}

func TestServeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := simulator.Serve(ctx, simulator.Config{}, simulator.Addrs{}, func(srv *simulator.Servers) {
		for _, base := range []string{srv.StripeURL, srv.SendGridURL, srv.TwilioURL} {
			if !strings.HasPrefix(base, "http://127.0.0.1:") {
				t.Errorf("listens on %s, want loopback", base)
			}
		}
		cancel()
	})
	if err != nil {
		t.Error(err)
	}
	first, err := simulator.Start(simulator.Config{}, simulator.Addrs{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	taken := simulator.Addrs{Twilio: strings.TrimPrefix(first.StripeURL, "http://")}
	if err := simulator.Serve(t.Context(), simulator.Config{}, taken, nil); err == nil {
		t.Error("a taken address was no error")
	}
}
