package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/sony/gobreaker/v2"
)

var errTooLate = errors.New("the delivery took longer than the lane's timeout")

// fence is the interval in which a call may begin, so that it also ends under its lease.
type fence struct {
	sent   time.Time // the instant before the claim was sent
	within time.Duration
}

// passed reports whether it is too late to begin a call. It asks the monotonic clock, and the wall clock as well, since
// the monotonic one stands still while a virtual machine is suspended.
func (f fence) passed(now time.Time) bool {
	return now.Sub(f.sent) > f.within || now.Round(0).Sub(f.sent.Round(0)) > f.within
}

// attempt takes one claimed intent to its outcome and hands that to the settler.
func (l *lane) attempt(stop, abort context.Context, c claimed) {
	in := c.in
	began, asked := time.Now(), l.store.Now()
	verdict := l.verdict(stop, abort, &c, began)
	l.weigh(&verdict, c)
	now := l.store.Now()
	if verdict.Event == outbox.Absent {
		now = asked // the answer may be as old as the question, and tells nothing of what was recorded since
	}
	d := outbox.Decide(in, verdict, l.Policy, now)
	c.ended(&d)
	l.heed(d, verdict, c, began, asked)
	l.settler.settle(outcome{
		Settlement: outbox.Settlement{Intent: in, Decision: d, Took: time.Since(began)},
		kind:       l.Kind, lane: l,
	})
}

// verdict does what outbox.Next allows and returns what was learned.
func (l *lane) verdict(stop, abort context.Context, c *claimed, began time.Time) outbox.Verdict {
	in, unsent := c.in, outbox.Verdict{Event: outbox.Unsent}
	action, settled := outbox.Next(in, l.Policy, l.store.Now())
	if action == outbox.Settle {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.unprobe(*c, began)
		return settled
	}
	if action == outbox.Send && in.Expired(c.latest(began)) { // it may have: the next claim knows
		return unsent
	}
	if stop.Err() != nil || c.late || c.fence.passed(began) || l.shutSince(began, action, *c) {
		return unsent
	}
	if action == outbox.LookUp {
		wait, ok := l.beginLookUp(*c)
		defer l.endLookUp()
		if !ok {
			return outbox.Verdict{Event: outbox.Unsent, Wait: wait}
		}
		verdict, _ := l.call(l.called(abort, c, action), *c, action)
		return verdict
	}
	c.broken = c.broken || l.breaker.State() != gobreaker.StateClosed
	done, err := l.breaker.Allow()
	if err != nil { // it opened, or has probes enough
		return unsent
	}
	verdict, health := l.call(l.called(abort, c, action), *c, action)
	done(l.alone(in, health))
	return verdict
}

// shutSince reports whether the lane was closed between the reservation and the call. A gate and a hold concern only
// calls that may have the effect.
func (l *lane) shutSince(now time.Time, action outbox.Action, c claimed) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.shared.Paused || action == outbox.Send && (l.gate.shut(now) || l.hold.on() && !c.probe)
}

// call runs the provider within the lane's timeout, and returns the verdict and what it tells the breaker. A provider
// that panics may have acted.
func (l *lane) call(abort context.Context, c claimed, action outbox.Action) (v outbox.Verdict, _ error) {
	in := c.in
	ctx, cancel := context.WithTimeoutCause(abort, l.Timeout, errTooLate)
	defer cancel()
	failed := outbox.Failed
	if action == outbox.LookUp {
		failed = outbox.LookUpFailed
	}
	var failure *outbox.Failure
	defer func() {
		if p := recover(); p != nil {
			// The panic's value may hold a payload; its type and place do not.
			l.log.Error("provider panicked", "intent", in.ID.String(), "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			failure = &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodePanicked, Message: "the provider's code panicked in the middle of the call"}
			v = outbox.Verdict{Event: failed, Failure: failure}
		}
	}()
	var receipt outbox.Receipt
	var err error
	if action == outbox.LookUp {
		var answer outbox.Answer
		answer, err = l.Provider.LookUp(ctx, in)
		receipt, v.Also = answer.Receipt, answer.Also
		if err == nil && !answer.Found {
			return outbox.Verdict{Event: outbox.Absent, Certain: answer.Certain, Also: answer.Also}, nil
		}
		v.Event = outbox.Found
	} else {
		receipt, err = l.Provider.Deliver(ctx, in, l.saving(c))
		v.Event = outbox.Delivered
	}
	if err == nil {
		v.Receipt = receipt
		return v, nil
	}
	failure, ok := errors.AsType[*outbox.Failure](err)
	if !ok { // a defect in the provider: nobody can know
		failure = &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodeUnclassified, Message: "the provider returned an error without a class", Cause: err}
	}
	if failure.Code == outbox.CodeProgressNotSaved && errors.Is(failure, outbox.ErrUnreached) {
		return outbox.Verdict{Event: outbox.Unsent, Failure: failure}, nil // the database was away: no fault of the intent, and no attempt of it
	}
	return outbox.Verdict{Event: failed, Failure: failure, Also: v.Also}, health(failure)
}

// saving returns what a delivery calls between two steps. The intent may have expired since it was claimed, and then
// the next step must not be begun.
func (l *lane) saving(c claimed) func(context.Context, outbox.Progress) error {
	return func(ctx context.Context, p outbox.Progress) error {
		if err := l.store.SaveProgress(ctx, c.in, p); err != nil {
			return err
		}
		if c.in.Expired(c.latest(time.Now())) {
			return &outbox.Failure{Class: outbox.Expired, Code: outbox.CodeExpired, Message: "expires_at passed between two steps, before the one that counts"}
		}
		return nil
	}
}

// breakerChanged is told of each change under the breaker's lock.
func (l *lane) breakerChanged(from, to gobreaker.State) {
	l.mu.Lock()
	if to == gobreaker.StateOpen {
		l.openUntil = time.Now().Add(l.Breaker.OpenFor)
	}
	l.mu.Unlock()
	l.log.Warn("breaker changed", "from", from.String(), "to", to.String())
	switch to {
	case gobreaker.StateOpen:
		l.peers.tell(news{what: breakerOpened, lane: l, until: time.Now().Add(l.Breaker.OpenFor)})
	case gobreaker.StateClosed:
		l.peers.tell(news{what: breakerClosed, lane: l})
		l.wake.Send()
	}
}
