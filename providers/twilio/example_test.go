package twilio_test

import (
	"context"
	"fmt"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
	"github.com/outboxd/outboxd/providers/simulator"
	"github.com/outboxd/outboxd/providers/twilio"
)

// A text goes to the simulated Twilio, through the real SDK and over real HTTP.
func Example() {
	sims, err := simulator.Start(simulator.Config{}, simulator.Addrs{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sims.Close()
	transport := providers.NewTransport(providers.TransportConfig{})
	defer transport.CloseIdleConnections()
	provider, err := twilio.New(twilio.Config{
		AccountSID: "AC00000000000000000000000000000000", AuthToken: "token", URL: sims.TwilioURL, Transport: transport,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	receipt, err := provider.Deliver(context.Background(), &outbox.Intent{
		ID: outbox.NewStringID("order-7"), Kind: outbox.KindSMS, Attempts: 1,
		Payload: &outbox.SMS{To: "+4915112345678", From: "+15005550006", Body: "Your order is in."},
	}, nil)
	fmt.Println(receipt.Provider, receipt.ID != "", err, "effects:", len(sims.Sim.Effects()))
	// Output: twilio true <nil> effects: 1
}
