package simulator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sendgrid/rest"
	"github.com/sendgrid/sendgrid-go"
	"github.com/sendgrid/sendgrid-go/helpers/mail"

	"github.com/outboxd/outboxd/providers/simulator"
)

func TestSendGridAccepts(t *testing.T) {
	b := start(t, simulator.Config{})
	resp, err := b.mail(t.Context(), "x")
	if err != nil || resp.StatusCode != 202 || resp.Body != "" {
		t.Fatalf("%+v, %v", resp, err)
	}
	header := http.Header(resp.Headers)
	id := header.Get("X-Message-Id")
	if id == "" || b.Sim.Effects()[0].ID != id {
		t.Errorf("X-Message-Id %q, effect %+v", id, b.Sim.Effects()[0])
	}
	for _, name := range []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} {
		if _, err := strconv.ParseInt(header.Get(name), 10, 64); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// There is no key: the same request again is another e-mail.
	if _, err := b.mail(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	b.wantEffects("x", "x")
}

func TestSendGridSandboxSendsNothing(t *testing.T) {
	b := start(t, simulator.Config{})
	resp, err := b.mail(t.Context(), "x", func(m *mail.SGMailV3) {
		m.SetMailSettings(mail.NewMailSettings().SetSandboxMode(mail.NewSetting(true)))
	})
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("%+v, %v", resp, err)
	}
	b.wantEffects()
}

func TestSendGridRefusesBadMail(t *testing.T) {
	b := start(t, simulator.Config{})
	for field, change := range map[string]func(*mail.SGMailV3){
		"from.email":                    func(m *mail.SGMailV3) { m.From = nil },
		"personalizations":              func(m *mail.SGMailV3) { m.Personalizations = nil },
		"personalizations.0.to":         func(m *mail.SGMailV3) { m.Personalizations[0].To = nil },
		"personalizations.0.to.0.email": func(m *mail.SGMailV3) { m.Personalizations[0].To[0].Address = "ann" },
		"personalizations.0.cc": func(m *mail.SGMailV3) {
			m.Personalizations[0].AddCCs(mail.NewEmail("", "bob@example.com"), mail.NewEmail("", "BOB@example.com"))
		},
		"subject":        func(m *mail.SGMailV3) { m.Subject = "" },
		"content":        func(m *mail.SGMailV3) { m.Content = nil },
		"content.0":      func(m *mail.SGMailV3) { m.Content[0].Value = "" },
		"reply_to.email": func(m *mail.SGMailV3) { m.SetReplyTo(mail.NewEmail("", "x")) },
		"custom_args":    func(m *mail.SGMailV3) { m.SetCustomArg("long", strings.Repeat("x", 10_000)) },
		"categories":     func(m *mail.SGMailV3) { m.AddCategories(strings.Split("a b c d e f g h i j k", " ")...) },
		"attachments.0":  func(m *mail.SGMailV3) { m.AddAttachment(mail.NewAttachment()) },
		"send_at":        func(m *mail.SGMailV3) { m.SetSendAt(int(time.Now().Add(80 * time.Hour).Unix())) },
	} {
		resp, err := b.mail(t.Context(), "x", change)
		if err != nil {
			t.Fatal(err)
		}
		var out struct {
			Errors []struct{ Message, Field string }
		}
		if err := json.Unmarshal([]byte(resp.Body), &out); err != nil || resp.StatusCode != 400 || len(out.Errors) != 1 || out.Errors[0].Field != field {
			t.Errorf("%s: %d %s (%v)", field, resp.StatusCode, resp.Body, err)
		}
	}
	b.wantEffects()
}

func TestSendGridOtherRefusals(t *testing.T) {
	b := start(t, simulator.Config{SendGridKey: "SG.right"})
	for _, tc := range []struct {
		name, method, path, key, body string
		want                          int
	}{
		{"no key", "POST", "/v3/mail/send", "", "{}", 401},
		{"wrong key", "POST", "/v3/mail/send", "SG.wrong", "{}", 401},
		{"no JSON", "POST", "/v3/mail/send", "SG.right", "hello", 400},
		{"too large", "POST", "/v3/mail/send", "SG.right", strings.Repeat("x", 30<<20+1), 413},
		{"wrong method", "PUT", "/v3/mail/send", "SG.right", "{}", 405},
		{"unknown path", "POST", "/v3/mail", "SG.right", "{}", 404},
		{"scopes", "GET", "/v3/scopes", "SG.right", "", 200},
		{"scopes, wrong key", "GET", "/v3/scopes", "SG.wrong", "", 401},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, b.SendGridURL+tc.path, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		if tc.key != "" {
			req.Header.Set("Authorization", "Bearer "+tc.key)
		}
		resp, err := b.http.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, resp.StatusCode, tc.want)
		}
	}
}

