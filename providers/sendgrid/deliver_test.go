package sendgrid

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
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

func TestDeliverSendsTheWholeEMail(t *testing.T) {
	server, p := scripted(t)
	server.Script(accepted)
	in := newIntent()
	in.Payload = &outbox.Email{
		From: outbox.Address{Email: sender, Name: "Shop"}, To: outbox.Address{Email: recipient, Name: "Reader"}, Subject: subject,
		Text: content, HTML: "<p>" + content + "</p>", ReplyTo: &outbox.Address{Email: "help@private.example"},
		CC: []outbox.Address{{Email: "cc@private.example"}}, BCC: []outbox.Address{{Email: "bcc@private.example"}}, Categories: []string{"orders"},
		Attachments: []outbox.Attachment{{Content: "SGk=", Filename: "a.txt", Type: "text/plain", Disposition: "inline", ContentID: "a"}},
	}
	if _, err := p.Deliver(t.Context(), in, nil); err != nil {
		t.Fatal(err)
	}
	req := server.Requests()[0]
	if req.Method != "POST" || req.Path != "/v3/mail/send" || req.Header.Get("Authorization") != "Bearer "+testKey {
		t.Errorf("%s %s", req.Method, req.Path)
	}
	for name := range req.Header {
		if strings.Contains(name, "Idempotency") { // net/http would take it as leave to send again
			t.Errorf("the header %s was sent", name)
		}
	}
	var got any
	if err := json.Unmarshal([]byte(req.Body), &got); err != nil {
		t.Fatal(err)
	}
	var want any
	if err := json.Unmarshal([]byte(`{
		"from":{"email":"`+sender+`","name":"Shop"},"subject":"`+subject+`","reply_to":{"email":"help@private.example"},"categories":["orders"],
		"personalizations":[{"to":[{"email":"`+recipient+`","name":"Reader"}],"cc":[{"email":"cc@private.example"}],"bcc":[{"email":"bcc@private.example"}],
			"custom_args":{"outbox_id":"mail-17","outbox_ns":"test","outbox_key":"s0","note":"`+metaValue+`"}}],
		"content":[{"type":"text/plain","value":"`+content+`"},{"type":"text/html","value":"<p>`+content+`</p>"}],
		"attachments":[{"content":"SGk=","filename":"a.txt","type":"text/plain","disposition":"inline","content_id":"a"}]}`), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("sent %s", req.Body)
	}
}

