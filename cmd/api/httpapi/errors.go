package httpapi

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/outboxd/outboxd/cmd/api/payments"
)

// reply is an error as it is answered. huma takes an error with these methods as it is.
type reply interface {
	error
	GetStatus() int
	ContentType(string) string
}

// retryLater is what a client is told when MongoDB is away: an election is over by then as a rule.
const retryLater = 5 * time.Second

// problem is a transport error (RFC 9457). It says nothing about the business.
type problem struct {
	Type      string `json:"type" example:"about:blank"`
	Title     string `json:"title" example:"Service Unavailable"`
	Status    int    `json:"status" example:"503"`
	Detail    string `json:"detail" doc:"For the developer of the client."`
	RequestID string `json:"request_id,omitempty" doc:"As in the header X-Request-Id. The log knows the request by it."`

	retryAfter time.Duration
	cause      error
}

// transport returns a problem.
func transport(status int, format string, args ...any) *problem {
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, args...)}
}

func (p *problem) after(d time.Duration) *problem { p.retryAfter = d; return p }
func (p *problem) because(err error) *problem     { p.cause = err; return p }

func (p *problem) Error() string { return strconv.Itoa(p.Status) + ": " + p.Detail }
func (p *problem) Unwrap() error { return p.cause }

// GetStatus is huma's.
func (p *problem) GetStatus() int { return p.Status }

// ContentType is huma's.
func (p *problem) ContentType(string) string { return "application/problem+json" }

// businessError is the answer to a request that is refused for what it says: one of the two is set.
type businessError struct {
	One  *codeAndMsg `json:"error,omitempty"`
	Many []coded     `json:"errors,omitempty"`

	codes []string
}

type codeAndMsg struct {
	Code string `json:"code"`
	Msg  string `json:"msg"`
}

type coded struct {
	Code  string `json:"code"`
	Msg   string `json:"msg"`
	Field string `json:"field"`
}

func (e *businessError) Error() string { return "422: " + fmt.Sprint(e.codes) }

// GetStatus is huma's.
func (e *businessError) GetStatus() int { return http.StatusUnprocessableEntity }

// ContentType is huma's.
func (e *businessError) ContentType(string) string { return "application/json" }

func business(r *payments.Refused) *businessError {
	e := new(businessError)
	for _, p := range r.Problems {
		e.codes = append(e.codes, p.Code)
		e.Many = append(e.Many, coded(p))
	}
	if len(r.Problems) == 1 {
		e.One, e.Many = &codeAndMsg{r.Problems[0].Code, r.Problems[0].Msg}, nil
	}
	return e
}

// replyTo turns any error into an answer. Of an error that is nobody's answer it shows nothing.
func replyTo(err error) reply {
	if r, ok := errors.AsType[*payments.Refused](err); ok {
		return business(r)
	}
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if u, ok := errors.AsType[payments.Unreadable](err); ok {
		return transport(http.StatusBadRequest, "%s", u.Error())
	}
	switch {
	case errors.Is(err, payments.ErrInFlight):
		return transport(http.StatusConflict, "%v", payments.ErrInFlight).after(time.Second)
	case payments.Unavailable(err):
		return transport(http.StatusServiceUnavailable, "the database does not answer; repeat the request, a POST under the same Idempotency-Key").
			after(retryLater).because(err)
	default:
		return transport(http.StatusInternalServerError, "something went wrong here, not with the request").because(err)
	}
}

// bodyError says why a body could not be read.
func bodyError(err error) error {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return transport(http.StatusRequestEntityTooLarge, "the body must have at most %d bytes", tooLarge.Limit)
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return transport(http.StatusRequestTimeout, "the body did not arrive in time")
	}
	return transport(http.StatusBadRequest, "the body ended before its end")
}
