package worker

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestSignalsStopThenAbort(t *testing.T) {
	const drain = 30 * time.Second
	errParent := errors.New("the parent ended")
	for _, c := range []struct {
		name      string
		act       func(s *stopper, signals chan<- os.Signal, parent context.CancelCauseFunc)
		stopCause string
		abort     error // nil: calls were not cancelled
		after     time.Duration
	}{
		{"second signal", func(_ *stopper, signals chan<- os.Signal, _ context.CancelCauseFunc) {
			signals <- syscall.SIGTERM
			time.Sleep(3 * time.Second)
			signals <- os.Interrupt
		}, `received the signal "terminated"`, ErrInterrupted, 3 * time.Second},
		{"drain over", func(_ *stopper, signals chan<- os.Signal, _ context.CancelCauseFunc) {
			signals <- os.Interrupt
		}, `received the signal "interrupt"`, ErrDrainOver, drain},
		{"parent ends", func(_ *stopper, _ chan<- os.Signal, parent context.CancelCauseFunc) {
			parent(errParent)
		}, errParent.Error(), ErrDrainOver, drain},
		{"everything ends in time", func(s *stopper, signals chan<- os.Signal, _ context.CancelCauseFunc) {
			signals <- os.Interrupt
			time.Sleep(drain - time.Second)
			s.end()
		}, `received the signal "interrupt"`, nil, drain - time.Second},
		{"nothing left to do", func(s *stopper, _ chan<- os.Signal, _ context.CancelCauseFunc) {
			s.stopNow(errEmpty)
			time.Sleep(time.Second)
			s.end()
		}, errEmpty.Error(), nil, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				ctx, parent := context.WithCancelCause(t.Context())
				s, signals := newStopper(ctx), make(chan os.Signal, 2)
				var stopped, aborted error
				ended := make(chan time.Duration)
				go func() {
					s.attend(ctx, signals, drain, func(cause error) { stopped = cause }, func(cause error) { aborted = cause })
					ended <- time.Since(began)
				}()
				go c.act(s, signals, parent)
				after := <-ended
				if stopped == nil || stopped.Error() != c.stopCause || context.Cause(s.stop) != stopped {
					t.Errorf("stopped by %v, want %v", stopped, c.stopCause)
				}
				if aborted != c.abort || after != c.after {
					t.Errorf("calls cancelled by %v after %v, want %v after %v", aborted, after, c.abort, c.after)
				}
				s.end()
				parent(nil)
			})
		})
	}
}
