package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/integration/chaos/check"
	"github.com/outboxd/outboxd/integration/chaos/plan"
	"github.com/outboxd/outboxd/integration/mongodb"
	"github.com/outboxd/outboxd/providers/simulator"
)

const (
	primaryPatience = 15 * time.Second // for a primary to be hit
	startPatience   = time.Minute      // for a member to be there again
	barred          = 5                // seconds for which a primary that stepped down may not be elected again
)

// actor carries out a plan.
type actor struct {
	stage *stage
	slots []*slot
	say   func(format string, args ...any)

	nodes sync.Mutex // one fault of the members at a time, also if one lasts longer than planned

	mu       sync.Mutex
	troubles []check.Trouble
	delays   []check.Span
	hands    []check.Hand
	counts   map[string]int // faults that happened, by track and what
	errs     []error
}

func newActor(s *stage, slots []*slot, say func(string, ...any)) *actor {
	return &actor{stage: s, slots: slots, say: say, counts: make(map[string]int)}
}

// run carries out the events at their times and returns when the last is undone, or ctx ends.
func (a *actor) run(ctx context.Context, events []plan.Event) error {
	began := time.Now()
	var under sync.WaitGroup
	for _, e := range events {
		select {
		case <-ctx.Done():
		case <-time.After(e.At - time.Since(began)):
			under.Go(func() { a.carryOut(ctx, e) })
			continue
		}
		break
	}
	under.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	return errors.Join(a.errs...)
}

func (a *actor) carryOut(ctx context.Context, e plan.Event) {
	var err error
	switch e.Track {
	case plan.Workers:
		err = a.worker(ctx, e)
	case plan.Nodes:
		err = a.node(ctx, e)
	case plan.Network:
		err = a.network(ctx, e)
	case plan.Providers:
		err = a.provider(ctx, e)
	case plan.Locks:
		err = a.lock(ctx, e)
	case plan.Schema:
		err = a.schema(ctx, e)
	case plan.Hands:
		err = a.hand(ctx, e)
	}
	if errors.Is(err, errNoPrimary) {
		a.say("%-9s %-14s left out: the database has had no primary for %v", e.Track, e.What, primaryPatience)
		return
	}
	if err != nil && ctx.Err() == nil {
		a.say("%-9s %s failed: %v", e.Track, e.What, err)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.errs = append(a.errs, fmt.Errorf("%s %s: %w", e.Track, e.What, err))
	}
}

// met says and counts a fault that has begun.
func (a *actor) met(e plan.Event, who string) {
	a.say("%-9s %-14s %s, for %v", e.Track, e.What, who, e.For.Round(100*time.Millisecond))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts[e.Track+" "+e.What]++
}

// trouble notes a time in which the database or a way to it was not as it should be; it ends when the function
// returned is called.
func (a *actor) trouble(slot int, what string) func() {
	from := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(a.troubles)
	a.troubles = append(a.troubles, check.Trouble{Span: check.Span{From: from, To: from.Add(time.Hour)}, Slot: slot, What: what})
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.troubles[n].To = time.Now()
	}
}

// delay notes a time in which requests came late to the providers, until the function returned is called.
func (a *actor) delay() func() {
	from := time.Now()
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.delays = append(a.delays, check.Span{From: from, To: time.Now()})
	}
}

// wait lets the fault last; the harness's end cuts it short.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// worker hits the worker of the event's slot, or of the next one that nobody is at.
func (a *actor) worker(ctx context.Context, e plan.Event) error {
	for n := range a.slots {
		sl := a.slots[(e.Slot+n)%len(a.slots)]
		if !sl.take() {
			continue
		}
		defer sl.free()
		w := sl.current()
		a.met(e, fmt.Sprintf("worker %d", sl.n))
		if e.What == plan.Freeze {
			thaw, err := w.freeze()
			if err != nil {
				return err
			}
			wait(ctx, e.For)
			return thaw()
		}
		if err := w.end(e.What); err != nil {
			return err
		}
		wait(ctx, e.For)
		_, err := sl.start()
		return err
	}
	return nil // all are being hit already
}

// errNoPrimary is returned where there is no primary to hit: what came before is not over yet.
var errNoPrimary = errors.New("there is no primary")

func (a *actor) primary(ctx context.Context) (*mongodb.Member, error) {
	ctx, cancel := context.WithTimeout(ctx, primaryPatience)
	defer cancel()
	m, err := a.stage.set.Primary(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoPrimary, err)
	}
	return m, nil
}

