package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/outboxd/outboxd/outbox"
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

// attempt makes the call of one claimed intent. Meanwhile it may have become too late for it.
func (l *lane) attempt(abort context.Context, c claimed) ended {
	e := unsent(c, 0)
	e.asked, e.health = l.store.Now(), errNoVerdict
	if !c.fence.passed(e.began) {
		ctx := l.called(abort, &e.c, c.action)
		e.verdict, e.health = l.call(ctx, c, c.action)
	}
	e.took = time.Since(e.began)
	return e
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
