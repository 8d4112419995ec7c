package simulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"
	twilioapi "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/outboxd/outboxd/providers/simulator"
)

// deed is what a client without an SDK sees of one request.
type deed struct {
	status    int
	header    http.Header
	body      string
	err, read error
}

// sendMail posts one e-mail without an SDK, so that nothing is hidden.
func (b *bench) sendMail(ctx context.Context, outboxID string) deed {
	b.t.Helper()
	body := fmt.Sprintf(`{"from":{"email":"shop@example.com"},"subject":"s","content":[{"type":"text/plain","value":"v"}],
		"personalizations":[{"to":[{"email":"ann@example.com"}],"custom_args":{"outbox_id":%q}}]}`, outboxID)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.SendGridURL+"/v3/mail/send", strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer SG.x")
	resp, err := b.http.Do(req)
	if err != nil {
		return deed{err: err}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return deed{status: resp.StatusCode, header: resp.Header, body: string(data), read: err}
}

func TestFaultsBeforeAndAfterProcessing(t *testing.T) {
	answers := func(status int, body string) func(deed) bool {
		return func(d deed) bool {
			return d.err == nil && d.read == nil && d.status == status && strings.Contains(d.body, body)
		}
	}
	for _, tc := range []struct {
		name  string
		fault simulator.Fault
		seen  func(deed) bool
	}{
		{"status", simulator.Fault{Do: "status", Status: 503}, answers(503, `"errors"`)},
		{"body", simulator.Fault{Do: "status", Status: 418, Body: "teapot"}, answers(418, "teapot")},
		{"no content", simulator.Fault{Do: "status", Status: 204}, answers(204, "")},
		{"reset", simulator.Fault{Do: "reset"}, func(d deed) bool { return errors.Is(d.err, syscall.ECONNRESET) }},
		{"drop", simulator.Fault{Do: "drop"}, func(d deed) bool { return errors.Is(d.err, io.EOF) }},
		{"truncate", simulator.Fault{Do: "truncate", Status: 202}, func(d deed) bool { return d.status == 202 && errors.Is(d.read, io.ErrUnexpectedEOF) }},
		{"html", simulator.Fault{Do: "html"}, func(d deed) bool {
			return d.status == 502 && strings.Contains(d.body, "<html>") && d.header.Get("Content-Type") == "text/html"
		}},
		{"garbage", simulator.Fault{Do: "garbage", Status: 202}, func(d deed) bool { return d.status == 202 && !json.Valid([]byte(d.body)) }},
		{"empty", simulator.Fault{Do: "empty", Status: 500}, func(d deed) bool { return d.status == 500 && d.body == "" && d.read == nil }},
		{"flood", simulator.Fault{Do: "flood", Status: 500, Size: 1 << 20}, func(d deed) bool { return d.status == 500 && len(d.body) == 1<<20 }},
		{"redirect", simulator.Fault{Do: "redirect"}, func(d deed) bool { return d.status == 302 && d.header.Get("Location") != "" }},
		{"late", simulator.Fault{Do: "status", Status: 503, Delay: time.Millisecond}, answers(503, "")},
	} {
		for _, when := range []string{simulator.Before, simulator.After} {
			t.Run(tc.name+" "+when, func(t *testing.T) {
				b := start(t, simulator.Config{})
				tc.fault.When = when
				b.faults(tc.fault)
				if got := b.sendMail(t.Context(), "x"); !tc.seen(got) {
					t.Errorf("the client saw %+v", got)
				}
				if when == simulator.Before {
					b.wantEffects()
				} else {
					b.wantEffects("x")
				}
				if left := b.Sim.Faults(); len(left) != 0 {
					t.Errorf("left: %+v", left)
				}
				if got := b.sendMail(t.Context(), "y"); got.status != 202 || got.err != nil {
					t.Errorf("the next request saw %+v", got)
				}
			})
		}
	}
}

func TestHangEndsWhenTheClientLeaves(t *testing.T) {
	for when, effects := range map[string][]string{simulator.Before: nil, simulator.After: {"x"}} {
		b := start(t, simulator.Config{})
		b.faults(simulator.Fault{Do: simulator.DoHang, When: when})
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan deed)
		go func() { left <- b.sendMail(ctx, "x") }()
		if err := b.Sim.WaitRequests(t.Context(), "sendgrid", "send", 1); err != nil {
			t.Fatal(err)
		}
		if err := b.Sim.WaitEffects(t.Context(), "", len(effects)); err != nil {
			t.Fatal(err)
		}
		cancel()
		if got := <-left; !errors.Is(got.err, context.Canceled) {
			t.Errorf("%s: %+v", when, got)
		}
		b.wantEffects(effects...)
	}
}

