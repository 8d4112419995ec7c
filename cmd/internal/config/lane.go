package config

import (
	"log/slog"
	"strings"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

// Lane is the configuration of one kind, but for its provider.
type Lane struct {
	dispatcher.Lane
	RateText string // the rate as a person wrote it; empty: unlimited
}

// DefaultLanes returns the lanes of the kinds that this outboxd serves, with the defaults of each.
func DefaultLanes() []Lane {
	lane := func(kind string, concurrency int, timeout, lease time.Duration, ambiguity outbox.Ambiguity, absentAfter, giveUp time.Duration) Lane {
		return Lane{Lane: dispatcher.Lane{
			Kind: kind, Concurrency: concurrency, Timeout: timeout, Lease: lease,
			Policy: outbox.Policy{
				Retry:       outbox.RetryPolicy{MaxAttempts: 12, Base: 2 * time.Second, Max: 15 * time.Minute, GiveUp: outbox.DefaultGiveUp},
				OnAmbiguous: ambiguity,
				Reconcile:   outbox.ReconcilePolicy{Wait: 30 * time.Second, Interval: 30 * time.Second, AbsentAfter: absentAfter, GiveUp: giveUp},
				AsksFirst:   kind == outbox.KindCharge, // a charge reads its stored PaymentIntent before it repeats anything
			},
			Breaker: dispatcher.Breaker{
				Window: 2 * time.Minute, Buckets: 12, MinRequests: 10, FailureRatio: 0.5, Consecutive: 5, OpenFor: 30 * time.Second, Probes: 2,
			},
		}}
	}
	charge := lane(outbox.KindCharge, 32, 20*time.Second, 60*time.Second, outbox.Retry, 2*time.Minute, 15*time.Minute)
	charge.Rate, charge.RateText = 25, "25/s" // Stripe's own limit of one endpoint ("Rate limits")
	return []Lane{
		charge,
		lane(outbox.KindEmail, 64, 10*time.Second, 45*time.Second, outbox.Reconcile, 10*time.Minute, time.Hour),
		lane(outbox.KindSMS, 64, 10*time.Second, 45*time.Second, outbox.Park, 2*time.Minute, 15*time.Minute),
	}
}

// lane is the keys of one lane.
func (f *file) lane(l *Lane) keys {
	p, b := &l.Policy, &l.Breaker
	return keys{
		"concurrency":  f.number(&l.Concurrency),
		"rate":         f.rate(&l.Rate, &l.RateText),
		"timeout":      f.duration(&l.Timeout),
		"lease":        f.duration(&l.Lease),
		"on_ambiguous": f.ambiguity(&p.OnAmbiguous),
		"reconcile": f.mapping(keys{
			"wait": f.duration(&p.Reconcile.Wait), "interval": f.duration(&p.Reconcile.Interval),
			"absent_after": f.duration(&p.Reconcile.AbsentAfter), "give_up": f.duration(&p.Reconcile.GiveUp),
		}),
		"retry": f.mapping(keys{
			"max_attempts": f.number(&p.Retry.MaxAttempts), "base": f.duration(&p.Retry.Base), "max": f.duration(&p.Retry.Max),
			"give_up": f.duration(&p.Retry.GiveUp),
		}),
		"breaker": f.mapping(keys{
			"window": f.duration(&b.Window), "buckets": f.number(&b.Buckets), "min_requests": f.number(&b.MinRequests),
			"failure_ratio": f.ratio(&b.FailureRatio), "consecutive": f.number(&b.Consecutive),
			"open_for": f.duration(&b.OpenFor), "probes": f.number(&b.Probes),
		}),
	}
}

// check reports what the dispatcher does not accept of a lane, each problem by the file's key.
func (f *file) check(l Lane) {
	lane := l.Lane
	lane.Provider = struct{ dispatcher.Provider }{}
	if lane.Policy.Retry.GiveUp == 0 { // which the policy takes for its default
		f.bad("lanes."+l.Kind+".retry.give_up", "is 0s, must be above 0")
	}
	_, err := dispatcher.New(dispatcher.Config{
		Worker: "configuration", Store: struct{ dispatcher.Store }{}, Lanes: []dispatcher.Lane{lane}, Logger: slog.New(slog.DiscardHandler),
	})
	for _, leaf := range leaves(err) {
		key, text, _ := strings.Cut(leaf.Error(), " ")
		f.bad("lanes."+l.Kind+"."+key, "%s", text)
	}
}

// leaves takes apart what was joined.
func leaves(err error) []error {
	switch e := err.(type) { //nolint:errorlint // It takes the tree apart, one level at a time.
	case nil:
		return nil
	case interface{ Unwrap() []error }:
		var all []error
		for _, one := range e.Unwrap() {
			all = append(all, leaves(one)...)
		}
		return all
	case interface{ Unwrap() error }:
		return leaves(e.Unwrap())
	default:
		return []error{err}
	}
}
