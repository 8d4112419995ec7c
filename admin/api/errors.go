package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"github.com/outboxd/outboxd/admin"
)

// reply is an error as it is answered. huma takes an error with these methods as it is.
type reply interface {
	error
	GetStatus() int
	ContentType(string) string
}

// problem is a transport error (RFC 9457).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
}

func transport(status int, code, format string, args ...any) *problem {
	return &problem{"about:blank", http.StatusText(status), status, fmt.Sprintf(format, args...), code}
}

func (p *problem) Error() string { return strconv.Itoa(p.Status) + ": " + p.Detail }

// GetStatus is huma's.
func (p *problem) GetStatus() int { return p.Status }

// ContentType is huma's.
func (p *problem) ContentType(string) string { return "application/problem+json" }

// refusal is the answer to what the rules refuse.
type refusal struct {
	Refused struct {
		Code    admin.Code     `json:"code"`
		Msg     string         `json:"msg"`
		Details map[string]any `json:"details,omitempty"`
	} `json:"error"`
}

func (r *refusal) Error() string { return "422: " + string(r.Refused.Code) }

// GetStatus is huma's.
func (r *refusal) GetStatus() int { return http.StatusUnprocessableEntity }

// ContentType is huma's.
func (r *refusal) ContentType(string) string { return "application/json" }

// replyTo turns any error into an answer. Of an error that is nobody's answer it shows nothing.
func (a *API) replyTo(ctx context.Context, operation string, err error) reply {
	if e, ok := errors.AsType[*admin.Error](err); ok {
		r := new(refusal)
		r.Refused.Code, r.Refused.Msg, r.Refused.Details = e.Code, e.Text, e.Details
		return r
	}
	if f, ok := errors.AsType[*admin.Forbidden](err); ok {
		return transport(http.StatusForbidden, "forbidden", "%s", f.Error())
	}
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	a.log.ErrorContext(ctx, "a request failed", "operation", operation, "error", err)
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return transport(http.StatusServiceUnavailable, "unavailable", "the database did not answer in time; try again")
	}
	return transport(http.StatusInternalServerError, "internal", "something went wrong here, not with the request")
}

func write(w http.ResponseWriter, r reply) {
	w.Header().Set("Content-Type", r.ContentType(""))
	w.WriteHeader(r.GetStatus())
	_ = json.NewEncoder(w).Encode(r) // the client has gone
}
