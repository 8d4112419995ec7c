package dispatcher

import (
	"context"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/sony/gobreaker/v2"
)

// A lane's slots are goroutines that live as long as the lane, one for each call that may be in flight. What was
// claimed waits for one in a queue. It waits only where calls are so quick that claims would be smaller than the
// database can do well: such a lane claims ahead what it carries out in a moment.
const (
	aheadFor      = 100 * time.Millisecond
	aheadMost     = time.Second // what has waited for a slot so long is given back: calls are not quick any more
	callRateEvery = 100 * time.Millisecond
)

// claimed is an intent under a lease, on its way to a slot.
type claimed struct {
	in     *outbox.Intent
	fence  fence
	queued time.Time
	late   bool // it is not to be called any more
	probe  bool // the lane was held, or its provider away, when it was claimed
	broken bool // a breaker was not closed, of this worker or another
	span   Span // of the call; nil: there is none
}

// latest returns the latest instant that it can be by the database's clock. Its time as the process knows it may be
// behind by as long as an answer took; but the claim was carried out after it was sent.
func (c claimed) latest(now time.Time) time.Time { return c.in.Lease.At.Add(now.Sub(c.fence.sent)) }

// callRate is how many attempts end in a second. It is guarded by its lane's lock.
type callRate struct {
	began time.Time
	ended int
	rate  float64
}

// at returns the rate: half of it is that of the last moment, and all of it if that was long.
func (t *callRate) at(now time.Time) float64 {
	d := now.Sub(t.began)
	if d < callRateEvery {
		return t.rate
	}
	last := float64(t.ended) / d.Seconds()
	if t.rate = (t.rate + last) / 2; d > aheadMost {
		t.rate = last
	}
	t.began, t.ended = now, 0
	return t.rate
}

// ahead returns how many intents may be claimed beyond the free slots. It is called under the lock.
func (l *lane) ahead(now time.Time) int {
	if !l.paired() {
		return 0
	}
	return min(l.Concurrency, int(l.callRate.at(now)*aheadFor.Seconds()))
}

// serve is one slot: it takes claimed intents to their outcome until there will be no more.
func (l *lane) serve(stop, abort context.Context) {
	for c := range l.queue {
		now := time.Now()
		c.late = now.Sub(c.queued) > aheadMost
		l.mu.Lock()
		l.moved = now
		l.mu.Unlock()
		l.attempt(stop, abort, c)
		l.release(c)
	}
}

// enqueue hands claimed intents to the slots. There is always room: no more are claimed.
func (l *lane) enqueue(intents []*outbox.Intent, as claimed) {
	now := time.Now()
	l.mu.Lock()
	if len(l.queue) == 0 {
		l.moved = now
	}
	l.mu.Unlock()
	for _, in := range intents {
		c := as
		c.in, c.queued = in, now
		l.queue <- c
	}
}

// giveBack gives back what waits for a slot, if none has become free for long: another worker may have some.
func (l *lane) giveBack(stop, abort context.Context) {
	l.mu.Lock()
	stuck := time.Since(l.moved) > aheadMost && len(l.queue) > 0
	if stuck {
		l.callRate = callRate{began: time.Now()}
	}
	l.mu.Unlock()
	for stuck {
		select {
		case c := <-l.queue:
			c.late = true
			l.attempt(stop, abort, c)
			l.release(c)
		default:
			return
		}
	}
}

// mostBytes bounds the size of what a lane has claimed, with one claim more. Documents may have 16 MiB, and many slots
// full of them would take more memory than a worker has.
const mostBytes = 32 << 20

// reserve returns how many intents may be claimed now; if none, how long to wait at most unless woken.
func (l *lane) reserve(now time.Time) (n int, wait time.Duration) {
	state, calls := l.breaker.State(), l.breaker.Counts() // not under our lock: it may call breakerChanged
	l.mu.Lock()
	defer l.mu.Unlock()
	used := l.inFlight + l.asked
	n = l.Concurrency - used
	switch {
	case n+l.ahead(now) <= 0, l.bytes >= mostBytes:
		l.backlogged = true
		return 0, poll
	case l.shared.Paused:
		return 0, poll
	case l.gate.shut(now):
		return 0, l.gate.until.Sub(now)
	case l.hold.on():
		return l.probe(now, l.hold.next)
	case state == gobreaker.StateOpen:
		return 0, max(time.Millisecond, l.openUntil.Sub(now))
	case state == gobreaker.StateHalfOpen || now.Before(l.brokenFor):
		n = min(n, l.Breaker.Probes-used)
		if state == gobreaker.StateHalfOpen { // it counts probes that have succeeded as well, until the last one has ended
			n = min(n, l.Breaker.Probes-int(calls.Requests-calls.TotalExclusions))
		}
		if n <= 0 {
			l.backlogged = true
			return 0, poll
		}
	default:
		n += l.ahead(now)
	}
	if l.away.on() {
		return l.probe(now, l.away.next)
	}
	if l.limiter != nil {
		tokens := l.limiter.TokensAt(now)
		if tokens < 1 {
			return 0, max(time.Millisecond, time.Duration((1-tokens)/float64(l.limiter.Limit())*float64(time.Second)))
		}
		n = min(n, int(tokens))
	}
	return n, 0
}

// probe returns one intent if the time has come and no other call is under way that can tell; look-ups tell nothing. It
// is called under the lock.
func (l *lane) probe(now, next time.Time) (n int, wait time.Duration) {
	calls := l.inFlight + l.asked - l.asking
	if calls > 0 || now.Before(next) {
		l.backlogged = l.backlogged || calls > 0 // what is under way wakes the lane when it ends
		return 0, min(poll, max(time.Millisecond, next.Sub(now)))
	}
	return 1, 0
}

// roomForSecond returns how many intents a second claim may take: none unless that is many, or the lane's claims are
// spaced, and all is well with the lane.
func (l *lane) roomForSecond(now time.Time, turns bool) int {
	closed := l.breaker.State() == gobreaker.StateClosed
	l.mu.Lock()
	defer l.mu.Unlock()
	ahead := l.ahead(now)
	n := l.Concurrency + ahead - l.inFlight - l.asked
	least := enough(l.most(ahead))
	if turns {
		least = worthSecond
	}
	if !closed || n < least || l.bytes >= mostBytes || l.shared.Paused || l.gate.shut(now) || l.hold.on() || l.away.on() || now.Before(l.brokenFor) {
		return 0
	}
	return min(n, l.most(ahead))
}

// release makes room for another intent.
func (l *lane) release(c claimed) {
	l.mu.Lock()
	l.inFlight--
	l.bytes -= c.in.Size
	if !c.late {
		l.callRate.ended++
	}
	backlogged := l.backlogged
	many := l.Concurrency-l.inFlight-l.asked >= enough(l.most(0))
	l.mu.Unlock()
	if backlogged {
		l.wake.Send()
	}
	if backlogged && many {
		l.startSecond()
	}
}
