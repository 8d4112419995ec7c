package adminhttp

import (
	"context"
	"net/http"
	"time"
)

// unrouted is the route of what the guard answered by itself.
const unrouted = "guard"

type routeKey struct{}

// routed notes the pattern that a request met, for counted.
func routed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if route, ok := r.Context().Value(routeKey{}).(*string); ok {
				if *route = r.Pattern; *route == "" {
					*route = "none"
				}
			}
		}()
		h.ServeHTTP(w, r)
	})
}

// counted tells of each request when it is over.
func counted(h http.Handler, tell func(route string, status int, took time.Duration)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began, route, answer := time.Now(), unrouted, &status{ResponseWriter: w, code: http.StatusOK}
		defer func() {
			took := time.Since(began)
			if w.Header().Get("Content-Type") == "text/event-stream" { // it is as long as somebody looks
				took = answer.began.Sub(began)
			}
			tell(route, answer.code, took)
		}()
		h.ServeHTTP(answer, r.WithContext(context.WithValue(r.Context(), routeKey{}, &route)))
	})
}

// status notes the status of an answer, and when it began.
type status struct {
	http.ResponseWriter
	code  int
	began time.Time
}

// WriteHeader notes the status.
func (s *status) WriteHeader(code int) {
	s.code, s.began = code, time.Now()
	s.ResponseWriter.WriteHeader(code)
}

// Write begins the answer.
func (s *status) Write(p []byte) (int, error) {
	if s.began.IsZero() {
		s.began = time.Now()
	}
	return s.ResponseWriter.Write(p)
}

// Unwrap returns what streams need.
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }
