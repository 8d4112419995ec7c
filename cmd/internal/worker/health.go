package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Bounds of one request for health or metrics.
const (
	healthTimeout  = 10 * time.Second
	healthHeader   = 16 << 10
	healthShutdown = 2 * time.Second
)

// health serves /healthz, /readyz and /metrics.
type health struct {
	server *http.Server
	failed chan error // one place
}

// listen begins to serve; it fails if it cannot listen.
func listen(addr string, ready, metrics http.Handler, log *slog.Logger) (*health, net.Addr, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, nil, fmt.Errorf("listen for health and metrics, choose another address (--listen, OUTBOXD_LISTEN): %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n")) // a client that left does not want it
	})
	mux.Handle("GET /readyz", ready)
	mux.Handle("GET /metrics", metrics)
	h := &health{failed: make(chan error, 1), server: &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: healthTimeout, ReadTimeout: healthTimeout, WriteTimeout: healthTimeout, IdleTimeout: time.Minute,
		MaxHeaderBytes: healthHeader,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug), // broken connections: the clients' business
	}}
	go func() { h.failed <- h.server.Serve(ln) }() // close waits for it
	return h, ln.Addr(), nil
}

// close ends the server and waits for its end.
func (h *health) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), healthShutdown)
	defer cancel()
	if err := h.server.Shutdown(ctx); err != nil {
		_ = h.server.Close() // it only repeats the listener's error
	}
	if err := <-h.failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve health and metrics: %w", err)
	}
	return nil
}
