package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

var (
	// ErrDrainOver is returned when calls were still under way at the end of the drain time, and were cancelled.
	ErrDrainOver = errors.New("the drain time was over before all calls had ended; they were cancelled, and what they were doing is settled as ambiguous")
	// ErrInterrupted is returned when a second signal cancelled calls that were under way.
	ErrInterrupted = errors.New("a second signal came; calls under way were cancelled, and what they were doing is settled as ambiguous")

	errDone  = errors.New("everything has ended")
	errEmpty = errors.New("nothing is left to do (--until-empty)")
)

// stopper ends the dispatcher in two steps, each with its cause.
type stopper struct {
	stop, abort       context.Context
	stopNow, abortNow context.CancelCauseFunc
}

func newStopper(ctx context.Context) *stopper {
	s := new(stopper)
	s.stop, s.stopNow = context.WithCancelCause(context.WithoutCancel(ctx))
	s.abort, s.abortNow = context.WithCancelCause(context.WithoutCancel(ctx))
	return s
}

// end frees what the stopper holds, and ends attend.
func (s *stopper) end() {
	s.stopNow(errDone)
	s.abortNow(errDone)
}

// attend turns signals, the end of ctx and the end of the drain time into the end of the two contexts. onStop is called
// when the first of them came, onAbort when calls are to be cancelled. It returns when nothing is left to turn.
func (s *stopper) attend(ctx context.Context, signals <-chan os.Signal, drain time.Duration, onStop, onAbort func(cause error)) {
	select {
	case sig := <-signals:
		s.stopNow(fmt.Errorf("received the signal %q", sig))
	case <-ctx.Done():
		s.stopNow(context.Cause(ctx))
	case <-s.stop.Done(): // until-empty, or the dispatcher ended by itself
	}
	if s.abort.Err() != nil {
		return
	}
	onStop(context.Cause(s.stop))
	over := time.NewTimer(drain)
	defer over.Stop()
	select {
	case <-signals:
		s.abortNow(ErrInterrupted)
	case <-over.C:
		s.abortNow(ErrDrainOver)
	case <-s.abort.Done():
		return
	}
	onAbort(context.Cause(s.abort))
}
