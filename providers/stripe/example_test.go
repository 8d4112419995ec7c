package stripe_test

import (
	"context"
	"fmt"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
	"github.com/outboxd/outboxd/providers/simulator"
	"github.com/outboxd/outboxd/providers/stripe"
)

// A charge is created, its id is stored, and only then it is confirmed. A second delivery with the stored progress, as
// after a crash, moves no more money.
func Example() {
	sims, err := simulator.Start(simulator.Config{}, simulator.Addrs{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sims.Close()
	transport := providers.NewTransport(providers.TransportConfig{})
	defer transport.CloseIdleConnections()
	provider, err := stripe.New(stripe.Config{APIKey: "sk_test_1", URL: sims.StripeURL, Transport: transport})
	if err != nil {
		fmt.Println(err)
		return
	}
	in := &outbox.Intent{
		ID: outbox.NewStringID("order-7"), Namespace: "k3m9x0q2ab", Kind: outbox.KindCharge, Attempts: 1,
		Payload: &outbox.Charge{Amount: 4200, Currency: "eur", Customer: "cus_1", PaymentMethod: "pm_card_visa"},
	}
	save := func(_ context.Context, p outbox.Progress) error {
		in.Progress = p
		return nil
	}
	for range 2 {
		receipt, err := provider.Deliver(context.Background(), in, save)
		fmt.Println(receipt.Provider, receipt.ID != "", err, "effects:", len(sims.Sim.Effects()))
	}
	// Output:
	// stripe true <nil> effects: 1
	// stripe true <nil> effects: 1
}
