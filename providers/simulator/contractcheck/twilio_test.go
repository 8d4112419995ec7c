package contractcheck

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/simulator"
	"github.com/outboxd/outboxd/providers/twilio"
)

const (
	sid      = "AC0123456789abcdef0123456789abcdef"
	messages = "/2010-04-01/Accounts/" + sid + "/Messages.json"
)

func fullSMS() *outbox.SMS {
	return &outbox.SMS{
		To: "+491701234567", From: "+15550001111", Body: "Your code is 4711 & more", ValiditySeconds: 600,
		MediaURLs: []string{"https://example.com/a.png", "https://example.com/b.png?c=d&e=f"},
	}
}

func TestTwilioRequestsFitTheDescription(t *testing.T) {
	t.Parallel()
	noUnset(t, fullSMS(), ".MessagingServiceSID") // excludes From; it has a row of its own
	for name, row := range map[string]struct {
		sms      *outbox.SMS
		callback string
	}{
		"full":     {fullSMS(), "https://example.com/twilio?a=b"},
		"service":  {&outbox.SMS{To: "+491701234567", MessagingServiceSID: "MG0123456789abcdef0123456789abcdef", Body: "Hello"}, ""},
		"smallest": {&outbox.SMS{To: "+491701234567", From: "Shop", Body: "Hello"}, ""},
		"image":    {&outbox.SMS{To: "+491701234567", From: "+15550001111", MediaURLs: []string{"https://example.com/a.png"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim := simulator.New(simulator.Config{})
			t.Cleanup(sim.Close)
			g := newGate(t, sim.Twilio(), "twilio_messages.json")
			p, err := twilio.New(twilio.Config{
				AccountSID: sid, AuthToken: "contract", URL: g.url, CallbackBase: row.callback, Transport: newTransport(t),
			})
			if err != nil {
				t.Fatal(err)
			}
			in := newIntent(outbox.KindSMS, row.sms)
			receipt, err := p.Deliver(t.Context(), in, nil)
			expectClass(t, err, outbox.Done)
			g.expect(t, "POST "+messages)
			answer, err := p.LookUp(t.Context(), in)
			found, ok := answer.Receipt, answer.Found
			expectClass(t, err, outbox.Done)
			if !ok || found.ID != receipt.ID {
				t.Errorf("look-up %+v %t, want what was delivered as %+v", found, ok, receipt)
			}
			g.expect(t, "GET "+messages)
			if err := p.Check(t.Context()); err != nil {
				t.Error(err)
			}
			g.expect(t, "GET /2010-04-01/Accounts/"+sid+".json")
		})
	}
}

// The description is only worth something if it refuses.
func TestTwilioDescriptionRefuses(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil, "twilio_messages.json")
	valid := "To=%2B491701234567&From=%2B15550001111&Body=Hello"
	for name, row := range map[string]struct{ method, target, form string }{
		"nothing":              {"POST", messages, ""},
		"no recipient":         {"POST", messages, "From=%2B15550001111&Body=Hello"},
		"two recipients":       {"POST", messages, valid + "&To=%2B491701234568"},
		"unknown parameter":    {"POST", messages, valid + "&Colour=red"},
		"lower case":           {"POST", messages, valid + "&statuscallback=https://example.com"},
		"validity no integer":  {"POST", messages, valid + "&ValidityPeriod=soon"},
		"validity a fraction":  {"POST", messages, valid + "&ValidityPeriod=1.5"},
		"callback no URL":      {"POST", messages, valid + "&StatusCallback=callback"},
		"media no URL":         {"POST", messages, valid + "&MediaUrl=picture"},
		"service of bad form":  {"POST", messages, valid + "&MessagingServiceSid=MG1"},
		"account of bad form":  {"POST", strings.Replace(messages, sid, "AC1", 1), valid},
		"unknown path":         {"POST", strings.Replace(messages, "Messages", "Letters", 1), valid},
		"unknown query":        {"GET", messages + "?Body=Hello", ""},
		"page size too large":  {"GET", messages + "?PageSize=1001", ""},
		"page size no integer": {"GET", messages + "?PageSize=all", ""},
		"account of bad shape": {"GET", "/2010-04-01/Accounts/me.json", ""},
	} {
		r := httptest.NewRequest(row.method, row.target, nil)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if g.check(r, []byte(row.form)) == nil {
			t.Errorf("%s: the description takes %s %s with %s", name, row.method, row.target, row.form)
		}
	}
	r := httptest.NewRequest("POST", messages, nil)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if err := g.check(r, []byte(valid)); err != nil {
		t.Error(err)
	}
}
