package demo

import (
	"context"
	"fmt"
	"net"
	"net/url"

	"github.com/outboxd/outboxd/cmd/api/httpapi"
	"github.com/outboxd/outboxd/cmd/api/payments"
)

// perClient is how many orders a second the API takes from one address. All of the story comes from one, and must not
// be slowed down.
const perClient = 1000

// setAPI starts the reference API on a free port of loopback. Its shop can switch the simulators off and on.
func (s *stage) setAPI(ctx context.Context, o Options) error {
	service, err := payments.New(payments.Config{Database: s.db, Outbox: collection, Senders: payments.Senders{Email: "receipts@example.com", Phone: sender}})
	if err != nil {
		return err
	}
	s.later(func() error { service.Close(); return nil })
	if err := service.Prepare(ctx); err != nil {
		return err
	}
	control, err := url.Parse(s.sims.StripeURL) // any of the three controls them all
	if err != nil {
		return fmt.Errorf("read the simulators' address: %w", err)
	}
	api, err := httpapi.New(httpapi.Config{Payments: service, Version: o.Version, Limits: httpapi.Limits{Rate: perClient, Burst: perClient}, Simulator: control})
	if err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the reference API: %w", err)
	}
	s.apiURL = "http://" + ln.Addr().String()
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- api.Serve(serving, ln, endTimeout) }() // waited for below
	s.later(func() error {
		stop()
		return <-ended
	})
	return nil
}
