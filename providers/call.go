package providers

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// Call is what became of one request. It is made by [Track]; its methods are safe for concurrent use.
type Call struct {
	mu      sync.Mutex
	sent    bool  // bytes of the request may have left
	err     error // of a request without an answer
	status  int
	header  http.Header
	body    []byte
	bodyErr error
	at      time.Time // when the answer came, by this machine's clock
}

type callKey struct{}

// Track returns a context for one request, and the Call that records what becomes of it.
func Track(ctx context.Context) (context.Context, *Call) {
	call := new(Call)
	return context.WithValue(ctx, callKey{}, call), call
}

// callIn returns the call of a context; a request that nobody tracks is recorded in vain.
func callIn(ctx context.Context) *Call {
	if call, ok := ctx.Value(callKey{}).(*Call); ok {
		return call
	}
	return new(Call)
}

func (c *Call) fail(err error, sent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.sent = err, sent
}

func (c *Call) answer(resp *http.Response, body []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = true
	c.status, c.header, c.body, c.bodyErr, c.at = resp.StatusCode, resp.Header, body, err, time.Now()
}

// Status returns the HTTP status of the answer, 0 if none came.
func (c *Call) Status() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// OK reports whether the answer's status is one of success.
func (c *Call) OK() bool { return c.Status()/100 == 2 }

// Header returns a header of the answer, empty if there is none.
func (c *Call) Header(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.header.Get(name)
}

// Body returns the answer's body, at most [MaxAnswer] bytes of it. It must not be changed.
func (c *Call) Body() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.body
}

// Whole reports whether the answer's body was read to its end.
func (c *Call) Whole() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status != 0 && c.bodyErr == nil
}

// Sent reports whether bytes of the request may have left.
func (c *Call) Sent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent
}

// Unanswered returns the failure of a call to which no answer came, or only a redirect; nil if there is an answer whose
// status means something. ctx is the context that bounded the call.
func (c *Call) Unanswered(ctx context.Context, provider string) *outbox.Failure {
	status := c.Status()
	switch {
	case status >= 300 && status <= 399:
		return c.Failure(provider, outbox.Ambiguous, outbox.CodeRedirected, "the provider's address answered with a redirect, which is never followed")
	case status >= 200:
		return nil
	case !c.Sent():
		f := c.Failure(provider, outbox.Transient, outbox.CodeNotSent, c.whyNotSent(ctx))
		f.Cause = ctx.Err()
		return f
	default:
		return c.silence(ctx, provider, "the request may have left, and no answer came")
	}
}

// Unreadable returns the failure of an answer whose body cannot be used: cut off, too large, or not in the provider's
// format.
func (c *Call) Unreadable(ctx context.Context, provider string) *outbox.Failure {
	c.mu.Lock()
	err := c.bodyErr
	c.mu.Unlock()
	switch {
	case errors.Is(err, errTooLarge):
		return c.Failure(provider, outbox.Ambiguous, outbox.CodeBadAnswer, "the answer is larger than 1 MiB and was not read")
	case err != nil && ctx.Err() != nil:
		return c.silence(ctx, provider, "the answer began and did not end in time")
	case err != nil:
		return c.Failure(provider, outbox.Ambiguous, outbox.CodeBadAnswer, "the answer was cut off")
	default:
		return c.Failure(provider, outbox.Ambiguous, outbox.CodeBadAnswer, "the answer is not in the provider's format")
	}
}

// Refused reports whether the answer's status says that the request was refused as it stands, whoever said so. What
// is left of 4xx may come after the request was passed on: timeouts, conflicts, limits, and statuses that nobody
// registered.
func (c *Call) Refused() bool {
	switch status := c.Status(); status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTeapot, http.StatusFailedDependency, http.StatusTooManyRequests:
		return false
	default:
		return status >= 400 && status <= 499 && http.StatusText(status) != ""
	}
}

// NotTheProvider returns the failure of a call that something in between refused, or whose path the provider does not
// have.
func (c *Call) NotTheProvider(provider string) *outbox.Failure {
	return c.Failure(provider, outbox.Hold, outbox.CodeNotTheProvider,
		"the answer is not the provider's own: check its base URL, and what stands between")
}

// silence is the failure of a call that was sent and went unanswered; a call that was cancelled says so.
func (c *Call) silence(ctx context.Context, provider, message string) *outbox.Failure {
	f := c.Failure(provider, outbox.Ambiguous, outbox.CodeNoAnswer, message)
	if errors.Is(ctx.Err(), context.Canceled) {
		f.Code, f.Message = outbox.CodeAborted, "the worker stopped while the call was under way"
	}
	f.Cause = ctx.Err()
	return f
}

// Failure returns a failure with what the answer tells of itself.
func (c *Call) Failure(provider string, class outbox.Class, code, message string) *outbox.Failure {
	return &outbox.Failure{
		Class: class, Code: code, Message: message, Provider: provider,
		HTTPStatus: c.Status(), RetryAfter: c.retryAfter(),
	}
}

// whyNotSent names the cause in our own words; the error's text may hold addresses.
func (c *Call) whyNotSent(ctx context.Context) string {
	c.mu.Lock()
	err := c.err
	c.mu.Unlock()
	_, dns := errors.AsType[*net.DNSError](err)
	_, cert := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	network, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return "the worker stopped before a connection was there"
	case ctx.Err() != nil:
		return "the time was over before a connection was there"
	case dns:
		return "the provider's host name does not resolve"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case cert:
		return "the provider's TLS certificate is not trusted"
	case record, alert:
		return "the TLS handshake failed"
	case isNet && network.Timeout():
		return "no connection within the time for one"
	default:
		return "no connection to the provider could be made"
	}
}

// Harmless returns the failure of a request that could have no effect of its own: a question or a preparation.
// Whatever became of the request, nothing was acted upon.
func Harmless(f *outbox.Failure) *outbox.Failure {
	if f.Class == outbox.Ambiguous {
		f.Class = outbox.Transient
	}
	return f
}
