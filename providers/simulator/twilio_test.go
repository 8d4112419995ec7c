package simulator_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/twilio/twilio-go/client"
	twilioapi "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/outboxd/outboxd/providers/simulator"
)

func twilioFault(t *testing.T, err error) *client.TwilioRestError {
	t.Helper()
	te, ok := errors.AsType[*client.TwilioRestError](err)
	if !ok {
		t.Fatalf("got %v, want an error of the API", err)
	}
	return te
}

func TestTwilioCreates(t *testing.T) {
	b := start(t, simulator.Config{})
	m, err := b.text(func(p *twilioapi.CreateMessageParams) {
		p.SetStatusCallback("https://api.example.com/twilio?outbox_id=x")
	})
	if err != nil {
		t.Fatal(err)
	}
	if *m.Status != "queued" || !strings.HasPrefix(*m.Sid, "SM") || *m.Body != "Your code is 4711" || m.DateSent != nil || *m.NumSegments != "1" {
		t.Errorf("%+v", m)
	}
	if _, err := time.Parse(time.RFC1123Z, *m.DateCreated); err != nil {
		t.Error(err)
	}
	service := "MG0123456789abcdef0123456789abcdef"
	m, err = b.text(func(p *twilioapi.CreateMessageParams) {
		p.From = nil
		p.SetMessagingServiceSid(service).SetMediaUrl([]string{"https://example.com/a.png"})
	})
	if err != nil || *m.Status != "accepted" || !strings.HasPrefix(*m.Sid, "MM") || m.From != nil || *m.NumSegments != "0" {
		t.Errorf("through a Messaging Service: %+v, %v", m, err)
	}
	effects := b.Sim.Effects()
	if len(effects) != 2 || effects[0].OutboxID != "x" || effects[1].From != service || effects[0].Account != testSID {
		t.Errorf("%+v", effects)
	}
}

func TestTwilioRefuses(t *testing.T) {
	b := start(t, simulator.Config{})
	to := func(n string) func(*twilioapi.CreateMessageParams) {
		return func(p *twilioapi.CreateMessageParams) { p.SetTo(n) }
	}
	from := func(n string) func(*twilioapi.CreateMessageParams) {
		return func(p *twilioapi.CreateMessageParams) { p.SetFrom(n) }
	}
	for _, tc := range []struct {
		code   int
		change func(*twilioapi.CreateMessageParams)
	}{
		{21604, func(p *twilioapi.CreateMessageParams) { p.To = nil }},
		{21603, func(p *twilioapi.CreateMessageParams) { p.From = nil }},
		{21602, func(p *twilioapi.CreateMessageParams) { p.Body = nil }},
		{21617, func(p *twilioapi.CreateMessageParams) { p.SetBody(strings.Repeat("x", 1601)) }},
		{21211, to("0170123")}, {21211, to("+15005550001")}, {21612, to("+15005550002")}, {21408, to("+15005550003")},
		{21610, to("+15005550004")}, {21614, to("+15005550009")},
		{21212, from("+15005550001")}, {21606, from("+15005550007")}, {21611, from("+15005550008")}, {21212, from("+0")},
		{21701, func(p *twilioapi.CreateMessageParams) { p.SetMessagingServiceSid("MGx") }},
		{21714, func(p *twilioapi.CreateMessageParams) { p.SetValidityPeriod(40_000) }},
		{21609, func(p *twilioapi.CreateMessageParams) { p.SetStatusCallback("nowhere") }},
	} {
		_, err := b.text(tc.change)
		te := twilioFault(t, err)
		if te.Code != tc.code || te.Status != 400 || te.Message == "" || te.MoreInfo != fmt.Sprintf("https://www.twilio.com/docs/errors/%d", tc.code) {
			t.Errorf("%+v, want code %d", te, tc.code)
		}
	}
	b.wantEffects()
	if _, err := b.text(from("+15005550006")); err != nil {
		t.Errorf("the magic sender that passes: %v", err)
	}
}