func TestSendGridLogsAppearAfterTheirDelay(t *testing.T) {
	b := start(t, simulator.Config{LogsDelay: 10 * time.Minute})
	resp, err := b.mail(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	since := b.Sim.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	query := fmt.Sprintf(`to_email = 'ann@example.com' AND sg_message_id_created_at > TIMESTAMP "%s"`, since)
	if _, found := b.logs(query); len(found) != 0 {
		t.Error("the log shows at once what it should show later")
	}
	b.Sim.Advance(10 * time.Minute)
	code, found := b.logs(query)
	if code != 200 || len(found) != 1 {
		t.Fatalf("%d, %v", code, found)
	}
	id := found[0]["sg_message_id"].(string)
	if !strings.HasPrefix(id, http.Header(resp.Headers).Get("X-Message-Id")) {
		t.Errorf("%s does not begin with the X-Message-Id", id)
	}
	req := sendgrid.GetRequest("SG.simulated", "/v3/logs/"+id, b.SendGridURL)
	one, err := (&rest.Client{HTTPClient: b.http}).SendWithContext(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	var out struct {
		CustomArgs map[string]string `json:"custom_args"`
	}
	if err := json.Unmarshal([]byte(one.Body), &out); err != nil || out.CustomArgs["outbox_id"] != "x" {
		t.Errorf("%s (%v)", one.Body, err)
	}
	b.Sim.Advance(31 * 24 * time.Hour)
	if _, found := b.logs(query); len(found) != 0 {
		t.Error("the log shows what is older than 30 days")
	}
}

func TestSendGridLogQueries(t *testing.T) {
	b := start(t, simulator.Config{})
	subject := "It's \"25% AND more\""
	if _, err := b.mail(t.Context(), "x", func(m *mail.SGMailV3) { m.Subject = subject; m.AddCategories("receipt") }); err != nil {
		t.Fatal(err)
	}
	if _, err := b.mail(t.Context(), "y"); err != nil {
		t.Fatal(err)
	}
	_, all := b.logs("")
	if len(all) != 2 {
		t.Fatalf("%d messages, want 2", len(all))
	}
	tomorrow := b.Sim.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)
	for query, want := range map[string]int{
		`to_email = 'ANN@example.com'`:                                    2,
		`to_email = 'bob@example.com'`:                                    0,
		`subject = 'It''s "25% AND more"'`:                                1,
		`subject = 'It\'s "25% AND more"' and to_email="ann@example.com"`: 1,
		`sg_message_id = '` + all[0]["sg_message_id"].(string) + `'`:      1,
		`sg_message_id_created_at < TIMESTAMP "` + tomorrow + `"`:         2,
		`sg_message_id_created_at >= TIMESTAMP '` + tomorrow + `'`:        0,
		`categories IN ('receipt', 'other')`:                              1,
		`status IN ('delivered') AND categories IN ('other')`:             0,
		`status IN ('bounced')`:                                           0,
		`custom_args = 'x'`:                                               -1,
		`to_email LIKE 'ann%'`:                                            -1,
		`to_email = ann@example.com`:                                      -1,
		`to_email = 'ann@example.com`:                                     -1,
		`sg_message_id_created_at > "yesterday"`:                          -1,
		`sg_message_id_created_at = TIMESTAMP "` + tomorrow + `"`:         -1,
	} {
		code, found := b.logs(query)
		if (want < 0 && code != 400) || (want >= 0 && (code != 200 || len(found) != want)) {
			t.Errorf("%s: %d with %d messages, want %d (-1: refused)", query, code, len(found), want)
		}
	}
}

func TestSendGridPostsEvents(t *testing.T) {
	events := make(chan map[string]any, 4)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var batch []map[string]any
		if err := json.NewDecoder(r.Body).Decode(&batch); err != nil {
			t.Error(err)
		}
		for _, e := range batch {
			events <- e
		}
	}))
	t.Cleanup(hook.Close)
	b := start(t, simulator.Config{EventWebhook: hook.URL})
	if _, err := b.mail(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"processed", "delivered"} {
		if e := <-events; e["event"] != want || e["outbox_id"] != "x" || e["email"] != "ann@example.com" ||
			!strings.HasPrefix(e["sg_message_id"].(string), b.Sim.Effects()[0].ID) {
			t.Errorf("event %v, want %s", e, want)
		}
	}
}

func TestWebhooksEndWithClose(t *testing.T) {
	arrived := make(chan struct{})
	release, cancel := context.WithCancel(t.Context())
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release.Done()
	}))
	t.Cleanup(hook.Close)
	t.Cleanup(cancel)
	b := start(t, simulator.Config{EventWebhook: hook.URL})
	if _, err := b.mail(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	<-arrived
	begun := time.Now()
	b.Close()
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("Close took %s: it waited for the receiver", took)
	}
}
