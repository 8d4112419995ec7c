package dispatcher

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

const (
	expireEvery = 15 * time.Second // so that a dead letter follows its expires_at within a minute
	expireBatch = 100
	expireLease = 30 * time.Second
)

// expire makes dead letters of intents whose expires_at has passed, of every kind: also of those whose lane is paused,
// held, gated or served by nobody. Nothing is called here, so it needs neither slots nor leave.
func (d *Dispatcher) expire(stop context.Context) {
	for {
		select {
		case <-stop.Done():
			return
		case <-time.After(expireEvery/2 + rand.N(expireEvery)):
		}
		for stop.Err() == nil {
			n, err := d.expireSome(stop)
			if err != nil {
				d.cfg.Logger.Warn("looking for expired intents failed", "err", err)
			}
			if n < expireBatch {
				break
			}
		}
	}
}

func (d *Dispatcher) expireSome(stop context.Context) (int, error) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(stop), claimTimeout, fmt.Errorf("claiming took longer than %v", claimTimeout))
	defer cancel()
	intents, err := d.cfg.Store.ClaimExpired(ctx, outbox.ClaimOrder{Limit: expireBatch, Lease: expireLease, Owner: d.cfg.Worker})
	if err != nil {
		return 0, err
	}
	for _, in := range intents {
		policy, now := d.policy(in.Kind), d.cfg.Store.Now()
		action, verdict := outbox.Next(in, policy, now)
		if action != outbox.Settle { // our clock is behind the database's, or a lane must ask the provider first
			verdict = outbox.Verdict{Event: outbox.Unsent}
		}
		d.settler.settle(outcome{
			Settlement: outbox.Settlement{Intent: in, Decision: outbox.Decide(in, verdict, policy, now)},
			kind:       in.Kind,
		})
	}
	return len(intents), nil
}

// policy returns a kind's policy; that of a kind which this worker does not serve has no rule that expiry needs.
func (d *Dispatcher) policy(kind string) outbox.Policy {
	for _, l := range d.lanes {
		if l.Kind == kind {
			return l.Policy
		}
	}
	return outbox.Policy{}
}
