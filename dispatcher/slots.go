package dispatcher

import (
	"context"
	"time"

	"github.com/outboxd/outboxd/dispatcher/internal/schedule"
	"github.com/outboxd/outboxd/outbox"
	"github.com/sony/gobreaker/v2"
)

// A lane's slots are goroutines that live as long as the lane, one for each call that may be in flight. What was
// claimed waits for one in a queue. It waits only where calls are so quick that claims would be smaller than the
// database can do well: such a lane claims ahead what it carries out in a moment.

// claimed is an intent under a lease, on its way to a slot and back.
type claimed struct {
	in     *outbox.Intent
	fence  fence
	queued time.Time
	late   bool // it has waited for a slot for too long
	probe  bool // the lane was held, or its provider away, when it was claimed
	broken bool // a breaker was not closed, of this worker or another
	action outbox.Action
	done   func(error) // tells the breaker what the call has shown; nil: it is not asked
	span   Span        // of the call; nil: there is none
}

// latest returns the latest instant that it can be by the database's clock. Its time as the process knows it may be
// behind by as long as an answer took; but the claim was carried out after it was sent.
func (c claimed) latest(now time.Time) time.Time { return c.in.Lease.At.Add(now.Sub(c.fence.sent)) }

// ended is an attempt that has ended.
type ended struct {
	c          claimed
	verdict    outbox.Verdict
	health     error     // what the call tells the breaker
	began      time.Time // of the call
	asked      time.Time // the same, by the database's clock
	took       time.Duration
	handedOver bool // and its outcome is with the settler: nothing is left but to free its slot
}

// serve is one slot: it takes claimed intents to their outcome until there will be no more.
func (l *lane) serve(abort context.Context) {
	for c := range l.slots {
		l.ended <- l.attempt(abort, c)
	}
}

// fill hands claimed intents to free slots. What must not be called any more it ends at once.
func (l *lane) fill(stop context.Context) {
	for len(l.queue) > 0 && (l.calling < l.Concurrency || stop.Err() != nil) {
		c := l.queue[0]
		l.queue[0] = claimed{}
		if l.queue = l.queue[1:]; len(l.queue) == 0 {
			l.queue = nil
		}
		l.state.Apply(time.Now(), schedule.Started{N: 1})
		l.start(stop, c)
	}
}

// giveBack gives back what waits for a slot, since none has become free for long: another worker may have some.
func (l *lane) giveBack() {
	waiting := l.queue
	l.queue = nil
	l.state.Apply(time.Now(), schedule.Started{N: len(waiting)})
	for _, c := range waiting {
		c.late = true
		l.finish(unsent(c, 0))
	}
}

// unsent is the end of what is given back without a call.
func unsent(c claimed, wait time.Duration) ended {
	return ended{c: c, began: time.Now(), verdict: outbox.Verdict{Event: outbox.Unsent, Wait: wait}}
}

// start has a slot attempt the intent, if the lane still lets it, and ends it otherwise.
func (l *lane) start(stop context.Context, c claimed) {
	now := time.Now()
	action, settled := outbox.Next(c.in, l.Policy, l.store.Now())
	c.action, c.late = action, now.Sub(c.queued) > l.state.AheadMost
	switch {
	case action == outbox.Settle:
		l.unprobe(c, now)
		l.finish(ended{c: c, verdict: settled, began: now})
		return
	case action == outbox.Send && c.in.Expired(c.latest(now)): // it may have: the next claim knows
		l.finish(unsent(c, 0))
		return
	case stop.Err() != nil, c.late, c.fence.passed(now), l.shut(now, c):
		l.finish(unsent(c, 0))
		return
	case action == outbox.LookUp:
		l.unprobe(c, now)
		if l.lookUps.shut(now) {
			l.finish(unsent(c, l.lookUps.until.Sub(now)))
			return
		}
		l.state.Apply(now, schedule.LookUp{N: 1})
	default:
		c.broken = c.broken || l.breaker.State() != gobreaker.StateClosed
		done, err := l.breaker.Allow()
		if err != nil { // it opened, or has probes enough
			l.finish(unsent(c, 0))
			return
		}
		c.done = done
	}
	l.calling++
	l.slots <- c
}

// shut reports whether the lane was closed between the claim and the call. A gate and a hold concern only calls that
// may have the effect.
func (l *lane) shut(now time.Time, c claimed) bool {
	return l.shared.Paused || c.action == outbox.Send && (l.gate.shut(now) || l.hold.on() && !c.probe)
}

// end takes an attempt that a slot has ended.
func (l *lane) end(e ended) {
	if e.handedOver {
		l.release(e.c)
		return
	}
	l.calling--
	if e.c.action == outbox.LookUp {
		l.state.Apply(time.Now(), schedule.LookUp{N: -1})
	} else {
		e.c.done(l.alone(e.c.in, e.health))
	}
	l.finish(e)
}

// finish decides what follows from an attempt, draws the lane's own conclusions, and hands the outcome to the settler.
func (l *lane) finish(e ended) {
	c := e.c
	l.weigh(&e.verdict, c)
	now := l.store.Now()
	if e.verdict.Event == outbox.Absent {
		now = e.asked // the answer may be as old as the question, and tells nothing of what was recorded since
	}
	d := outbox.Decide(c.in, e.verdict, l.Policy, now)
	c.ended(&d)
	l.heed(d, e)
	o := outcome{Settlement: outbox.Settlement{Intent: c.in, Decision: d, Took: e.took}, kind: l.Kind, lane: l}
	select {
	case l.settler.in <- o:
		l.release(c)
	default: // it is full, which holds the slot and so bounds memory
		l.beside.Go(func() {
			l.settler.settle(o)
			l.ended <- ended{c: c, handedOver: true}
		})
	}
}

// release makes room for another intent.
func (l *lane) release(c claimed) {
	l.state.Apply(time.Now(), schedule.Ended{Bytes: c.in.Size, Late: c.late})
}
