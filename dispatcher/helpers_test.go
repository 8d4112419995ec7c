package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

// provider is a provider whose behaviour a test writes down, and which counts.
type provider struct {
	deliver func(ctx context.Context, in *outbox.Intent, n int) error // n: the nth call, from 1; nil: success
	lookUp  func(ctx context.Context, in *outbox.Intent) (bool, error)

	mu       sync.Mutex
	calls    []call
	inFlight int
	most     int // calls in flight at once
}

type call struct {
	id string
	at time.Time
}

func (p *provider) Deliver(ctx context.Context, in *outbox.Intent, _ func(context.Context, outbox.Progress) error) (outbox.Receipt, error) {
	p.mu.Lock()
	p.calls = append(p.calls, call{in.ID.String(), time.Now()})
	n := len(p.calls)
	p.inFlight++
	p.most = max(p.most, p.inFlight)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.inFlight--
		p.mu.Unlock()
	}()
	if p.deliver != nil {
		if err := p.deliver(ctx, in, n); err != nil {
			return outbox.Receipt{}, err
		}
	}
	return outbox.Receipt{Provider: "test", ID: fmt.Sprintf("r%d", n), Status: "accepted"}, nil
}

func (p *provider) LookUp(ctx context.Context, in *outbox.Intent) (outbox.Answer, error) {
	if p.lookUp == nil {
		return outbox.Answer{}, &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodeCannotTell}
	}
	found, err := p.lookUp(ctx, in)
	return outbox.Answer{Receipt: outbox.Receipt{Provider: "test", ID: "found", Status: "accepted"}, Found: found}, err
}

// peak returns how many calls were in flight at once.
func (p *provider) peak() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.most
}

func (p *provider) made() []call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]call(nil), p.calls...)
}

// takes is a delivery that succeeds after d, or ends as ambiguous when its context does.
func takes(d time.Duration) func(context.Context, *outbox.Intent, int) error {
	return func(ctx context.Context, _ *outbox.Intent, _ int) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodeNoAnswer, Cause: context.Cause(ctx)}
		}
	}
}

func fails(class outbox.Class, code string) func(context.Context, *outbox.Intent, int) error {
	return func(context.Context, *outbox.Intent, int) error { return &outbox.Failure{Class: class, Code: code} }
}

// faulty is a store that a test can make slow or take away.
type faulty struct {
	dispatcher.Store
	down      atomic.Bool
	slowClaim atomic.Int64 // added to each claim, after it was made
	claims    atomic.Int64
	settles   atomic.Int64
	asked     atomic.Int64 // the largest limit of a claim
}

var errDown = errors.New("the database is away")

func (f *faulty) Claim(ctx context.Context, order outbox.ClaimOrder) ([]*outbox.Intent, error) {
	f.claims.Add(1)
	f.asked.Store(max(f.asked.Load(), int64(order.Limit)))
	if f.down.Load() {
		return nil, errDown
	}
	list, err := f.Store.Claim(ctx, order)
	<-time.After(time.Duration(f.slowClaim.Load()))
	return list, err
}

func (f *faulty) Settle(ctx context.Context, batch []outbox.Settlement) ([]outbox.Settled, error) {
	f.settles.Add(1)
	if f.down.Load() {
		return nil, errDown
	}
	return f.Store.Settle(ctx, batch)
}

// counter is an observer that counts.
type counter struct {
	mu      sync.Mutex
	lost    int
	outcome map[outbox.Class]int
}

func (c *counter) Claimed(string, int, time.Duration, error)       {}
func (c *counter) Noted(string, string)                            {}
func (c *counter) LeaseLost(string)                                { c.mu.Lock(); c.lost++; c.mu.Unlock() }
func (c *counter) Called(*outbox.Intent, outbox.Action, time.Time) {}
func (c *counter) Wrote(int, time.Duration, error)                 {}
func (c *counter) Settled(_ string, s outbox.Settlement) {
	d := s.Decision
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.outcome == nil {
		c.outcome = make(map[outbox.Class]int)
	}
	c.outcome[d.Outcome]++
}

var quickPolicy = outbox.Policy{
	Retry:       outbox.RetryPolicy{MaxAttempts: 5, Base: time.Second, Max: time.Minute},
	OnAmbiguous: outbox.Park,
	Reconcile:   outbox.ReconcilePolicy{Wait: 30 * time.Second, Interval: 30 * time.Second, AbsentAfter: 2 * time.Minute, GiveUp: 15 * time.Minute},
}

var defaultBreaker = dispatcher.Breaker{Window: 2 * time.Minute, Buckets: 12, MinRequests: 10, FailureRatio: 0.5, Consecutive: 5, OpenFor: 30 * time.Second, Probes: 2}

func laneOf(kind string, p dispatcher.Provider) dispatcher.Lane {
	return dispatcher.Lane{
		Kind: kind, Provider: p, Policy: quickPolicy, Concurrency: 8,
		Timeout: 10 * time.Second, Lease: 45 * time.Second, Breaker: defaultBreaker,
	}
}

// running is a dispatcher under test.
type running struct {
	*dispatcher.Dispatcher
	stop, abort context.CancelFunc
	done        chan error
}

func start(t *testing.T, cfg dispatcher.Config) *running {
	t.Helper()
	if cfg.Worker == "" {
		cfg.Worker = "w1"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	d, err := dispatcher.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	stop, cancelStop := context.WithCancel(context.Background())
	abort, cancelAbort := context.WithCancel(context.Background())
	r := &running{Dispatcher: d, stop: cancelStop, abort: cancelAbort, done: make(chan error, 1)}
	go func() { r.done <- d.Run(stop, abort) }()
	t.Cleanup(func() { cancelStop(); cancelAbort() })
	return r
}

// end stops the dispatcher and waits for it.
func (r *running) end(t *testing.T) {
	t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// bubble runs a test on fake time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

var discard = slog.New(slog.DiscardHandler)
