// Package health serves what a supervisor and Prometheus ask of a process: whether it lives, whether it can work, and
// its metrics.
package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Bounds of one request.
const (
	timeout   = 10 * time.Second
	maxHeader = 16 << 10
	shutdown  = 2 * time.Second
)

// Server serves /healthz, /livez, /readyz and /metrics.
type Server struct {
	server *http.Server
	failed chan error // one place
}

// Listen begins to serve; it fails if it cannot listen. The flag and the variable say how to choose another address.
func Listen(addr, how string, ready, metrics http.Handler, log *slog.Logger) (*Server, net.Addr, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, nil, fmt.Errorf("listen for health and metrics, choose another address (%s): %w", how, err)
	}
	mux := http.NewServeMux()
	alive := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n")) // a client that left does not want it
	}
	mux.HandleFunc("GET /healthz", alive)
	mux.HandleFunc("GET /livez", alive)
	mux.Handle("GET /readyz", ready)
	mux.Handle("GET /metrics", metrics)
	h := &Server{failed: make(chan error, 1), server: &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, IdleTimeout: time.Minute,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug), // broken connections: the clients' business
	}}
	go func() { h.failed <- h.server.Serve(ln) }() // Close waits for it
	return h, ln.Addr(), nil
}

// Close ends the server and waits for its end.
func (h *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdown)
	defer cancel()
	if err := h.server.Shutdown(ctx); err != nil {
		_ = h.server.Close() // it only repeats the listener's error
	}
	if err := <-h.failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve health and metrics: %w", err)
	}
	return nil
}