// The handlers alone, on a server that the Sim does not own, end their hanging requests too.
func TestHangingHandlerEnds(t *testing.T) {
	for name, end := range map[string]func(*simulator.Sim, context.CancelFunc){
		"with its client": func(_ *simulator.Sim, leave context.CancelFunc) { leave() },
		"with the Sim":    func(s *simulator.Sim, _ context.CancelFunc) { s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s := simulator.New(simulator.Config{})
			t.Cleanup(s.Close)
			returned := make(chan struct{})
			api := s.Stripe()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(returned)
				api.ServeHTTP(w, r)
			}))
			t.Cleanup(srv.Close)
			if err := s.AddFaults(simulator.Fault{Route: "balance", Do: simulator.DoHang}); err != nil {
				t.Fatal(err)
			}
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/v1/balance", nil)
			if err != nil {
				t.Fatal(err)
			}
			answered := make(chan error, 1)
			go func() {
				resp, err := srv.Client().Do(req)
				if err == nil {
					_ = resp.Body.Close()
				}
				answered <- err
			}()
			if err := s.WaitRequests(t.Context(), "stripe", "balance", 1); err != nil {
				t.Fatal(err)
			}
			end(s, leave)
			<-returned
			if err := <-answered; err == nil {
				t.Error("a hanging request was answered")
			}
		})
	}
}

