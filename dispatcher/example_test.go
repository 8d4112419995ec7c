package dispatcher_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/memory"
)

// printer is a provider that prints its texts.
type printer struct{ printed func() }

func (p printer) Deliver(_ context.Context, in *outbox.Intent, _ func(context.Context, outbox.Progress) error) (outbox.Receipt, error) {
	fmt.Println("sent", in.ID, "as attempt", in.Attempts)
	p.printed()
	return outbox.Receipt{Provider: "printer", ID: "1"}, nil
}

func (printer) LookUp(context.Context, *outbox.Intent) (outbox.Answer, error) {
	return outbox.Answer{}, &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodeCannotTell}
}

// A worker with one lane carries out an intent. Run returns when its outcome is written.
func Example() {
	intents := memory.New(memory.Options{})
	if err := intents.Insert(map[string]any{
		"_id": "order-7", "kind": "sms", "status": "pending", "due_at": time.Now().Add(-time.Second),
		"payload": map[string]any{"to": "+4915112345678", "from": "+15005550006", "body": "Your order is in."},
	}); err != nil {
		fmt.Println(err)
		return
	}

	stop, stopNow := context.WithCancel(context.Background())
	defer stopNow()
	worker, err := dispatcher.New(dispatcher.Config{
		Worker: "worker-1",
		Store:  intents,
		Logger: slog.New(slog.DiscardHandler),
		Lanes: []dispatcher.Lane{{
			Kind: outbox.KindSMS, Provider: printer{stopNow}, Concurrency: 4, Timeout: 10 * time.Second, Lease: time.Minute,
			Policy: outbox.Policy{
				Retry:       outbox.RetryPolicy{MaxAttempts: 12, Base: time.Second, Max: time.Minute},
				OnAmbiguous: outbox.Park,
				Reconcile: outbox.ReconcilePolicy{
					Wait: time.Second, Interval: time.Second, AbsentAfter: 2 * time.Minute, GiveUp: time.Hour,
				},
			},
			Breaker: dispatcher.Breaker{
				Window: time.Minute, Buckets: 6, MinRequests: 10, FailureRatio: 0.5, Consecutive: 5,
				OpenFor: 30 * time.Second, Probes: 3,
			},
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := worker.Run(stop, context.Background()); err != nil {
		fmt.Println(err)
	}
	fmt.Println(intents.Get("order-7")["status"])
	// Output:
	// sent order-7 as attempt 1
	// done
}
