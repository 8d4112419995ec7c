package payments

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"runtime/debug"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

// Handler returns the API. It may be mounted at the root of a host only, since Location names paths from there.
func (a *App) Handler() http.Handler {
	mux := http.NewServeMux()
	type route struct {
		path, method string
		serve        func(http.ResponseWriter, *http.Request) error
	}
	routes := []route{
		{"/payments", http.MethodPost, a.post},
		{"/payments/{id}", http.MethodGet, a.get},
		{"/healthz", http.MethodGet, a.healthz},
		{"/readyz", http.MethodGet, a.readyz},
	}
	if a.cfg.WebhookKey != nil {
		routes = append(routes, route{pathEvents, http.MethodPost, a.events})
	}
	for _, r := range routes {
		// The methods are told apart here, not by the mux, whose own answers are plain text.
		mux.Handle(r.path, a.endpoint(r.path, func(w http.ResponseWriter, req *http.Request) error {
			if req.Method != r.method && !(r.method == http.MethodGet && req.Method == http.MethodHead) {
				w.Header().Set("Allow", r.method)
				return &transport{http.StatusMethodNotAllowed, "the method is not allowed here, " + r.method + " is"}
			}
			return r.serve(w, req)
		}))
	}
	mux.Handle("/", a.endpoint("", func(http.ResponseWriter, *http.Request) error {
		return &transport{http.StatusNotFound, "there is nothing at this path; the API is POST /payments and GET /payments/{id}"}
	}))
	return mux
}

// endpoint bounds a request, turns its error into an answer, and writes the line about it. route stands for the path,
// which may hold anything.
func (a *App) endpoint(route string, serve func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		ctx, cancel := context.WithTimeoutCause(r.Context(), a.cfg.Timeout, fmt.Errorf("the request took longer than %v", a.cfg.Timeout))
		defer cancel()
		rec := &recorder{ResponseWriter: w}
		rec.Header().Set("X-Content-Type-Options", "nosniff")
		rec.Header().Set("Cache-Control", "no-store")
		var err error
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				// The panic's value may hold a customer's data; its type and place do not.
				a.log.Error("request panicked", "route", route, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
				err = errPanicked
			}
			if err != nil {
				a.answerError(rec, err)
			}
			a.logRequest(r, route, rec, err, time.Since(began))
		}()
		err = serve(rec, r.WithContext(ctx))
	})
}

var errPanicked = errors.New("the handler panicked")

// recorder remembers what was answered, for the log.
type recorder struct {
	http.ResponseWriter
	status  int
	payment string
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets net/http find what the writer below can do.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (a *App) post(w http.ResponseWriter, r *http.Request) error {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return &transport{http.StatusUnsupportedMediaType, "the Content-Type must be application/json"}
	}
	key, err := idempotencyKey(r.Header.Values("Idempotency-Key"))
	if err != nil {
		return err
	}
	o, err := readOrder(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return bodyError(err)
	}
	p, replayed, err := a.create(r.Context(), o, key, r.Header.Get("Traceparent"), r.Header.Get("Tracestate"))
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/payments/"+p.ID)
	if replayed {
		w.Header().Set("Idempotent-Replayed", "true")
	}
	a.answerPayment(w, http.StatusAccepted, p)
	return nil
}

// bodyError tells apart why a body could not be read.
func bodyError(err error) error {
	if _, ok := errors.AsType[*refusal](err); ok {
		return err
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &transport{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body must have at most %d bytes", maxBody)}
	}
	if errors.Is(err, errNotObject) {
		return &transport{http.StatusBadRequest, errNotObject.Error()}
	}
	return &transport{http.StatusBadRequest, "the body ended before its end"}
}

func (a *App) get(w http.ResponseWriter, r *http.Request) error {
	p, err := a.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	a.answerPayment(w, http.StatusOK, p)
	return nil
}

func (a *App) healthz(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]bool{"ok": true})
	return nil
}

// readyTimeout bounds each question of /readyz, which is asked every few seconds.
const readyTimeout = 2 * time.Second

func (a *App) readyz(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), min(readyTimeout, a.cfg.Timeout))
	defer cancel()
	var reasons []string
	if err := a.client.Ping(ctx, readpref.Primary()); err != nil {
		reasons = append(reasons, "MongoDB has no primary that answers")
	} else if err := a.schema.Check(ctx); err != nil {
		reasons = append(reasons, "the outbox does not fit this version: run `outboxd migrate`")
	}
	if len(reasons) > 0 {
		w.Header().Set("Retry-After", retryAfter)
		writeJSON(w, http.StatusServiceUnavailable, map[string]any{"ready": false, "reasons": reasons})
		return nil
	}
	writeJSON(w, http.StatusOK, map[string]bool{"ready": true})
	return nil
}

func (a *App) answerPayment(w http.ResponseWriter, status int, p *Payment) {
	if rec, ok := w.(*recorder); ok {
		rec.payment = p.ID
	}
	writeJSON(w, status, p.view())
}
