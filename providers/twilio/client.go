package twilio

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/outboxd/outboxd/providers"
)

// sdkURL is the address that the SDK's generated code has built in.
const sdkURL = "https://api.twilio.com"

// service returns the SDK's API for one request, bound to a context, and the call that records what becomes of it.
func (p *Provider) service(ctx context.Context) (*api.ApiService, *providers.Call) {
	ctx, call := providers.Track(ctx)
	// The literal leaves out what the SDK's constructor reads from the environment (TWILIO_EDGE, TWILIO_REGION).
	return api.NewApiService(&client.RequestHandler{Client: &request{ctx: ctx, provider: p}}), call
}

// request is the SDK's HTTP client for one call. The SDK's own has no context, leaves the bodies of errors open and
// takes redirects for success.
type request struct {
	ctx      context.Context // of the one call; the SDK's interface has no place for it
	provider *Provider
}

var errRefused = errors.New("twilio did not answer with success")

// SendRequest implements client.BaseClient. The SDK sees success only for a 2xx; all else is judged from the call.
func (r *request) SendRequest(method, rawURL string, data url.Values, headers map[string]any, _ ...byte) (*http.Response, error) {
	path, ok := strings.CutPrefix(rawURL, sdkURL)
	if !ok {
		return nil, errors.New("build the request: the SDK names another host")
	}
	target, body := r.provider.base+path, ""
	if method == http.MethodPost {
		body = data.Encode()
	} else if query := data.Encode(); query != "" {
		target += "?" + query
	}
	req, err := http.NewRequestWithContext(r.ctx, method, target, strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("build the request: %w", err)
	}
	for name, value := range headers {
		req.Header.Set(name, fmt.Sprint(value))
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "outboxd")
	req.SetBasicAuth(r.provider.sid, r.provider.token.Reveal())
	resp, err := r.provider.transport.Client().Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		_ = resp.Body.Close() // the call has the body
		return nil, errRefused
	}
	return resp, nil
}

// AccountSid implements client.BaseClient.
func (r *request) AccountSid() string { return r.provider.sid }

// SetTimeout implements client.BaseClient; the context has the deadline.
func (r *request) SetTimeout(time.Duration) {}

// SetOauth implements client.BaseClient; OAuth is not used.
func (r *request) SetOauth(client.OAuth) {}

// OAuth implements client.BaseClient; OAuth is not used.
func (r *request) OAuth() client.OAuth { return nil }
