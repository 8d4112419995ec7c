package providers

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// MaxAnswer is the most that is read of one answer, in bytes. What is longer counts as unreadable.
const MaxAnswer = 1 << 20

// errTooLarge is returned to an SDK that reads an answer beyond MaxAnswer.
var errTooLarge = errors.New("the answer is too large")

// TransportConfig sets a [Transport]. The zero value is ready for use.
type TransportConfig struct {
	// Connections is how many idle connections are kept for each provider: the lane's concurrency, so that none is
	// built anew for a call under load. Defaults to 64.
	Connections int
	// DialTimeout bounds building a TCP connection. Defaults to 5 s.
	DialTimeout time.Duration
	// TLSTimeout bounds the TLS handshake. Defaults to 5 s.
	TLSTimeout time.Duration
	// AnswerTimeout bounds the wait for an answer's first line after the request was written. It is a safety net: the
	// caller's context has the real bound. Defaults to 90 s.
	AnswerTimeout time.Duration
	// Dial builds a connection in place of a TCP dialer, which leaves DialTimeout without a meaning: for a network
	// that is no network, such as one in memory. Defaults to TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Transport is the http.RoundTripper of all providers. It is safe for concurrent use.
//
// It speaks HTTP/1.1 only: then a connection that breaks leaves one call without an answer, not all calls that share
// it. Right before a request is written to a kept connection, the transport looks whether the other side has closed
// it. A request that must not be repeated is not written to a connection that idled for longer than half a second.
// The other side may have closed it, and the notice may be on its way. In both cases another connection is taken; the
// request was not sent, so that this is no repetition. For https addresses, proxies are taken from the environment
// (HTTPS_PROXY, NO_PROXY): there they only pass bytes on. For plain http no proxy is used, because it could answer or
// repeat a request by itself.
//
// net/http repeats a POST with an Idempotency-Key by itself if a kept connection breaks (net/http, Transport: "if the
// request is idempotent and … has its GetBody defined"). The transport takes GetBody away, so that it cannot. It also
// takes away the headers by which Stripe's SDK reports about the machine it runs on.
type Transport struct {
	base    *http.Transport
	carrier http.RoundTripper                   // base, or what is wrapped around it
	told    func(req *http.Request, status int) // nil: nobody is
}

// NewTransport makes a Transport. The caller should close its idle connections when it is no longer used.
func NewTransport(cfg TransportConfig) *Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: cmp.Or(cfg.DialTimeout, 5*time.Second), KeepAlive: 15 * time.Second}).DialContext
	}
	base := &http.Transport{
		Proxy:                  proxy,
		DialContext:            watch(dial),
		Protocols:              protocols,
		TLSHandshakeTimeout:    cmp.Or(cfg.TLSTimeout, 5*time.Second),
		ResponseHeaderTimeout:  cmp.Or(cfg.AnswerTimeout, 90*time.Second),
		IdleConnTimeout:        30 * time.Second,
		MaxIdleConns:           0, // bounded for each host below
		MaxIdleConnsPerHost:    cmp.Or(cfg.Connections, 64),
		MaxResponseHeaderBytes: 64 << 10,
	}
	return &Transport{base: base, carrier: base}
}

// Wrapped returns the same transport, with the same connections, whose every try to carry a request passes through
// what wrap returns: for spans. That must send a request at most once, and change nothing of it but its context.
func (t *Transport) Wrapped(wrap func(http.RoundTripper) http.RoundTripper) *Transport {
	return &Transport{base: t.base, carrier: wrap(t.carrier), told: t.told}
}

// Observed returns the same transport, with the same connections, that tells of each request what came of it: the
// answer's status, or 0 if none came. What it calls must not block, and must be safe for concurrent use.
func (t *Transport) Observed(told func(req *http.Request, status int)) *Transport {
	return &Transport{base: t.base, carrier: t.carrier, told: told}
}

// tell tells what came of a request.
func (t *Transport) tell(req *http.Request, status int) {
	if t.told != nil {
		t.told(req, status)
	}
}

// CloseIdleConnections closes connections that no call uses.
func (t *Transport) CloseIdleConnections() { t.base.CloseIdleConnections() }

// Client returns an HTTP client that uses the transport, follows no redirect and keeps no cookie. It has no timeout of
// its own: every call brings a context with a deadline.
func (t *Transport) Client() *http.Client {
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// RoundTrip sends the request once and reads the whole answer. What became of it is recorded in the [Call] that rides
// in the request's context, if there is one.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	call := callIn(req.Context())
	for {
		trip := newTrip(req)
		resp, err := t.carrier.RoundTrip(trip.request(req))
		if err == nil && trip.unasked() { // a farewell, such as 408, that came before the request was written
			_ = resp.Body.Close() // it is the connection's last word
			err = errGone
		}
		if err == nil {
			body, err := readAnswer(resp.Body)
			call.answer(resp, body, err)
			t.tell(req, resp.StatusCode)
			resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failing{err}))
			return resp, nil
		}
		sent := trip.sent()
		if next := again(req); !sent && trip.kept && next != nil { // there is another connection, or a new one
			req = next
			continue
		}
		call.fail(err, sent)
		t.tell(req, 0)
		return nil, err
	}
}

// again returns the request for another connection, after one that did not take it. It returns nil if there is no
// time left, or if the body cannot be read once more.
func again(req *http.Request) *http.Request {
	if req.Context().Err() != nil {
		return nil
	}
	if req.Body == nil || req.Body == http.NoBody {
		return req
	}
	if req.GetBody == nil {
		return nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil
	}
	next := *req
	next.Body = body
	return &next
}

// readAnswer reads at most MaxAnswer bytes. Closing what is left of a longer answer also closes its connection.
func readAnswer(body io.ReadCloser) ([]byte, error) {
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, MaxAnswer+1))
	if len(data) > MaxAnswer {
		return data[:MaxAnswer], errTooLarge
	}
	return data, err
}

// failing is a reader that ends with the given error, or plainly if there is none.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, cmp.Or(f.err, io.EOF) }

func proxy(req *http.Request) (*url.URL, error) {
	if req.URL.Scheme != "https" {
		return nil, nil
	}
	return http.ProxyFromEnvironment(req)
}