func TestTwilioCredentials(t *testing.T) {
	b := start(t, simulator.Config{TwilioSID: testSID, TwilioToken: testToken})
	otherSID := "AC" + strings.Repeat("f", 32)
	for _, tc := range []struct {
		sid, token string
		ok         bool
	}{{testSID, testToken, true}, {testSID, "wrong", false}, {otherSID, testToken, false}} {
		account, err := b.twilioAs(tc.sid, tc.token).FetchAccount(tc.sid)
		switch {
		case tc.ok && (err != nil || *account.Sid != testSID || *account.Status != "active"):
			t.Errorf("%v: %+v, %v", tc, account, err)
		case !tc.ok:
			if te := twilioFault(t, err); te.Code != 20003 || te.Status != 401 {
				t.Errorf("%v: %+v", tc, te)
			}
		}
	}
}

func TestTwilioFetchShowsTheQueue(t *testing.T) {
	b := start(t, simulator.Config{QueueDelay: time.Minute})
	m, err := b.text()
	if err != nil {
		t.Fatal(err)
	}
	day := b.Sim.Now().Add(-48 * time.Hour)
	for _, tc := range []struct {
		advance time.Duration
		status  string
		listed  int // by a DateSent filter, which cannot see what has no date_sent
	}{{0, "queued", 0}, {time.Minute, "sent", 1}, {2 * time.Second, "delivered", 1}} {
		b.Sim.Advance(tc.advance)
		got, err := b.twilio().FetchMessage(*m.Sid, nil)
		if err != nil || *got.Status != tc.status || (got.DateSent != nil) != (tc.listed > 0) {
			t.Fatalf("after %s: %+v, %v, want %s", tc.advance, got, err, tc.status)
		}
		list, err := b.twilio().ListMessage((&twilioapi.ListMessageParams{}).SetTo("+491701234567").SetDateSentAfter(day))
		if err != nil || len(list) != tc.listed {
			t.Errorf("%s: %d listed by DateSent (%v), want %d", tc.status, len(list), err, tc.listed)
		}
		list, err = b.twilio().ListMessage((&twilioapi.ListMessageParams{}).SetTo("+491701234567").SetFrom("+15550001111"))
		if err != nil || len(list) != 1 {
			t.Errorf("%s: %d listed by To and From (%v), want 1", tc.status, len(list), err)
		}
	}
	_, err = b.twilio().FetchMessage("SM"+strings.Repeat("0", 32), nil)
	if te := twilioFault(t, err); te.Code != 20404 || te.Status != 404 {
		t.Errorf("unknown message: %+v", te)
	}
}

func TestTwilioListIsPaged(t *testing.T) {
	b := start(t, simulator.Config{})
	for i := range 7 {
		if _, err := b.text(func(p *twilioapi.CreateMessageParams) { p.SetBody(fmt.Sprint(i)) }); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.text(func(p *twilioapi.CreateMessageParams) { p.SetTo("+491700000000") }); err != nil {
		t.Fatal(err)
	}
	list, err := b.twilio().ListMessage((&twilioapi.ListMessageParams{}).SetTo("+491701234567").SetPageSize(3))
	if err != nil || len(list) != 7 {
		t.Fatalf("%d messages over pages of 3 (%v), want 7", len(list), err)
	}
	for i, m := range list {
		if want := fmt.Sprint(6 - i); *m.Body != want {
			t.Errorf("message %d is %q, want %q: the newest first", i, *m.Body, want)
		}
	}
	pages := 0
	for _, c := range b.Sim.Requests() {
		if c.Route == "list" {
			pages += c.Count
		}
	}
	if pages != 3 {
		t.Errorf("%d requests for the list, want 3", pages)
	}
	all, err := b.twilio().ListMessage(&twilioapi.ListMessageParams{})
	if err != nil || len(all) != 8 {
		t.Errorf("%d messages in all (%v), want 8", len(all), err)
	}
}

func TestTwilioPostsStatusCallbacks(t *testing.T) {
	posts := make(chan url.Values, 4)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		posts <- r.Form
	}))
	t.Cleanup(hook.Close)
	b := start(t, simulator.Config{StatusCallbacks: true})
	m, err := b.text(func(p *twilioapi.CreateMessageParams) { p.SetStatusCallback(hook.URL + "/twilio?outbox_id=x") })
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sent", "delivered"} {
		if got := <-posts; got.Get("outbox_id") != "x" || got.Get("MessageStatus") != want || got.Get("MessageSid") != *m.Sid {
			t.Errorf("callback %v, want %s", got, want)
		}
	}
}
