package contractcheck

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/sendgrid"
	"github.com/outboxd/outboxd/providers/simulator"
)

const (
	send   = "POST /v3/mail/send"
	logs   = "POST /v3/logs"
	scopes = "GET /v3/scopes"
)

func fullEmail() *outbox.Email {
	return &outbox.Email{
		From: outbox.Address{Email: "shop@example.com", Name: "Shop"}, To: outbox.Address{Email: "ann@example.com", Name: "Ann"},
		Subject: "Your order", Text: "Thank you.", HTML: "<p>Thank you.</p>", ReplyTo: &outbox.Address{Email: "help@example.com", Name: "Help"},
		TemplateID: "d-0123456789abcdef0123456789abcdef",
		TemplateData: map[string]any{
			"order": outbox.NewStringID("order-17"), "total": 19.99, "items": []any{map[string]any{"name": "Tea", "count": int64(2)}},
		},
		CC:         []outbox.Address{{Email: "bob@example.com", Name: "Bob"}, {Email: "eve@example.com", Name: "Eve"}},
		BCC:        []outbox.Address{{Email: "archive@example.com", Name: "Archive"}},
		Categories: []string{"order", "receipt"},
		Attachments: []outbox.Attachment{
			{Content: "SGVsbG8=", Filename: "hello.txt", Type: "text/plain", Disposition: "attachment", ContentID: "hello"},
			{Content: "R0lGODlhAQABAAAAACw=", Filename: "dot.gif", Type: "image/gif", Disposition: "inline", ContentID: "dot"},
		},
	}
}

func TestSendGridRequestsFitTheDescription(t *testing.T) {
	t.Parallel()
	noUnset(t, fullEmail())
	ann, shop := outbox.Address{Email: "ann@example.com"}, outbox.Address{Email: "shop@example.com"}
	for name, email := range map[string]*outbox.Email{
		"full":     fullEmail(),
		"text":     {From: shop, To: ann, Subject: "Hello", Text: "Hello."},
		"HTML":     {From: shop, To: ann, Subject: "Hello", HTML: "<p>Hello.</p>", ReplyTo: &outbox.Address{Email: "help@example.com"}},
		"template": {From: shop, To: ann, TemplateID: "d-1"},
		"file":     {From: shop, To: ann, Subject: "Hello", Text: "Hello.", Attachments: []outbox.Attachment{{Content: "SGVsbG8=", Filename: "hello.txt"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim := simulator.New(simulator.Config{})
			t.Cleanup(sim.Close)
			g := newGate(t, sim.SendGrid(), "sendgrid_mail.json", "sendgrid_logs.json")
			p, err := sendgrid.New(sendgrid.Config{APIKey: "SG.contract", URL: g.url, Transport: newTransport(t)})
			if err != nil {
				t.Fatal(err)
			}
			in := newIntent(outbox.KindEmail, email)
			receipt, err := p.Deliver(t.Context(), in, nil)
			expectClass(t, err, outbox.Done)
			g.expect(t, send)
			answer, err := p.LookUp(t.Context(), in)
			found, ok := answer.Receipt, answer.Found
			expectClass(t, err, outbox.Done)
			if !ok || !strings.HasPrefix(found.ID, receipt.ID) {
				t.Errorf("look-up %+v %t, want what was delivered as %+v", found, ok, receipt)
			}
			g.expect(t, logs, "GET /v3/logs/"+found.ID)
			if err := p.Check(t.Context()); err != nil {
				t.Error(err)
			}
			g.expect(t, scopes)
		})
	}
}

// The description is only worth something if it refuses.
func TestSendGridDescriptionRefuses(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil, "sendgrid_mail.json", "sendgrid_logs.json")
	valid := `"personalizations":[{"to":[{"email":"ann@example.com"}]}],"from":{"email":"shop@example.com"}`
	for body, path := range map[string]string{
		"{": "/v3/mail/send", "{}": "/v3/mail/send",
		`{` + valid + `,"colour":"red"}`:                               "/v3/mail/send",
		`{` + valid + `,"subject":""}`:                                 "/v3/mail/send",
		`{` + valid + `,"custom_args":{"outbox_id":"x"}}`:              "/v3/mail/send",
		`{` + valid + `,"categories":["a","a"]}`:                       "/v3/mail/send",
		`{` + valid + `,"attachments":[{"filename":"x"}]}`:             "/v3/mail/send",
		`{` + valid + `,"reply_to":{"name":"Help"}}`:                   "/v3/mail/send",
		`{` + strings.Replace(valid, "ann@", "ann", 1) + `}`:           "/v3/mail/send",
		`{` + strings.Replace(valid, `"to"`, `"to":[],"for"`, 1) + `}`: "/v3/mail/send",
		`{"query":"x","limit":1001}`:                                   "/v3/logs",
		`{"query":1}`:                                                  "/v3/logs",
	} {
		r := httptest.NewRequest("POST", path, nil)
		r.Header.Set("Content-Type", "application/json")
		if g.check(r, []byte(body)) == nil {
			t.Errorf("the description takes %s at %s", body, path)
		}
	}
	r := httptest.NewRequest("POST", "/v3/mail/send", nil)
	r.Header.Set("Content-Type", "application/json")
	if err := g.check(r, []byte("{"+valid+"}")); err != nil {
		t.Error(err)
	}
	if err := g.check(httptest.NewRequest("GET", "/v3/logs/x?colour=red", nil), nil); err == nil {
		t.Error("the description takes an unknown parameter")
	}
}

// What is skipped must stay what no description has.
func TestSkippedRequestsAreInNoDescription(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil, "sendgrid_mail.json", "sendgrid_logs.json", "twilio_messages.json")
	for _, request := range skipped {
		method, path, _ := strings.Cut(request, " ")
		for _, api := range g.apis {
			if _, _, _, err := api.operation(method, path); err == nil {
				t.Errorf("%s is in a description: take it out of the list", request)
			}
		}
	}
}
