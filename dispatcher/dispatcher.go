package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/outboxd/outboxd/dispatcher/internal/schedule"
	"github.com/outboxd/outboxd/outbox"
)

// Store is where intents are. All of its instants are the database's. It is used by many goroutines at once.
type Store interface {
	// Claim leases up to order.Limit intents that are due, or whose lease ran out. An error means that nothing is
	// known to be claimed; what may have been claimed all the same is the store's to give back.
	Claim(ctx context.Context, order outbox.ClaimOrder) ([]*outbox.Intent, error)
	// ClaimToSettle leases intents that need no call, of order.Kind or, if that is empty, of any kind: what has
	// expired, as far as order.Doubts allows, and what is recorded and due.
	ClaimToSettle(ctx context.Context, order outbox.ClaimOrder) ([]*outbox.Intent, error)
	// Settle writes decisions, each fenced by its claim's token, and answers each in the order given. What somebody
	// else holds delays no other: it is answered as waiting or busy. After an error nothing is known, and the same
	// batch may be settled again.
	Settle(ctx context.Context, batch []outbox.Settlement) ([]outbox.Settled, error)
	// SaveProgress stores what must survive a crash between two steps of one effect, fenced by the claim's token. It
	// returns outbox.ErrLeaseLost if that no longer holds.
	SaveProgress(ctx context.Context, in *outbox.Intent, p outbox.Progress) error
	// Now returns the database's time as well as the process knows it. It does not block.
	Now() time.Time
}

// Provider carries out the effects of one kind. It is used by many goroutines at once.
type Provider interface {
	// Deliver attempts the effect once, within the context's deadline. Its error is always an *outbox.Failure. save
	// stores progress; if it fails, the effect must not be begun. If its error is an *outbox.Failure, for the intent
	// has expired meanwhile, that is Deliver's error as well.
	Deliver(ctx context.Context, in *outbox.Intent, save func(context.Context, outbox.Progress) error) (outbox.Receipt, error)
	// LookUp asks whether an earlier attempt had its effect. It may cancel what that left unfinished. Its error is
	// always an *outbox.Failure: of class permanent if the provider's answer was a final no, else it could not tell.
	LookUp(ctx context.Context, in *outbox.Intent) (outbox.Answer, error)
}

// Observer is told what happened, for metrics. Its methods are called by many goroutines at once and must not block.
type Observer interface {
	// Claimed reports a claim that took the given time and leased n intents; err is its failure.
	Claimed(kind string, n int, took time.Duration, err error)
	// Called reports that a call to the provider begins, at the given instant of the database: an attempt, or the
	// look-up of an earlier one.
	Called(in *outbox.Intent, action outbox.Action, at time.Time)
	// Settled reports a decision that was written. The kind is that of the lane, if one has it.
	Settled(kind string, s outbox.Settlement)
	// Wrote reports one try to write a batch of n decisions; err is its failure.
	Wrote(n int, took time.Duration, err error)
	// LeaseLost reports an outcome that could not be written because the lease was lost.
	LeaseLost(kind string)
	// Noted reports what went wrong beside an outcome that was written, by its code: a write_back without a target, a
	// follow-up that was refused.
	Noted(kind, code string)
}

// Config is what a Dispatcher is made of. Everything but Shared, Upcoming, Observer, Tracer and
// Logs is required.
type Config struct {
	Worker   string // the worker's name, unique among live workers
	Store    Store
	Shared   Shared   // what workers tell each other; nil: this worker is alone
	Upcoming Upcoming // what becomes due, for lanes that hints let rest; nil: lanes look every second all the same
	Lanes    []Lane
	Observer Observer // nil: nobody is told
	Tracer   Tracer   // nil: there are no spans
	Logger   *slog.Logger
	Logs     Logs // what is logged of outcomes
}

// Lane is the configuration of one kind.
type Lane struct {
	Kind        string
	Provider    Provider
	Policy      outbox.Policy
	Concurrency int           // calls in flight, at least 1
	Timeout     time.Duration // of one delivery, all its calls together
	Lease       time.Duration // at least Timeout + 5 s
	Rate        float64       // deliveries a second of the whole deployment; 0: unlimited
	Breaker     Breaker
}

// leaseMargin is the least by which a lease must exceed a call's timeout. fenceMargin of it is kept for settling after
// a call that took all its time; the rest is when calls may begin.
const (
	leaseMargin = 5 * time.Second
	fenceMargin = 2 * time.Second
)

func (l Lane) validate() error {
	var errs []error
	if l.Kind == "" {
		errs = append(errs, errors.New("has no kind"))
	}
	if l.Provider == nil {
		errs = append(errs, errors.New("has no provider"))
	}
	if l.Concurrency < 1 {
		errs = append(errs, fmt.Errorf("concurrency is %d, must be at least 1", l.Concurrency))
	}
	if l.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("timeout is %v, must be above 0", l.Timeout))
	}
	if l.Lease < l.Timeout+leaseMargin {
		errs = append(errs, fmt.Errorf("lease is %v, must be at least timeout + %v (%v)", l.Lease, leaseMargin, l.Timeout+leaseMargin))
	}
	if l.Rate < 0 {
		errs = append(errs, fmt.Errorf("rate is %v a second, must not be negative", l.Rate))
	}
	errs = append(errs, l.Policy.Validate(), l.Breaker.validate())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("lane %s: %w", l.Kind, err)
	}
	return nil
}

