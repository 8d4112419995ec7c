package dispatcher

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/sony/gobreaker/v2"
)

// claim leases up to n intents and hands them to the slots. It returns how many those are, and whether that is as many
// as it asked for: the other claim may just have taken slots.
func (l *lane) claim(stop context.Context, n int) (got int, all bool, _ error) {
	order, as, backlog := l.order(time.Now(), n, nil)
	if backlog { // now that it is known what this claim leaves
		l.startSecond()
	}
	got, err := l.carryOut(stop, order, as)
	return got, err == nil && got >= order.Limit, err
}

// carryOut makes a claim for which slots are taken, and returns how many intents it leased. It is not cut short by
// stop: a claim whose answer nobody reads would hold its intents until the lease runs out.
func (l *lane) carryOut(stop context.Context, order outbox.ClaimOrder, as claimed) (got int, _ error) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(stop), claimTimeout, fmt.Errorf("claiming took longer than %v", claimTimeout))
	defer cancel()
	sent, n := as.fence.sent, order.Limit
	order.Soon, _, _ = l.workload.state()
	l.workload.ask()
	intents, err := l.store.Claim(ctx, order)
	if err == nil && len(intents) == 0 && len(order.Except) > 0 { // there is none that was not refused yet
		order.Except = nil
		intents, err = l.store.Claim(ctx, order)
	}
	l.workload.note(len(intents), n)
	l.observer.Claimed(l.Kind, len(intents), time.Since(sent), err)
	if l.tracer != nil {
		l.tracer.Claimed(l.Kind, sent, n, len(intents), err)
	}
	l.mu.Lock()
	l.asked -= n
	l.took = time.Since(sent)
	l.inFlight += len(intents)
	for _, in := range intents {
		l.bytes += in.Size
	}
	starved := false
	if as.probe && len(intents) == 0 { // whatever becomes due next is the probe
		l.hold.unprobed(time.Now())
		l.away.unprobed(time.Now())
		starved = err == nil && l.hold.starve()
	}
	l.mu.Unlock()
	if starved {
		l.peers.tell(news{what: probeWanted, lane: l})
	}
	if err != nil {
		return 0, fmt.Errorf("claiming up to %d intents of kind %s: %w", n, l.Kind, err)
	}
	if l.limiter != nil {
		l.limiter.AllowN(time.Now(), len(intents))
	}
	l.enqueue(intents, as)
	return len(intents), nil
}

// order takes slots for a claim of up to n intents, or of those named, and says what to ask for and how what comes is
// to be called. It reports whether there is a backlog as well. A probe takes any intent that is due instead of the
// first.
func (l *lane) order(sent time.Time, n int, only []outbox.ID) (order outbox.ClaimOrder, as claimed, backlog bool) {
	as.fence = fence{sent: sent, within: l.Lease - l.Timeout - fenceMargin}
	as.broken = l.breaker.State() != gobreaker.StateClosed // not under our lock: it may call breakerChanged
	l.mu.Lock()
	defer l.mu.Unlock()
	order = outbox.ClaimOrder{Kind: l.Kind, Lease: l.Lease, Owner: l.worker, Spread: l.live, Only: only}
	as.broken = as.broken || sent.Before(l.brokenFor)
	if only == nil { // what is named is claimed whole: nobody would look for the rest
		if as.broken || l.hold.on() || l.away.known() {
			order.Sample, order.Except = true, slices.Clone(l.avoided.ids)
		}
		if as.probe = l.probing(); as.probe {
			l.hold.probed(sent)
			l.away.probed(sent)
			n = 1
		}
		l.schedule.pass(sent)
		n = max(1, min(n, l.Concurrency, l.Concurrency+l.ahead(sent)-l.inFlight-l.asked))
	}
	order.Limit = n
	l.asked += n
	return order, as, l.backlogged
}
