package sendgrid_test

import (
	"context"
	"fmt"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
	"github.com/outboxd/outboxd/providers/sendgrid"
	"github.com/outboxd/outboxd/providers/simulator"
)

// An e-mail goes to the simulated SendGrid, through the real SDK and over real HTTP.
func Example() {
	sims, err := simulator.Start(simulator.Config{}, simulator.Addrs{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sims.Close()
	transport := providers.NewTransport(providers.TransportConfig{})
	defer transport.CloseIdleConnections()
	provider, err := sendgrid.New(sendgrid.Config{APIKey: "SG.key", URL: sims.SendGridURL, Transport: transport})
	if err != nil {
		fmt.Println(err)
		return
	}
	receipt, err := provider.Deliver(context.Background(), &outbox.Intent{
		ID: outbox.NewStringID("order-7"), Kind: outbox.KindEmail, Attempts: 1,
		Payload: &outbox.Email{
			From: outbox.Address{Email: "shop@example.com"}, To: outbox.Address{Email: "ada@example.com"},
			Subject: "Your order", Text: "It is in.",
		},
	}, nil)
	fmt.Println(receipt.Provider, receipt.ID != "", err, "effects:", len(sims.Sim.Effects()))
	// Output: sendgrid true <nil> effects: 1
}