func TestDeliverOfATemplate(t *testing.T) {
	server, p := scripted(t)
	server.Script(accepted)
	in := newIntent()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	email := &outbox.Email{
		From: outbox.Address{Email: sender}, To: outbox.Address{Email: recipient}, TemplateID: "d-17",
		TemplateData: outbox.Fields{{Name: "order", Value: outbox.NewObjectID([12]byte{1})}, {Name: "at", Value: at},
			{Name: "items", Value: []any{outbox.Fields{{Name: "n", Value: int64(2)}, {Name: "a", Value: nil}}}}},
	}
	in.Payload = email
	if _, err := p.Deliver(t.Context(), in, nil); err != nil {
		t.Fatal(err)
	}
	want := `"dynamic_template_data":{"order":"010000000000000000000000","at":"2026-01-02T03:04:05Z","items":[{"n":2,"a":null}]}`
	if body := server.Requests()[0].Body; !strings.Contains(body, want) || !strings.Contains(body, `"template_id":"d-17"`) {
		t.Errorf("sent %s", body)
	}

	server.Script(accepted)
	email.TemplateData = map[string]any{"bad": math.NaN()}
	_, err := p.Deliver(t.Context(), in, nil)
	if f := providertest.Failed(t, err); f.Class != outbox.Permanent || f.Code != outbox.CodeRejected {
		t.Errorf("data that JSON does not know: %v", f)
	}
	if n := len(server.Requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// TestDeliverConcurrently fails under the race detector if calls share a request, as they do in the SDK's own client.
func TestDeliverConcurrently(t *testing.T) {
	server, p := scripted(t)
	server.Script(accepted)
	var calls sync.WaitGroup
	for i := range 16 {
		calls.Go(func() {
			in := newIntent()
			in.ID = outbox.NewStringID(fmt.Sprintf("mail-%02d", i))
			if _, err := p.Deliver(t.Context(), in, nil); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	seen := map[string]bool{}
	for _, req := range server.Requests() {
		var body struct {
			Personalizations []struct {
				Args map[string]string `json:"custom_args"`
			}
		}
		if err := json.Unmarshal([]byte(req.Body), &body); err != nil {
			t.Fatal(err)
		}
		seen[body.Personalizations[0].Args["outbox_id"]] = true
	}
	if len(seen) != 16 {
		t.Errorf("%d different e-mails were sent, want 16", len(seen))
	}
}

func TestCustomArgsKeepSendGridsLimit(t *testing.T) {
	in := newIntent()
	in.ID = outbox.NewStringID(strings.Repeat("\x01", 200)) // six bytes each in JSON
	in.Metadata = map[string]string{"a": strings.Repeat("x", 9000), "b": "fits", "outbox_id": "forged", "outbox_ns": "forged", "outbox_key": "forged", "": "no name"}
	args := customArgs(in)
	data, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > maxCustomArgs {
		t.Errorf("custom_args take %d bytes", len(data))
	}
	if args["outbox_id"] != in.ID.String() || args["outbox_ns"] != "test" || args["outbox_key"] != "s0" || args["b"] != "fits" || len(args) != 4 {
		t.Errorf("%v", args)
	}
}

func TestLookUpAsksForTheAddressAndTheTime(t *testing.T) {
	server, p := scripted(t)
	server.Script(providertest.JSON(200, listed()))
	in := newIntent()
	in.FirstAttemptAt = in.Lease.At.Add(-retention)
	if answer, err := p.LookUp(t.Context(), in); answer.Found || err != nil {
		t.Fatalf("%v, %v", answer.Found, err)
	}
	var body struct{ Query string }
	if err := json.Unmarshal([]byte(server.Requests()[0].Body), &body); err != nil {
		t.Fatal(err)
	}
	since := in.FirstAttemptAt.Add(-clockSkew).UTC().Format(time.RFC3339)
	if want := "to_email = '" + recipient + `' AND sg_message_id_created_at > TIMESTAMP "` + since + `"`; body.Query != want {
		t.Errorf("asked %q, want %q", body.Query, want)
	}
}

func TestLookUpOfAnAddressWithAQuote(t *testing.T) {
	server, p := scripted(t)
	in := newIntent()
	in.Payload.(*outbox.Email).To.Email = "o'reader@private.example"
	list := strings.ReplaceAll(listed("ours"), recipient, "O'Reader@private.example")
	others := listed("other")
	both := strings.TrimSuffix(others, "]}") + "," + strings.TrimPrefix(list, `{"messages":[`)
	server.Script(providertest.JSON(200, both), providertest.JSON(200, shown("ours", "mail-17")))
	answer, err := p.LookUp(t.Context(), in)
	receipt, found := answer.Receipt, answer.Found
	if err != nil || !found || receipt.ID != "ours" {
		t.Fatalf("%+v, %v, %v", receipt, found, err)
	}
	if requests := server.Requests(); len(requests) != 2 || strings.Contains(requests[0].Body, "reader") {
		t.Errorf("sent %+v", requests)
	}
}

func TestLookUpThatCannotReachBack(t *testing.T) {
	server, p := scripted(t)
	server.Script(providertest.JSON(200, listed()))
	for name, first := range map[string]time.Time{"unknown": {}, "beyond the log": time.Now().Add(-retention - time.Hour)} {
		in := newIntent()
		in.FirstAttemptAt = first
		_, err := p.LookUp(t.Context(), in)
		if f := providertest.Failed(t, err); f.Class != outbox.Ambiguous || f.Code != outbox.CodeCannotTell {
			t.Errorf("%s: %v", name, f)
		}
	}
	if n := len(server.Requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestNewNamesEveryProblem(t *testing.T) {
	_, err := New(Config{APIKey: "with space", URL: "ftp://secret"})
	providertest.NamesEveryProblem(t, err, []string{"URL", "API key", "transport"}, []string{"with space", "secret"})
}
