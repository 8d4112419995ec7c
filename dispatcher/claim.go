package dispatcher

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/outboxd/outboxd/dispatcher/internal/schedule"
	"github.com/outboxd/outboxd/outbox"
	"github.com/sony/gobreaker/v2"
)

const claimTimeout = 15 * time.Second // of one claim, and of one look ahead

// Upcoming is what a lane that relies on hints needs to be in time for intents that are due later.
type Upcoming interface {
	// Upcoming returns when intents of the kind become claimable between now and the given time from now: soonest
	// first, by the database's clock, those that are claimable already included. whole is false if there may be more.
	Upcoming(ctx context.Context, kind string, within time.Duration) (due []time.Time, whole bool, err error)
}

// answer is what came of a claim or of a look ahead.
type answer struct {
	order   outbox.ClaimOrder
	as      claimed
	intents []*outbox.Intent
	took    time.Duration
	err     error
	looked  *schedule.Looked // of a look ahead
}

// send sends a claim.
func (l *lane) send(stop context.Context, c schedule.Claim) {
	order, as := l.order(time.Now(), c)
	l.state.Apply(as.fence.sent, schedule.Sent{Claim: c})
	l.workload.ask()
	l.asking++
	l.beside.Go(func() { l.answers <- l.claim(stop, order, as) })
}

// order says what to ask for, and how what comes is to be called. A probe takes any intent that is due instead of the
// first.
func (l *lane) order(sent time.Time, c schedule.Claim) (outbox.ClaimOrder, claimed) {
	as := claimed{fence: fence{sent: sent, within: l.Lease - l.Timeout - fenceMargin}}
	as.broken = l.breaker.State() != gobreaker.StateClosed || sent.Before(l.broken)
	order := outbox.ClaimOrder{
		Kind: l.Kind, Limit: c.N, Lease: l.Lease, Owner: l.worker, Spread: l.state.Workers(), Only: slices.Clone(c.Only),
	}
	order.Soon, _, _ = l.workload.state()
	if c.Only != nil { // what is named is claimed whole: nobody would look for the rest
		return order, as
	}
	if as.broken || l.hold.on() || l.away.known() {
		order.Sample, order.Except = true, slices.Clone(l.avoided.ids)
	}
	if as.probe = l.probing(); as.probe {
		l.hold.probed(sent)
		l.away.probed(sent)
	}
	return order, as
}

// claim leases intents. It is not cut short by stop: a claim whose answer nobody reads would hold its intents until the
// lease runs out.
func (l *lane) claim(stop context.Context, order outbox.ClaimOrder, as claimed) answer {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(stop), claimTimeout, fmt.Errorf("claiming took longer than %v", claimTimeout))
	defer cancel()
	intents, err := l.store.Claim(ctx, order)
	if err == nil && len(intents) == 0 && len(order.Except) > 0 { // there is none that was not refused yet
		order.Except = nil
		intents, err = l.store.Claim(ctx, order)
	}
	took := time.Since(as.fence.sent)
	l.workload.note(len(intents), order.Limit)
	l.observer.Claimed(l.Kind, len(intents), took, err)
	if l.tracer != nil {
		l.tracer.Claimed(l.Kind, as.fence.sent, order.Limit, len(intents), err)
	}
	return answer{order: order, as: as, intents: intents, took: took, err: err}
}

// answer takes what came of a claim or a look ahead.
func (l *lane) answer(a answer) {
	l.asking--
	now := time.Now()
	if a.looked != nil {
		l.state.Apply(now, *a.looked)
		return
	}
	before := l.state.Failures()
	c := schedule.Claimed{Asked: a.order.Limit, Got: len(a.intents), Took: a.took, Named: a.order.Only != nil, Failed: a.err != nil}
	for _, in := range a.intents {
		c.Bytes += in.Size
	}
	l.state.Apply(now, c)
	if a.as.probe && len(a.intents) == 0 { // whatever becomes due next is the probe
		l.hold.unprobed(now)
		l.away.unprobed(now)
		if a.err == nil && l.hold.starve() {
			l.peers.tell(news{what: probeWanted, lane: l})
		}
	}
	switch after := l.state.Failures(); {
	case before == 0 && after > 0:
		l.log.Error("claiming failed; nothing is claimed until it works again",
			"err", fmt.Errorf("claiming up to %d intents of kind %s: %w", a.order.Limit, l.Kind, a.err))
	case before > 0 && after == 0:
		l.log.Info("claiming works again", "failures", before)
	}
	l.spend(now, len(a.intents))
	for _, in := range a.intents {
		c := a.as
		c.in, c.queued = in, now
		l.queue = append(l.queue, c)
	}
}

// look asks what becomes due.
func (l *lane) look(stop context.Context) {
	l.state.Apply(time.Now(), schedule.Looking{})
	l.asking++
	within := l.state.Seldom * 5 / 4 // for so long the answer is good at most
	l.beside.Go(func() {
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(stop), claimTimeout, fmt.Errorf("looking took longer than %v", claimTimeout))
		defer cancel()
		due, whole, err := l.upcoming.Upcoming(ctx, l.Kind, within)
		looked := schedule.Looked{Whole: whole, Failed: err != nil}
		now, database := time.Now(), l.store.Now()
		for _, at := range due {
			looked.Due = append(looked.Due, now.Add(at.Sub(database)))
		}
		l.answers <- answer{looked: &looked}
	})
}
