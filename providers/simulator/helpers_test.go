package simulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sendgrid/rest"
	"github.com/sendgrid/sendgrid-go"
	"github.com/sendgrid/sendgrid-go/helpers/mail"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/paymentintent"
	"github.com/twilio/twilio-go/client"
	twilioapi "github.com/twilio/twilio-go/rest/api/v2010"
	"go.uber.org/goleak"

	"github.com/outboxd/outboxd/providers/simulator"
)

func TestMain(m *testing.M) {
	// A server that answers before it has read the whole request keeps the connection for half a second, so that the
	// client sees the answer (net/http, closeWriteAndWait). That ends by itself, only later than the leak test looks.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

const (
	testSID   = "AC0123456789abcdef0123456789abcdef"
	testToken = "token0123456789"
)

// bench is three running providers and one HTTP client whose connections end with the test.
type bench struct {
	*simulator.Servers
	t    testing.TB
	http *http.Client
}

func start(t testing.TB, cfg simulator.Config) *bench {
	t.Helper()
	srv, err := simulator.Start(cfg, simulator.Addrs{})
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		srv.Close()
	})
	noRedirects := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &bench{Servers: srv, t: t, http: &http.Client{Transport: transport, CheckRedirect: noRedirects}}
}

func (b *bench) stripe() paymentintent.Client {
	return b.stripeAs("sk_test_simulated")
}

func (b *bench) stripeAs(key string) paymentintent.Client {
	backend := stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{
		HTTPClient: b.http, URL: new(b.StripeURL), MaxNetworkRetries: stripe.Int64(0),
		EnableTelemetry: new(false), LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
	})
	return paymentintent.Client{B: backend, Key: key}
}

// mail sends one message through the SDK.
func (b *bench) mail(ctx context.Context, outboxID string, change ...func(*mail.SGMailV3)) (*rest.Response, error) {
	m := mail.NewV3MailInit(mail.NewEmail("Shop", "shop@example.com"), "Your receipt", mail.NewEmail("", "ann@example.com"),
		mail.NewContent("text/plain", "Thank you."))
	m.Personalizations[0].SetCustomArg("outbox_id", outboxID)
	for _, fn := range change {
		fn(m)
	}
	req := sendgrid.GetRequest("SG.simulated", "/v3/mail/send", b.SendGridURL)
	req.Method = rest.Post
	req.Body = mail.GetRequestBody(m)
	return (&rest.Client{HTTPClient: b.http}).SendWithContext(ctx, req)
}

// logs asks the Email Logs API through the SDK and decodes the answer.
func (b *bench) logs(query string) (int, []map[string]any) {
	b.t.Helper()
	req := sendgrid.GetRequest("SG.simulated", "/v3/logs", b.SendGridURL)
	req.Method = rest.Post
	req.Body, _ = json.Marshal(map[string]any{"query": query})
	resp, err := (&rest.Client{HTTPClient: b.http}).SendWithContext(b.t.Context(), req)
	if err != nil {
		b.t.Fatal(err)
	}
	var out struct{ Messages []map[string]any }
	if err := json.Unmarshal([]byte(resp.Body), &out); err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, out.Messages
}

// redirected sends what the SDK addresses to api.twilio.com to the simulator.
type redirected struct {
	base string
	next http.RoundTripper
}

func (r redirected) RoundTrip(req *http.Request) (*http.Response, error) {
	u, err := url.Parse(r.base)
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host, req.Host = u.Scheme, u.Host, u.Host
	return r.next.RoundTrip(req)
}

func (b *bench) twilio() *twilioapi.ApiService { return b.twilioAs(testSID, testToken) }

func (b *bench) twilioAs(sid, token string) *twilioapi.ApiService {
	c := &client.Client{Credentials: client.NewCredentials(sid, token), HTTPClient: &http.Client{
		Transport: redirected{b.TwilioURL, b.http.Transport},
	}}
	c.SetAccountSid(sid)
	return twilioapi.NewApiService(&client.RequestHandler{Client: c})
}

// text sends one message through the SDK.
func (b *bench) text(change ...func(*twilioapi.CreateMessageParams)) (*twilioapi.ApiV2010Message, error) {
	p := &twilioapi.CreateMessageParams{}
	p.SetTo("+491701234567").SetFrom("+15550001111").SetBody("Your code is 4711")
	for _, fn := range change {
		fn(p)
	}
	return b.twilio().CreateMessage(p)
}

// charge is the parameters of a confirmed PaymentIntent.
func charge(ctx context.Context, outboxID, key string, change ...func(*stripe.PaymentIntentParams)) *stripe.PaymentIntentParams {
	p := &stripe.PaymentIntentParams{
		Amount: stripe.Int64(1999), Currency: new("eur"), Customer: new("cus_ann"),
		PaymentMethod: new("pm_card_visa"), Confirm: new(true), OffSession: new(true),
		ErrorOnRequiresAction: new(true),
	}
	p.Context = ctx
	p.AddMetadata("outbox_id", outboxID)
	if key != "" {
		p.SetIdempotencyKey(key)
	}
	for _, fn := range change {
		fn(p)
	}
	return p
}

// control calls a control endpoint and decodes its answer into out, if that is not nil.
func (b *bench) control(method, address string, body any, out any) int {
	b.t.Helper()
	var reader io.Reader
	switch v := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(v)
	default:
		data, err := json.Marshal(v)
		if err != nil {
			b.t.Fatal(err)
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, address, reader)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(data, out); err != nil {
			b.t.Fatalf("%s %s: %v in %s", method, address, err, data)
		}
	}
	return resp.StatusCode
}

func (b *bench) faults(faults ...simulator.Fault) {
	b.t.Helper()
	if err := b.Sim.AddFaults(faults...); err != nil {
		b.t.Fatal(err)
	}
}

// wantEffects fails unless the effects carry exactly these outbox ids, in order.
func (b *bench) wantEffects(ids ...string) {
	b.t.Helper()
	var got []string
	for _, e := range b.Sim.Effects() {
		got = append(got, e.OutboxID)
	}
	if strings.Join(got, " ") != strings.Join(ids, " ") {
		b.t.Errorf("effects of %q, want %q", got, ids)
	}
}
