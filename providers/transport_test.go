package providers_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
	"github.com/outboxd/outboxd/providers/providertest"
)

func newTransport(t *testing.T) *providers.Transport {
	t.Helper()
	transport := providers.NewTransport(providers.TransportConfig{})
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// post sends one tracked request, as the SDKs do: with a body that could be read again.
func post(ctx context.Context, t *testing.T, transport *providers.Transport, url string) (*http.Response, *providers.Call, error) {
	t.Helper()
	tracked, call := providers.Track(ctx)
	req, err := http.NewRequestWithContext(tracked, http.MethodPost, url, bytes.NewReader([]byte("amount=1")))
	if err != nil {
		t.Fatal(err)
	}
	if req.GetBody == nil {
		t.Fatal("the request's body cannot be read again, so that the test shows nothing")
	}
	req.Header.Set("Idempotency-Key", "k")
	req.Header.Set("X-Stripe-Client-User-Agent", `{"uname":"host"}`)
	req.Header.Set("X-Stripe-Client-Telemetry", "{}")
	resp, err := transport.Client().Do(req)
	return resp, call, err
}

func TestTransportNeverSendsAgainOnAKeptConnection(t *testing.T) {
	server, transport := providertest.NewServer(t), newTransport(t)
	for _, fault := range []providertest.Fault{providertest.Drop, providertest.ResetRead, providertest.ResetUnread} {
		server.Script(providertest.JSON(200, `{}`), providertest.Reply{Fault: fault})
		if _, _, err := post(t.Context(), t, transport, server.URL); err != nil {
			t.Fatal(err)
		}
		_, call, err := post(t.Context(), t, transport, server.URL)
		if err == nil {
			t.Fatal("there is no error")
		}
		if n := len(server.Requests()); n != 2 {
			t.Errorf("fault %d: %d requests reached the server, want 2", fault, n)
		}
		if f := call.Unanswered(t.Context(), "test"); f == nil || f.Class != outbox.Ambiguous || f.Code != outbox.CodeNoAnswer {
			t.Errorf("fault %d: %v, want an ambiguous no_answer", fault, f)
		}
	}
}

func TestTransportTellsNothingAboutTheMachine(t *testing.T) {
	server, transport := providertest.NewServer(t), newTransport(t)
	server.Script(providertest.JSON(200, `{}`))
	if _, _, err := post(t.Context(), t, transport, server.URL); err != nil {
		t.Fatal(err)
	}
	for name := range server.Requests()[0].Header {
		if strings.HasPrefix(name, "X-Stripe-Client") {
			t.Errorf("the header %s was sent", name)
		}
	}
}

func TestTransportGivesTheAnswerToTheSDKAndToTheCall(t *testing.T) {
	server, transport := providertest.NewServer(t), newTransport(t)
	server.Script(providertest.Reply{Status: 404, Body: "not here", Header: map[string]string{"X-Thing": "7"}})
	resp, call, err := post(t.Context(), t, transport, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "not here" {
		t.Errorf("the body is %q, %v", body, err)
	}
	if call.Status() != 404 || string(call.Body()) != "not here" || call.Header("X-Thing") != "7" || !call.Whole() || !call.Sent() || call.OK() {
		t.Errorf("the call says %d %q", call.Status(), call.Body())
	}
}

func TestTransportEndsAnAnswerThatIsTooLarge(t *testing.T) {
	server, transport := providertest.NewServer(t), newTransport(t)
	server.Script(providertest.Reply{Status: 200, Body: strings.Repeat("x", providers.MaxAnswer)})
	if _, call, err := post(t.Context(), t, transport, server.URL); err != nil || !call.Whole() {
		t.Errorf("an answer of the greatest size is not whole: %v", err)
	}
	server.Script(providertest.Reply{Status: 200, Body: strings.Repeat("x", 8*providers.MaxAnswer)})
	resp, call, err := post(t.Context(), t, transport, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the SDK sees no error")
	}
	if n := len(call.Body()); n != providers.MaxAnswer {
		t.Errorf("%d bytes were kept", n)
	}
	if f := call.Unreadable(t.Context(), "test"); call.Whole() || f.Code != outbox.CodeBadAnswer || !strings.Contains(f.Message, "larger") {
		t.Errorf("the call says %v", f)
	}
}

func TestTransportDoesNotFollowRedirects(t *testing.T) {
	server, transport := providertest.NewServer(t), newTransport(t)
	server.Script(providertest.Reply{Status: 307}.With("Location", server.URL+"/elsewhere"))
	_, call, err := post(t.Context(), t, transport, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if f := call.Unanswered(t.Context(), "test"); f == nil || f.Code != outbox.CodeRedirected {
		t.Errorf("the call says %v", f)
	}
	if n := len(server.Requests()); n != 1 {
		t.Errorf("%d requests reached the server, want 1", n)
	}
}

func TestCallThatEndsWhileTheAnswerComes(t *testing.T) {
	server, transport := providertest.NewServer(t), newTransport(t)
	server.Script(providertest.Reply{Status: 200, Body: "half of it", Fault: providertest.Stall})
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errors.New("the call's time is over"))
	defer cancel()
	_, call, _ := post(ctx, t, transport, server.URL)
	if call.Status() != 200 || call.Whole() {
		t.Fatalf("the call says %d", call.Status())
	}
	if f := call.Unreadable(ctx, "test"); f.Class != outbox.Ambiguous || f.Code != outbox.CodeNoAnswer {
		t.Errorf("the call says %v", f)
	}
}
