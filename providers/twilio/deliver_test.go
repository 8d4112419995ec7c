package twilio

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/providertest"
)

func scripted(t *testing.T) (*providertest.Server, *Provider) {
	t.Helper()
	server := providertest.NewServer(t)
	return server, newProvider(t, server.URL, providertest.NewTransport(t))
}

func TestDeliverSendsTheWholeMessage(t *testing.T) {
	server, p := scripted(t)
	callback, err := url.Parse("https://hooks.example/twilio?tenant=7")
	if err != nil {
		t.Fatal(err)
	}
	p.callback = callback
	in := newIntent()
	in.ID = outbox.NewStringID("sms & 17")
	for name, c := range map[string]struct {
		sms  *outbox.SMS
		want url.Values
	}{
		"from a number": {
			&outbox.SMS{To: recipient, From: sender, Body: content, ValiditySeconds: 300},
			url.Values{"To": {recipient}, "From": {sender}, "Body": {content}, "ValidityPeriod": {"300"}},
		},
		"by a service, with media": {
			&outbox.SMS{To: recipient, MessagingServiceSID: "MG01", MediaURLs: []string{"https://x.example/1.png", "https://x.example/2.png"}},
			url.Values{"To": {recipient}, "MessagingServiceSid": {"MG01"}, "MediaUrl": {"https://x.example/1.png", "https://x.example/2.png"}},
		},
	} {
		server.Script(providertest.JSON(201, message(began)))
		in.Payload = c.sms
		if _, err := p.Deliver(t.Context(), in, nil); err != nil {
			t.Fatal(err)
		}
		req := server.Requests()[0]
		if req.Method != "POST" || req.Path != "/2010-04-01/Accounts/"+testSID+"/Messages.json" || !strings.HasPrefix(req.Header.Get("Authorization"), "Basic ") {
			t.Errorf("%s: %s %s", name, req.Method, req.Path)
		}
		for header := range req.Header {
			if strings.Contains(header, "Idempotency") { // net/http would take it as leave to send again
				t.Errorf("the header %s was sent", header)
			}
		}
		got, err := url.ParseQuery(req.Body)
		if err != nil {
			t.Fatal(err)
		}
		c.want.Set("StatusCallback", "https://hooks.example/twilio?outbox_id=sms+%26+17&outbox_key=s0&outbox_ns=test&tenant=7")
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: sent %v, want %v", name, got, c.want)
		}
	}
}

func TestDeliverDoesNotReadTheEnvironment(t *testing.T) {
	t.Setenv("TWILIO_EDGE", "sydney")
	t.Setenv("TWILIO_REGION", "au1")
	server, p := scripted(t)
	server.Script(providertest.JSON(201, message(began)))
	if _, err := p.Deliver(t.Context(), newIntent(), nil); err != nil {
		t.Fatal(err)
	}
}

func TestLookUpListsWithoutADate(t *testing.T) {
	server, p := scripted(t)
	server.Script(page("null"))
	if _, err := p.LookUp(t.Context(), newIntent()); err != nil {
		t.Fatal(err)
	}
	asked, err := url.Parse(server.Requests()[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	if want := (url.Values{"To": {recipient}, "From": {sender}, "PageSize": {"100"}}); !reflect.DeepEqual(asked.Query(), want) {
		t.Errorf("asked %v, want %v", asked.Query(), want)
	}
}

func TestLookUpByService(t *testing.T) {
	server, p := scripted(t)
	in := newIntent()
	in.Payload = &outbox.SMS{To: recipient, MessagingServiceSID: "MG01", Body: content}
	for service, want := range map[string]bool{`"MG01"`: true, `"MG02"`: false, "null": false} {
		server.Script(page("null", message(began, `"messaging_service_sid":null`, `"messaging_service_sid":`+service)))
		if answer, err := p.LookUp(t.Context(), in); err != nil || answer.Found != want {
			t.Errorf("%s: %v, %v", service, answer.Found, err)
		}
		if asked := server.Requests()[0].Path; strings.Contains(asked, "From=") {
			t.Errorf("asked %s", asked)
		}
	}
}

func TestLookUpCountsLaterAttempts(t *testing.T) {
	server, p := scripted(t)
	late := began.Add(9 * time.Minute)
	in := newIntent()
	for _, c := range []struct {
		name   string
		change func(*outbox.Intent)
		found  bool
		class  outbox.Class
	}{
		{"no later attempt", func(*outbox.Intent) {}, false, ""},
		{"a recorded one", func(in *outbox.Intent) {
			in.History = []outbox.Record{{Attempt: 2, At: late.Add(-time.Second), Took: 2 * time.Second}}
		}, true, ""},
		{"perhaps one whose lease ran out", func(in *outbox.Intent) { in.Lease.Reclaimed = true }, false, outbox.Ambiguous},
	} {
		again := *in
		c.change(&again)
		server.Script(page("null", message(late)))
		answer, err := p.LookUp(t.Context(), &again)
		found := answer.Found
		if found != c.found || (err != nil) != (c.class != "") {
			t.Errorf("%s: %v, %v", c.name, found, err)
		}
		if err != nil && providertest.Failed(t, err).Class != c.class {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestLookUpWithoutAFirstAttempt(t *testing.T) {
	server, p := scripted(t)
	server.Script(page("null"))
	in := newIntent()
	in.FirstAttemptAt = time.Time{}
	_, err := p.LookUp(t.Context(), in)
	if f := providertest.Failed(t, err); f.Class != outbox.Ambiguous || f.Code != outbox.CodeCannotTell {
		t.Error(f)
	}
	if n := len(server.Requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestNewNamesEveryProblem(t *testing.T) {
	_, err := New(Config{AccountSID: "AC/..", AuthToken: "with space", URL: "ftp://secret", CallbackBase: "hooks"})
	providertest.NamesEveryProblem(t, err, []string{"URL", "account SID", "auth token", "callback", "transport"}, []string{"with space", "secret"})
}