// Dispatcher runs the lanes of one worker.
type Dispatcher struct {
	cfg      Config
	lanes    []*lane
	tidier   *tidier
	peers    *peers
	workload *workload
}

// New checks the configuration, all of it, and returns a dispatcher that does nothing before Run.
func New(cfg Config) (*Dispatcher, error) {
	var errs []error
	if cfg.Worker == "" || cfg.Store == nil || cfg.Logger == nil {
		errs = append(errs, errors.New("dispatcher: Worker, Store and Logger are required"))
	}
	if len(cfg.Lanes) == 0 {
		errs = append(errs, errors.New("dispatcher: no lane to serve"))
	}
	kinds := make(map[string]bool)
	for _, l := range cfg.Lanes {
		if err := l.validate(); err != nil {
			errs = append(errs, err)
		}
		if kinds[l.Kind] {
			errs = append(errs, fmt.Errorf("lane %s: stands twice", l.Kind))
		}
		kinds[l.Kind] = true
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if cfg.Observer == nil {
		cfg.Observer = nobody{}
	}
	d := &Dispatcher{cfg: cfg}
	d.tidier = newTidier(cfg)
	d.workload = newWorkload(d.workloadChanged)
	d.peers = newPeers(cfg, d.workload)
	for _, l := range cfg.Lanes {
		d.lanes = append(d.lanes, newLane(l, cfg, newSettler(cfg, d.tidier.plan), d.peers, d.workload))
	}
	d.peers.lanes = d.lanes
	return d, nil
}

// Run serves the lanes until stop ends and everything that was begun is settled. When abort ends, calls under way are
// cancelled. It returns an error if outcomes could not be settled; their leases will run out. Run may be called once.
func (d *Dispatcher) Run(stop, abort context.Context) error {
	settlers := []*settler{d.tidier.settler}
	for _, l := range d.lanes {
		settlers = append(settlers, l.settler)
	}
	var settling sync.WaitGroup
	settled := make([]error, len(settlers))
	for i, s := range settlers {
		settling.Go(func() { settled[i] = s.run(abort) })
	}

	if d.cfg.Shared != nil {
		d.peers.once(stop, true)
	}
	var lanes sync.WaitGroup
	for _, l := range d.lanes {
		lanes.Go(func() { l.run(stop, abort) })
	}
	lanes.Go(func() { d.tidy(stop) })
	lanes.Go(func() { d.workload.run(stop) })
	var sharing sync.WaitGroup
	ended, end := context.WithCancel(context.WithoutCancel(stop))
	if d.cfg.Shared != nil {
		sharing.Go(func() { d.peers.run(ended) })
	}
	lanes.Wait()
	end() // the worker stays in the registry, and tells of its gates, until its last call has ended
	sharing.Wait()
	for _, s := range settlers {
		s.close()
	}
	settling.Wait()
	return errors.Join(settled...)
}

// farOff is beyond what hints are remembered for: lanes ask ahead what becomes due sooner than that.
const farOff = 30 * time.Second

// Notify passes on a hint that something may have changed. It never blocks, and may be called at any time by many
// goroutines at once. Hints merge; one that is wrong costs a look, and one that is missing costs time, at most that of
// a lane's next look.
func (d *Dispatcher) Notify(h outbox.Hint) {
	if h.Shared {
		d.peers.wake.Send()
		return
	}
	var in time.Duration
	if !h.Due.IsZero() {
		if in = h.Due.Sub(d.cfg.Store.Now()); in > farOff { // lanes look before that
			return
		}
	}
	for _, l := range d.lanes {
		switch {
		case h.Kind != "" && l.Kind != h.Kind:
		case in > 0:
			l.plan(in)
		case h.Kind != "":
			l.hint(schedule.Hinted{ID: h.ID})
		default:
			l.hint(schedule.Hinted{})
		}
	}
}

// workloadChanged lets everybody reckon anew how often to look.
func (d *Dispatcher) workloadChanged() {
	for _, l := range d.lanes {
		l.loaded.Send()
	}
	d.peers.wake.Send()
}

// Status returns each lane's state at this moment.
func (d *Dispatcher) Status() []LaneStatus {
	list := make([]LaneStatus, len(d.lanes))
	for i, l := range d.lanes {
		list[i] = l.status()
	}
	return list
}

// nobody is an Observer that drops everything.
type nobody struct{}

// Claimed drops it.
func (nobody) Claimed(string, int, time.Duration, error) {}

// Called drops it.
func (nobody) Called(*outbox.Intent, outbox.Action, time.Time) {}

// Settled drops it.
func (nobody) Settled(string, outbox.Settlement) {}

// Wrote drops it.
func (nobody) Wrote(int, time.Duration, error) {}

// LeaseLost drops it.
func (nobody) LeaseLost(string) {}

// Noted drops it.
func (nobody) Noted(string, string) {}