// node hits members of the replica set.
func (a *actor) node(ctx context.Context, e plan.Event) error {
	a.nodes.Lock()
	defer a.nodes.Unlock()
	primary, err := a.primary(ctx)
	if err != nil {
		return err
	}
	var others []*mongodb.Member
	for _, m := range a.stage.set.Members {
		if m != primary {
			others = append(others, m)
		}
	}
	defer a.trouble(-1, e.What)()
	a.met(e, "member "+primary.Addr())
	switch e.What {
	case plan.StepDown:
		if err := stepDown(ctx, primary); err != nil {
			return err
		}
		wait(ctx, e.For)
		return nil
	case plan.PausePrimary:
		if err := primary.Pause(); err != nil {
			return err
		}
		wait(ctx, e.For)
		return primary.Resume()
	case plan.Rollback:
		return rollback(ctx, e, primary, others)
	}
	hit := []*mongodb.Member{primary}
	switch e.What {
	case plan.KillSecondary:
		hit = others[e.Seed%2 : e.Seed%2+1]
	case plan.KillTwo:
		hit = append(hit, others[e.Seed%2])
	}
	for _, m := range hit {
		if err := m.Kill(); err != nil {
			return err
		}
	}
	wait(ctx, e.For)
	return startAll(ctx, hit)
}

func startAll(ctx context.Context, list []*mongodb.Member) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startPatience)
	defer cancel()
	var errs []error
	for _, m := range list {
		errs = append(errs, m.Start(ctx))
	}
	return errors.Join(errs...)
}

// rollback pauses the others, so that the primary takes writes that nobody else has, kills it, and lets the others go
// on.
func rollback(ctx context.Context, e plan.Event, primary *mongodb.Member, others []*mongodb.Member) error {
	var errs []error
	for _, m := range others {
		errs = append(errs, m.Pause())
	}
	wait(ctx, e.For)
	errs = append(errs, primary.Kill())
	for _, m := range others {
		errs = append(errs, m.Resume())
	}
	wait(ctx, 2*election) // so that another is elected and writes
	return errors.Join(append(errs, startAll(ctx, []*mongodb.Member{primary}))...)
}

// stepDown makes a primary step down. It closes connections meanwhile, that of the command among them on some versions.
func stepDown(ctx context.Context, m *mongodb.Member) error {
	client, err := mongo.Connect(options.Client().ApplyURI(m.URI()))
	if err != nil {
		return err
	}
	defer client.Disconnect(context.WithoutCancel(ctx))
	err = client.Database("admin").RunCommand(ctx, bson.D{
		{Key: "replSetStepDown", Value: barred}, {Key: "secondaryCatchUpPeriodSecs", Value: 1}, {Key: "force", Value: true}}).Err()
	if mongo.IsNetworkError(err) {
		return nil
	}
	return err
}

// network hits the way of a worker to the database, to the primary, or to the providers.
func (a *actor) network(ctx context.Context, e plan.Event) error {
	sl := a.slots[e.Slot]
	wires := sl.providers
	if e.Where != plan.ToProvider {
		wires = sl.database
		defer a.trouble(sl.n, e.What)()
	}
	if e.Where == plan.ToPrimary {
		primary, err := a.primary(ctx)
		if err != nil {
			return err
		}
		n := slices.Index(a.stage.set.Members, primary)
		wires = wires[n : n+1]
	}
	var errs []error
	var hit []*wire
	for _, w := range wires {
		if err := w.fail(e); err == nil {
			hit = append(hit, w)
		} else if !errors.Is(err, errBusy) {
			errs = append(errs, err)
		}
	}
	if e.What == plan.Slow && e.Where == plan.ToProvider {
		defer a.delay()()
	}
	if len(hit) > 0 {
		a.met(e, fmt.Sprintf("worker %d to %s%s", sl.n, e.Where, how(e)))
		wait(ctx, e.For)
	}
	for _, w := range hit {
		errs = append(errs, w.mend(context.WithoutCancel(ctx)))
	}
	return errors.Join(errs...)
}

func how(e plan.Event) string {
	if e.What == plan.Cut {
		return ""
	}
	text := ", answers"
	if e.Up {
		text = ", requests"
	}
	if e.What == plan.Slow {
		text += " by " + e.Late.Round(10*time.Millisecond).String()
	}
	return text
}

