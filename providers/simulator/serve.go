package simulator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Addrs are the TCP addresses to listen on. An empty one is a free port on loopback.
type Addrs struct{ Stripe, SendGrid, Twilio string }

// Servers is a Sim on three sockets. Create it by [Start].
type Servers struct {
	// StripeURL, SendGridURL and TwilioURL are base URLs such as http://127.0.0.1:40001, without a slash at the end.
	StripeURL, SendGridURL, TwilioURL string
	// Sim is what the three serve; it is closed by Close.
	Sim *Sim

	servers []*http.Server
	running sync.WaitGroup
	failed  chan error // buffered: one place for each server
	once    sync.Once
}

// Start listens on the three addresses and serves until Close. It fails only if it cannot listen.
func Start(cfg Config, addrs Addrs) (*Servers, error) {
	srv := &Servers{Sim: New(cfg), failed: make(chan error, 3)}
	for _, side := range []struct {
		name, addr string
		handler    http.Handler
		url        *string
	}{
		{ProviderStripe, addrs.Stripe, srv.Sim.Stripe(), &srv.StripeURL},
		{ProviderSendGrid, addrs.SendGrid, srv.Sim.SendGrid(), &srv.SendGridURL},
		{ProviderTwilio, addrs.Twilio, srv.Sim.Twilio(), &srv.TwilioURL},
	} {
		ln, err := net.Listen("tcp", cmp.Or(side.addr, "127.0.0.1:0"))
		if err != nil {
			srv.Close()
			return nil, fmt.Errorf("listen for the simulated %s, choose another address: %w", side.name, err)
		}
		*side.url = "http://" + ln.Addr().String()
		hs := &http.Server{
			Handler:           side.handler,
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       2 * time.Minute,
			ErrorLog:          log.New(io.Discard, "", 0), // broken connections are this package's business, not news
		}
		srv.servers = append(srv.servers, hs)
		srv.running.Go(func() {
			if err := hs.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				srv.failed <- fmt.Errorf("serve the simulated %s: %w", side.name, err)
			}
		})
	}
	return srv, nil
}

// Close ends the servers, every connection and everything that hangs, and returns when all of it is gone.
// It may be called more than once.
func (srv *Servers) Close() {
	srv.once.Do(func() {
		srv.Sim.stop()
		for _, hs := range srv.servers {
			_ = hs.Close() // it only repeats the listener's error, and the listener is gone either way
		}
		srv.Sim.Close()
		srv.running.Wait()
	})
}

// Serve runs the three providers until ctx ends, which is no error, or until a listener fails. ready, if not nil, is
// called once they listen.
func Serve(ctx context.Context, cfg Config, addrs Addrs, ready func(*Servers)) error {
	srv, err := Start(cfg, addrs)
	if err != nil {
		return err
	}
	defer srv.Close()
	if ready != nil {
		ready(srv)
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-srv.failed:
		return err
	}
}
