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
		defer func() { tell(route, answer.code, time.Since(began)) }()
		h.ServeHTTP(answer, r.WithContext(context.WithValue(r.Context(), routeKey{}, &route)))
	})
}

// status notes the status of an answer.
type status struct {
	http.ResponseWriter
	code int
}

// WriteHeader notes the status.
func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// Unwrap returns what streams need.
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }
