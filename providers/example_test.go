package providers_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/outboxd/outboxd/providers"
)

// A request that no connection was handed was surely not sent. Everything else without an answer is ambiguous.
func ExampleTrack() {
	transport := providers.NewTransport(providers.TransportConfig{})
	defer transport.CloseIdleConnections()
	ctx, call := providers.Track(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1:1/", http.NoBody) // nobody listens there
	if err != nil {
		fmt.Println(err)
		return
	}
	if resp, err := transport.Client().Do(req); err == nil {
		_ = resp.Body.Close()
	}
	f := call.Unanswered(ctx, "twilio")
	fmt.Println("sent:", call.Sent(), "class:", f.Class, "code:", f.Code)
	// Output: sent: false class: transient code: not_sent
}

// A secret shows itself to nobody but to Reveal.
func ExampleSecret() {
	key := providers.Secret("sk_live_1")
	fmt.Println(key, len(key.Reveal()))
	// Output: [redacted] 9
}