// provider has the providers fail for some requests until the event ends.
func (a *actor) provider(ctx context.Context, e plan.Event) error {
	faults := lies(e)
	if e.What == plan.Hang {
		defer a.delay()()
	}
	if err := a.stage.control(ctx, http.MethodPost, "faults", faults, nil); err != nil {
		return err
	}
	var what []string
	for _, f := range faults {
		what = append(what, f.Do)
	}
	a.met(e, strings.Join(slices.Compact(what), ", "))
	wait(ctx, e.For)
	return a.stage.control(context.WithoutCancel(ctx), http.MethodDelete, "faults", nil, nil)
}

// lies are the faults of one event.
func lies(e plan.Event) []simulator.Fault {
	some := func(share float64) simulator.Match {
		return simulator.Match{Probability: share, Seed: e.Seed, Times: -1}
	}
	switch e.What {
	case plan.Before:
		return []simulator.Fault{
			{Match: some(0.2), When: simulator.Before, Do: simulator.DoStatus, Status: http.StatusInternalServerError},
			{Match: some(0.2), When: simulator.Before, Do: simulator.DoReset},
			{Match: some(0.2), When: simulator.Before, Do: simulator.DoHTML},
			{Match: some(0.2), When: simulator.Before, Do: simulator.DoDrop},
		}
	case plan.After:
		return []simulator.Fault{
			{Match: some(0.2), When: simulator.After, Do: simulator.DoReset},
			{Match: some(0.2), When: simulator.After, Do: simulator.DoStatus, Status: http.StatusServiceUnavailable},
			{Match: some(0.2), When: simulator.After, Do: simulator.DoTruncate},
			{Match: some(0.2), When: simulator.After, Do: simulator.DoHang},
		}
	case plan.Storm:
		return []simulator.Fault{{Match: some(0.8), Do: simulator.DoStatus, Status: http.StatusTooManyRequests, Headers: map[string]string{"Retry-After": "1"}}}
	case plan.Hang:
		return []simulator.Fault{
			{Match: some(0.3), When: simulator.Before, Do: simulator.DoDelay, Delay: hangLate},
			{Match: some(0.3), When: simulator.Before, Do: simulator.DoHang},
			{Match: some(0.3), When: simulator.After, Do: simulator.DoDelay, Delay: hangLate},
		}
	case plan.Refuse:
		refuse := func(provider, route, body string) simulator.Fault {
			return simulator.Fault{Provider: provider, Route: route, Match: some(0.15), Do: simulator.DoStatus, Status: http.StatusForbidden, Body: body}
		}
		return []simulator.Fault{
			refuse(simulator.ProviderStripe, "create", `{"error":{"type":"invalid_request_error","code":"account_invalid","message":"The provided key does not have access to this account."}}`),
			refuse(simulator.ProviderSendGrid, "send", `{"errors":[{"message":"access forbidden","field":null,"help":null}]}`),
			refuse(simulator.ProviderTwilio, "send", `{"code":20003,"message":"Permission Denied","status":403}`),
		}
	default: // Replays
		return []simulator.Fault{
			{Provider: simulator.ProviderStripe, Route: "create", Match: some(0.3), When: simulator.Before, Do: simulator.DoStatus, Status: http.StatusInternalServerError, Saved: true},
			{Provider: simulator.ProviderStripe, Route: "confirm", Match: some(0.3), When: simulator.After, Do: simulator.DoStatus, Status: http.StatusInternalServerError, Saved: true},
			{Provider: simulator.ProviderStripe, Route: "confirm", Match: some(0.3), When: simulator.Before, Do: simulator.DoStatus, Status: http.StatusInternalServerError, Saved: true},
		}
	}
}

// heal undoes whatever is left of the faults.
func (a *actor) heal(ctx context.Context) error {
	errs := []error{a.stage.control(ctx, http.MethodDelete, "faults", nil, nil)}
	if a.stage.set != nil {
		for _, m := range a.stage.set.Members {
			if err := m.Resume(); err != nil && !errors.Is(err, mongodb.ErrNotRunning) {
				errs = append(errs, err)
			}
		}
		errs = append(errs, startAll(ctx, a.stage.set.Members))
	}
	for _, sl := range a.slots {
		errs = append(errs, sl.clear(ctx))
	}
	return errors.Join(errs...)
}