// A provider does not notice that its client has given up.
func TestDelayedRequestIsProcessedForAClientThatLeft(t *testing.T) {
	b := start(t, simulator.Config{})
	b.faults(simulator.Fault{Do: simulator.DoDelay, Delay: 50 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan deed)
	go func() { left <- b.sendMail(ctx, "x") }()
	if err := b.Sim.WaitRequests(t.Context(), "sendgrid", "send", 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-left
	if err := b.Sim.WaitEffects(t.Context(), "sendgrid", 1); err != nil {
		t.Fatal(err)
	}
}

func TestFaultMatching(t *testing.T) {
	status := func(m simulator.Match) simulator.Fault {
		return simulator.Fault{Provider: "sendgrid", Route: "send", Do: "status", Status: 503, Match: m}
	}
	for _, tc := range []struct {
		name  string
		fault simulator.Fault
		want  string // statuses of mails a, b, a, b, a
	}{
		{"once", status(simulator.Match{}), "503 202 202 202 202"},
		{"twice", status(simulator.Match{Times: 2}), "503 503 202 202 202"},
		{"for ever", status(simulator.Match{Times: -1}), "503 503 503 503 503"},
		{"by id", status(simulator.Match{OutboxID: "b"}), "202 503 202 202 202"},
		{"by id, from the second on", status(simulator.Match{OutboxID: "a", Nth: 2, Times: 5}), "202 202 503 202 503"},
		{"by recipient", status(simulator.Match{To: "ann@example.com"}), "503 202 202 202 202"},
		{"other recipient", status(simulator.Match{To: "bob@example.com"}), "202 202 202 202 202"},
		{"other provider", simulator.Fault{Provider: "twilio", Do: "status", Status: 503}, "202 202 202 202 202"},
		{"other route", simulator.Fault{Provider: "sendgrid", Route: "logs", Do: "status", Status: 503}, "202 202 202 202 202"},
	} {
		b := start(t, simulator.Config{})
		b.faults(tc.fault)
		var got []string
		for _, id := range []string{"a", "b", "a", "b", "a"} {
			got = append(got, strconv.Itoa(b.sendMail(t.Context(), id).status))
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: %v, want %s", tc.name, got, tc.want)
		}
	}
}

func TestFaultMatchesStripeByIdentityAndKey(t *testing.T) {
	b := start(t, simulator.Config{})
	api := b.stripe()
	b.faults(
		simulator.Fault{Provider: "stripe", Route: "confirm", Match: simulator.Match{OutboxID: "x"}, Do: "status", Status: 503},
		simulator.Fault{Provider: "stripe", Match: simulator.Match{Key: "y:create"}, Do: "status", Status: 502},
	)
	pi, err := api.New(charge(t.Context(), "x", "x:create", unconfirmed))
	if err != nil {
		t.Fatal(err)
	}
	_, err = api.Confirm(pi.ID, confirm(t.Context(), "x:confirm"))
	if se := stripeFault(t, err); se.HTTPStatusCode != 503 {
		t.Errorf("confirm: %d", se.HTTPStatusCode)
	}
	_, err = api.New(charge(t.Context(), "y", "y:create"))
	if se := stripeFault(t, err); se.HTTPStatusCode != 502 {
		t.Errorf("by key: %d", se.HTTPStatusCode)
	}
}

func TestFaultMatchesTwilioByCallback(t *testing.T) {
	b := start(t, simulator.Config{})
	b.faults(simulator.Fault{Provider: "twilio", Match: simulator.Match{OutboxID: "x"}, When: "after", Do: "status", Status: 500})
	for id, fails := range map[string]bool{"w": false, "x": true} {
		_, err := b.text(func(p *twilioapi.CreateMessageParams) {
			p.SetStatusCallback("https://api.example.com/twilio?outbox_id=" + id)
		})
		if (err != nil) != fails {
			t.Errorf("%s: %v", id, err)
		}
	}
	if n := len(b.Sim.Effects()); n != 2 {
		t.Errorf("%d effects, want 2", n)
	}
}

// The outcome of a probability must not depend on the order in which concurrent requests arrive.
func TestProbabilityIsDecidedBySeedAndIdentity(t *testing.T) {
	const mails = 200
	run := func(seed uint64, concurrent bool) map[string]bool {
		b := start(t, simulator.Config{})
		b.faults(simulator.Fault{Do: "status", Status: 503, Match: simulator.Match{Probability: 0.3, Seed: seed, Times: -1}})
		failed := map[string]bool{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range mails {
			one := func() {
				id := strconv.Itoa(i)
				status := b.sendMail(t.Context(), id).status
				mu.Lock()
				defer mu.Unlock()
				failed[id] = status == 503
			}
			if concurrent {
				wg.Go(one)
			} else {
				one()
			}
		}
		wg.Wait()
		return failed
	}
	first, again, other := run(1, false), run(1, true), run(2, false)
	if !reflect.DeepEqual(first, again) {
		t.Error("one seed gave two outcomes")
	}
	if reflect.DeepEqual(first, other) {
		t.Error("two seeds gave one outcome")
	}
	n := 0
	for _, f := range first {
		if f {
			n++
		}
	}
	if n < mails/5 || n > mails*2/5 {
		t.Errorf("%d of %d failed, want about three in ten", n, mails)
	}
}

func TestFaultHeaders(t *testing.T) {
	b := start(t, simulator.Config{})
	b.control(http.MethodPost, b.SendGridURL+"/_sim/faults",
		`{"do":"status","status":429,"headers":{"Retry-After":"3","X-RateLimit-Reset":"+7"}}`, nil)
	got := b.sendMail(t.Context(), "x")
	if got.status != 429 || got.header.Get("Retry-After") != "3" || !strings.Contains(got.body, "too many requests") {
		t.Errorf("%+v", got)
	}
	reset, err := strconv.ParseInt(got.header.Get("X-RateLimit-Reset"), 10, 64)
	if ahead := time.Until(time.Unix(reset, 0)); err != nil || ahead < 5*time.Second || ahead > 8*time.Second {
		t.Errorf("the reset is %s ahead, want 7s (%v)", ahead, err)
	}
}

func TestFaultsAreListedAndRemoved(t *testing.T) {
	b := start(t, simulator.Config{})
	var left []simulator.FaultState
	b.control(http.MethodPost, b.StripeURL+"/_sim/faults", `[
		{"provider":"sendgrid","do":"status","status":503,"match":{"times":3}},
		{"provider":"twilio","do":"delay","when":"after","delay":"1h30m","match":{"times":-1}}]`, &left)
	if got := b.sendMail(t.Context(), "x"); got.status != 503 {
		t.Fatalf("%+v", got)
	}
	b.control(http.MethodGet, b.TwilioURL+"/_sim/faults", nil, &left)
	if len(left) != 2 || left[0].Left != 2 || left[0].Fired != 1 || left[0].Matched != 1 || left[1].Left != -1 ||
		left[1].Fault.Delay != 90*time.Minute || left[1].Fault.When != simulator.After {
		t.Errorf("left: %+v", left)
	}
	b.control(http.MethodDelete, b.TwilioURL+"/_sim/faults", nil, &left)
	if len(left) != 0 || len(b.Sim.Faults()) != 0 {
		t.Errorf("after the removal: %+v", left)
	}
	if got := b.sendMail(t.Context(), "x"); got.status != 202 {
		t.Errorf("%+v", got)
	}
}

// The answers of each provider to a scripted status are such that its SDK reads them as the provider's own.
func TestScriptedStatusSpeaksTheProvidersLanguage(t *testing.T) {
	b := start(t, simulator.Config{})
	for status := 400; status <= 599; status++ {
		b.faults(simulator.Fault{Do: "status", Status: status, Match: simulator.Match{Times: 1}, Provider: "stripe"})
		_, err := b.stripe().New(charge(t.Context(), "x", ""))
		if se, ok := errors.AsType[*stripe.Error](err); !ok || se.HTTPStatusCode != status || se.Type == "" {
			t.Fatalf("stripe %d: %v", status, err)
		}
		b.faults(simulator.Fault{Do: "status", Status: status, Provider: "twilio"})
		_, err = b.text()
		if te := twilioFault(t, err); te.Status != status || te.Code == 0 {
			t.Fatalf("twilio %d: %+v", status, te)
		}
	}
	b.wantEffects()
}

// TestFaultsThatCouldNeverFire are refused, with what there is in their place.
func TestFaultsThatCouldNeverFire(t *testing.T) {
	b := start(t, simulator.Config{})
	for body, want := range map[string]string{
		`{"provider":"stripe","route":"confirms","do":"drop"}`:          "create confirm cancel retrieve list search account balance unknown",
		`{"provider":"stripe","route":"send","do":"drop"}`:              "create confirm cancel",
		`{"provider":"sendgrid","route":"mail","do":"drop"}`:            "send logs log scopes unknown",
		`{"provider":"twilio","route":"confirm","do":"drop"}`:           "send list fetch account unknown",
		`{"route":"pay","do":"drop"}`:                                   "account balance cancel confirm create fetch list log logs retrieve scopes search send unknown",
		`{"provider":"paypal","route":"create","do":"drop"}`:            "stripe, sendgrid, twilio",
		`{"provider":"stripe","do":"explode"}`:                          "status reset drop",
		`{"provider":"stripe","do":"drop","when":"during"}`:             "before or after",
		`{"provider":"stripe","do":"drop","whn":"after"}`:               "whn",
		`[{"provider":"stripe","do":"drop"},{"route":"x","do":"drop"}]`: "account balance",
	} {
		var answer struct {
			Error string `json:"error"`
		}
		if status := b.control(http.MethodPost, b.StripeURL+"/_sim/faults", body, &answer); status != http.StatusBadRequest || !strings.Contains(answer.Error, want) {
			t.Errorf("%s: %d %s", body, status, answer.Error)
		}
	}
	if n := len(b.Sim.Faults()); n != 0 {
		t.Errorf("%d faults were added", n)
	}
}
