package main

import (
	"fmt"
	"net"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/providers/simulator"
)

type simCmd struct {
	ListenHost   string `placeholder:"HOST" default:"127.0.0.1" help:"Host or address to listen on; 0.0.0.0 in a container. Default: ${default}."`
	StripePort   uint16 `placeholder:"PORT" default:"8431" help:"Port of the simulated Stripe; 0 takes a free one. Default: ${default}."`
	SendgridPort uint16 `placeholder:"PORT" default:"8432" help:"Port of the simulated SendGrid; 0 takes a free one. Default: ${default}."`
	TwilioPort   uint16 `placeholder:"PORT" default:"8433" help:"Port of the simulated Twilio; 0 takes a free one. Default: ${default}."`
	JSON         bool   `help:"Print the base URLs as one JSON object."`
}

func (simCmd) Help() string {
	return `Three servers speak the APIs of Stripe, SendGrid and Twilio truly enough for the vendors' own SDKs. They accept any
credentials, keep everything in memory, and count effects apart from requests. Point a worker at them by STRIPE_API_URL,
SENDGRID_API_URL and TWILIO_API_URL, with any STRIPE_API_KEY, SENDGRID_API_KEY, TWILIO_ACCOUNT_SID (AC and 32 hex digits) and
TWILIO_AUTH_TOKEN.

Each of the three also answers GET /_sim/effects (what the world would have noticed), GET /_sim/requests, and
POST /_sim/faults, which scripts faults. This times out one charge after Stripe has acted:

  curl http://127.0.0.1:8431/_sim/faults \
    -d '{"provider":"stripe","route":"confirm","when":"after","do":"hang"}'`
}

func (c simCmd) Run(p *program) error {
	ctx, stop := p.interruptible()
	defer stop()
	var unsaid error
	err := simulator.Serve(ctx, simulator.Config{}, simulator.Addrs{
		Stripe:   c.addr(c.StripePort),
		SendGrid: c.addr(c.SendgridPort),
		Twilio:   c.addr(c.TwilioPort),
	}, func(s *simulator.Servers) {
		if unsaid = c.print(p, s); unsaid != nil {
			stop()
		}
	})
	if err != nil {
		return err
	}
	return unsaid
}

func (c simCmd) addr(port uint16) string {
	return net.JoinHostPort(c.ListenHost, strconv.Itoa(int(port)))
}

func (c simCmd) print(p *program, s *simulator.Servers) error {
	if c.JSON {
		return p.json(bson.D{{Key: "stripe", Value: s.StripeURL}, {Key: "sendgrid", Value: s.SendGridURL}, {Key: "twilio", Value: s.TwilioURL}})
	}
	_, err := fmt.Fprintf(p.out, "STRIPE_API_URL=%s\nSENDGRID_API_URL=%s\nTWILIO_API_URL=%s\n", s.StripeURL, s.SendGridURL, s.TwilioURL)
	return err
}
