package dispatcher

import (
	"errors"
	"fmt"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/sony/gobreaker/v2"
)

// Breaker is the configuration of a lane's breaker. Business answers never count against it.
type Breaker struct {
	Window       time.Duration // over which calls are counted, rolling
	Buckets      int           // into which the window is divided
	MinRequests  int           // before the ratio means anything
	FailureRatio float64       // of finished calls, 0 to 1
	Consecutive  int           // failures in a row that open it at once
	OpenFor      time.Duration // before it lets probes through
	Probes       int           // calls in flight while probing; so many successes in a row close it
}

func (b Breaker) validate() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("breaker."+format, args...))
		}
	}
	bad(b.Window > 0, "window is %v, must be above 0", b.Window)
	bad(b.Buckets >= 1, "buckets is %d, must be at least 1", b.Buckets)
	bad(b.MinRequests >= 1, "min_requests is %d, must be at least 1", b.MinRequests)
	bad(b.FailureRatio > 0 && b.FailureRatio <= 1, "failure_ratio is %v, must be above 0 and at most 1", b.FailureRatio)
	bad(b.Consecutive >= 1, "consecutive is %d, must be at least 1", b.Consecutive)
	bad(b.OpenFor > 0, "open_for is %v, must be above 0", b.OpenFor)
	bad(b.Probes >= 1, "probes is %d, must be at least 1", b.Probes)
	return errors.Join(errs...)
}

// errNoVerdict ends a call that says nothing about the provider's health.
var errNoVerdict = errors.New("no verdict on the provider")

// newBreaker builds the lane's breaker. onOpen is told when it opens; it runs under the breaker's lock and must not ask
// the breaker anything.
func newBreaker(b Breaker, kind string, onChange func(from, to gobreaker.State)) *gobreaker.TwoStepCircuitBreaker[struct{}] {
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:         kind,
		MaxRequests:  uint32(b.Probes),
		Interval:     b.Window,
		BucketPeriod: b.Window / time.Duration(b.Buckets),
		Timeout:      b.OpenFor,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			finished := c.TotalSuccesses + c.TotalFailures // Requests counts calls in flight as well
			return int(c.ConsecutiveFailures) >= b.Consecutive ||
				int(finished) >= b.MinRequests && float64(c.TotalFailures) >= b.FailureRatio*float64(finished)
		},
		IsSuccessful:  func(err error) bool { return err == nil },
		IsExcluded:    func(err error) bool { return errors.Is(err, errNoVerdict) },
		OnStateChange: func(_ string, from, to gobreaker.State) { onChange(from, to) },
	})
}

// health is what a call's verdict tells the breaker about the provider.
func health(f *outbox.Failure) error {
	switch {
	case f == nil || f.Class.Business():
		return nil
	case f.Class == outbox.RateLimited, f.Class == outbox.Hold, f.Code == outbox.CodeAborted:
		return errNoVerdict // the gate, the hold and our own shutdown have their own ways
	default:
		return f
	}
}

// breakerChanged is told of each change, by the lane's owner: nobody else asks the breaker anything.
func (l *lane) breakerChanged(from, to gobreaker.State) {
	l.log.Warn("breaker changed", "from", from.String(), "to", to.String())
	switch to {
	case gobreaker.StateOpen:
		l.open = time.Now().Add(l.Breaker.OpenFor)
		l.peers.tell(news{what: breakerOpened, lane: l, until: l.open})
	case gobreaker.StateClosed:
		l.peers.tell(news{what: breakerClosed, lane: l})
	}
}
