package outbox_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// policy is a lane's: what the worker's configuration says about SMS.
func policy() outbox.Policy {
	return outbox.Policy{
		Retry:       outbox.RetryPolicy{MaxAttempts: 12, Base: time.Second, Max: time.Minute},
		OnAmbiguous: outbox.Park,
		Reconcile: outbox.ReconcilePolicy{
			Wait: time.Second, Interval: time.Second, AbsentAfter: 2 * time.Minute, GiveUp: time.Hour,
		},
	}
}

// sms is an intent that a worker has just claimed for the first time.
func sms() *outbox.Intent {
	return &outbox.Intent{
		ID: outbox.NewStringID("order-7"), Kind: outbox.KindSMS, Attempts: 1, Lease: outbox.Lease{Token: "t1"},
	}
}

// A rate limit gives the attempt back, and closes the lane's gate.
func ExampleDecide_rateLimited() {
	limited := &outbox.Failure{Class: outbox.RateLimited, Code: outbox.CodeRateLimited, RetryAfter: 30 * time.Second}
	d := outbox.Decide(sms(), outbox.Verdict{Event: outbox.Failed, Failure: limited}, policy(), time.Now())
	fmt.Println(d.Status, "attempts:", d.Attempts, "gate:", d.Gate, d.GateFor)
	// Output: pending attempts: 0 gate: true 30s
}

// Nobody knows whether the text was sent. The policy is to park it: a person decides.
func ExampleDecide_ambiguous() {
	unknown := &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodeNoAnswer}
	d := outbox.Decide(sms(), outbox.Verdict{Event: outbox.Failed, Failure: unknown}, policy(), time.Now())
	fmt.Println(d.Status, d.Reason, "attempts:", d.Attempts)
	// Output: dead ambiguous attempts: 1
}

// A fresh intent may be sent. One whose lease expired may have been sent already.
func ExampleNext() {
	in := sms()
	action, _ := outbox.Next(in, policy(), time.Now())
	fmt.Println("fresh: send:", action == outbox.Send)

	in.Lease.Reclaimed = true
	action, verdict := outbox.Next(in, policy(), time.Now())
	fmt.Println("after an expired lease: settle:", action == outbox.Settle, "by", verdict.Event)
	// Output:
	// fresh: send: true
	// after an expired lease: settle: true by abandoned
}

// The longest delay doubles with each attempt. The delay itself is drawn from 0 to that.
func ExampleRetryPolicy_Bound() {
	p := policy().Retry
	for attempt := 1; attempt <= 8; attempt++ {
		fmt.Print(p.Bound(attempt), " ")
	}
	// Output: 1s 2s 4s 8s 16s 32s 1m0s 1m0s
}

// A document that breaks the contract is still an intent. Its problems say what is wrong, without its values.
func ExampleParseInsert() {
	in := outbox.ParseInsert(map[string]any{
		"_id": "order-7", "kind": "sms", "status": "pending", "due_at": time.Now(),
		"payload": map[string]any{"to": "0151 23456", "from": "+15005550006", "body": "Your order is in."},
	}, outbox.Rules{})
	for _, p := range in.Problems {
		fmt.Println(p)
	}
	// Output: payload.to must be an E.164 number, such as "+4915112345678"
}

// A dead letter that may have been sent is not retried. A person answers first.
func ExampleRetryDead() {
	in := sms()
	in.Status, in.DeadReason, in.AmbiguousAt = outbox.StatusDead, outbox.ReasonAmbiguous, time.Now()
	_, err := outbox.RetryDead(in, policy(), false, time.Now())
	why, _, _ := strings.Cut(err.Error(), ",")
	fmt.Println(why)
	// Output: intent order-7 is not retried: nobody knows whether the provider acted
}
