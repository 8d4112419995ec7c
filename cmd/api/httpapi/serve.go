package httpapi

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
	readTimeout   = 10 * time.Second // of header and body
	writeTimeout  = 15 * time.Second // from the end of the header to the end of the answer
	idleTimeout   = 2 * time.Minute
	maxHeader     = 16 << 10
)

// Serve answers requests on the listener until ctx ends. Then requests that wait for a change are answered at once, the
// others under way may end for at most drain, and the listener is closed. It returns nil, or an error if the listener
// failed or the drain time was over before the requests were.
func (a *API) Serve(ctx context.Context, ln net.Listener, drain time.Duration) error {
	server := &http.Server{
		Handler:                      a.Handler(),
		ReadHeaderTimeout:            headerTimeout,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeader,
		DisableGeneralOptionsHandler: true,                                                // OPTIONS * is answered as every other strange path
		ErrorLog:                     slog.NewLogLogger(a.log.Handler(), slog.LevelDebug), // broken connections: the clients' business
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ownForm{ln}) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve the API on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	a.log.Info("stopping: no new requests", "cause", context.Cause(ctx), "drain", drain)
	a.stop()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	err := server.Shutdown(end)
	if err != nil {
		err = errors.Join(fmt.Errorf("requests were still under way after %v; their clients got no answer, and may repeat them under the same Idempotency-Key", drain), server.Close())
	}
	<-served //nolint:errcheck // Shutdown or Close has ended it.
	return err
}
