package httpapi

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/outboxd/outboxd/cmd/api/payments"
)

// exchange is one request and what is known of its answer, for the limits, the log and the metrics.
type exchange struct {
	http.ResponseWriter
	r       *http.Request
	id      string
	route   string // the pattern that matched, never the path, which may hold anything
	status  int
	payment string
	outcome reply  // what went wrong, nil if nothing did
	release func() // of the place among those that use the database
	began   time.Time
}

// WriteHeader remembers the status.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

// Unwrap lets net/http find what the writer below can do.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// fail takes an error and returns it as it is to be answered. It sets the headers that go with it.
func (x *exchange) fail(err error) reply {
	x.outcome = replyTo(err)
	if p, ok := x.outcome.(*problem); ok {
		p.RequestID = x.id
		if p.retryAfter > 0 {
			x.Header().Set("Retry-After", seconds(p.retryAfter))
		}
	}
	return x.outcome
}

// refuse answers an error, unless the answer has begun.
func (x *exchange) refuse(err error) {
	r := x.fail(err)
	if x.status == 0 {
		x.write(r.GetStatus(), r.ContentType(""), r)
	}
}

// write answers with JSON.
func (x *exchange) write(status int, contentType string, v any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("httpapi: encode an answer: " + err.Error()) // every value passed here can be encoded
	}
	x.Header().Set("Content-Type", contentType)
	x.Header().Set("Content-Length", strconv.Itoa(buf.Len()))
	x.WriteHeader(status)
	_, _ = x.Write(buf.Bytes()) // a client that left does not get its answer; what was written stays written
}

// body reads the whole body, which has at most limit bytes.
func (x *exchange) body(limit int64) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(x, x.r.Body, limit))
	if err != nil {
		return nil, bodyError(err)
	}
	return data, nil
}

type exchangeKey struct{}

// exchangeOf returns the exchange of a request's context.
func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

var requestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

var errPanicked = errors.New("the handler panicked")

// exchanges gives each request an exchange, and writes a line about it in the end.
func (a *API) exchanges(serve func(*exchange)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{ResponseWriter: w, id: r.Header.Get("X-Request-Id"), began: time.Now(), release: func() {}}
		if !requestID.MatchString(x.id) {
			x.id = strings.ToLower(rand.Text())
		}
		x.r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
		h := w.Header()
		h.Set("X-Request-Id", x.id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(p)
				}
				// The panic's value may hold a customer's data; its type and place do not.
				a.log.Error("request panicked", "request_id", x.id, "route", x.route, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
				x.refuse(errPanicked)
			}
			x.release()
			a.metrics.answered(x)
			a.logExchange(x)
		}()
		serve(x)
	})
}

// logExchange writes one line, with nothing in it that the client chose but its request id.
func (a *API) logExchange(x *exchange) {
	attrs := []any{"request_id", x.id, "method", knownMethod(x.r.Method), "route", x.route, "status", x.status, "took", time.Since(x.began)}
	if x.payment != "" {
		attrs = append(attrs, "payment", x.payment)
	}
	level := slog.LevelInfo
	switch outcome := x.outcome.(type) {
	case nil:
		if x.route == "/healthz" || x.route == "/readyz" || x.route == "/metrics" {
			level = slog.LevelDebug
		}
	case *businessError:
		attrs = append(attrs, "codes", outcome.codes)
	case *problem:
		if outcome.cause != nil {
			level = slog.LevelError
			attrs = append(attrs, payments.LogAttrs(outcome.cause)...)
		}
	}
	a.log.Log(x.r.Context(), level, "request", attrs...)
}

// knownMethod keeps a hostile method out of the log.
func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}

// seconds writes a duration for Retry-After and the like: whole seconds, rounded up.
func seconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}
