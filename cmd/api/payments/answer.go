package payments

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/migrations"
)

// retryAfter, in seconds, is what a client is told when MongoDB is away: an election is over by then as a rule.
const retryAfter = "5"

// transport is an error that says nothing about the business: the request could not be understood or served.
type transport struct {
	status int
	detail string
}

func (t *transport) Error() string { return strconv.Itoa(t.status) + ": " + t.detail }

// answerError writes the answer to a request that failed. Of an error that is not this package's own it shows nothing.
func (a *App) answerError(w *recorder, err error) {
	if w.status != 0 { // the answer had begun
		return
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		writeJSON(w, http.StatusUnprocessableEntity, map[string]any{"error": map[string]string{"code": r.code, "msg": r.msg}})
		return
	}
	t, ok := errors.AsType[*transport](err)
	switch {
	case ok:
	case errors.Is(err, errNoPayment):
		t = &transport{http.StatusNotFound, errNoPayment.Error()}
	case unavailable(err):
		w.Header().Set("Retry-After", retryAfter)
		t = &transport{http.StatusServiceUnavailable, "the database cannot be reached; repeat the request under the same Idempotency-Key"}
	default:
		t = &transport{http.StatusInternalServerError, "something went wrong here, not with the request"}
	}
	writeJSON(w, t.status, map[string]any{"status": t.status, "detail": t.detail})
}

// Codes of MongoDB's error table (src/mongo/base/error_codes.yml) by which a server says that it is no primary now.
var notPrimary = []int{91, 189, 10107, 11600, 11602, 13435, 13436}

// unavailable reports whether MongoDB could not be reached, or gave up in the middle of a failover.
func unavailable(err error) bool {
	if mongo.IsTimeout(err) || mongo.IsNetworkError(err) || errors.Is(err, mongo.ErrClientDisconnected) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	if l, ok := errors.AsType[mongo.LabeledError](err); ok &&
		(l.HasErrorLabel("TransientTransactionError") || l.HasErrorLabel("UnknownTransactionCommitResult")) {
		return true
	}
	if se, ok := errors.AsType[mongo.ServerError](err); ok {
		if slices.ContainsFunc(notPrimary, se.HasErrorCode) {
			return true
		}
	}
	return false
}

// logRequest writes one line. An error's text can hold a document or a key, so that only what is known to hold neither
// is taken from it.
func (a *App) logRequest(r *http.Request, route string, w *recorder, err error, took time.Duration) {
	attrs := []any{"method", method(r.Method), "route", route, "status", w.status, "took", took}
	if w.payment != "" {
		attrs = append(attrs, "payment", w.payment)
	}
	level := slog.LevelInfo
	switch {
	case err == nil && (route == "/healthz" || route == "/readyz"):
		level = slog.LevelDebug
	case err == nil:
	default:
		if refusal, ok := errors.AsType[*refusal](err); ok {
			attrs = append(attrs, "code", refusal.code)
		}
		if w.status >= http.StatusInternalServerError {
			level = slog.LevelError
			attrs = append(attrs, cause(err)...)
		}
	}
	a.log.Log(r.Context(), level, "request", attrs...)
}

// cause describes a failure of ours without a value of any document.
func cause(err error) []any {
	var attrs []any
	for _, reason := range migrations.Reasons(err) {
		attrs = append(attrs, "refused", reason.String())
	}
	if se, ok := errors.AsType[mongo.ServerError](err); ok {
		attrs = append(attrs, "mongodb_codes", se.ErrorCodes())
	}
	switch {
	case errors.Is(err, errPanicked):
		return append(attrs, "cause", "panic")
	case mongo.IsTimeout(err), errors.Is(err, context.DeadlineExceeded):
		return append(attrs, "cause", "timeout")
	case mongo.IsNetworkError(err):
		return append(attrs, "cause", "network")
	case errors.Is(err, context.Canceled):
		return append(attrs, "cause", "the client left")
	default:
		return append(attrs, "cause", "database")
	}
}

// method keeps a hostile method out of the log.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("payments: encode an answer: " + err.Error()) // every value passed here can be encoded
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(buf.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes()) // a client that left does not get its answer; what was written stays written
}
