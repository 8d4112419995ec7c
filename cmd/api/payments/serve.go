package payments

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Bounds of one connection.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeSpare    = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 16 << 10
)

// Serve answers requests on the listener until ctx ends, then lets those under way end for at most drain, and closes the
// listener. It returns nil, or an error if the listener failed or the drain time was over before the requests were.
func (a *App) Serve(ctx context.Context, ln net.Listener, drain time.Duration) error {
	server := &http.Server{
		Handler:           a.Handler(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      2*a.cfg.Timeout + writeSpare, // a commit under way when the request's time ends gets its own
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug), // broken connections: the clients' business
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve the API on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	a.log.Info("stopping: no new requests", "cause", context.Cause(ctx), "drain", drain)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	err := server.Shutdown(end)
	if err != nil {
		err = errors.Join(fmt.Errorf("requests were still under way after %v; their clients got no answer, and may repeat them under the same Idempotency-Key", drain), server.Close())
	}
	<-served
	return err
}
