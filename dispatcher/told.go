package dispatcher

import (
	"time"

	"github.com/outboxd/outboxd/dispatcher/internal/schedule"
	"github.com/outboxd/outboxd/outbox"
	"golang.org/x/time/rate"
)

// toldKept is how much may wait for a lane's owner: what is told before it runs.
const toldKept = 4

// told is something that the lane is told of: one of these.
type told struct {
	state *outbox.LaneState // what the workers share, as it was
	at    time.Time         // then, by the database's clock
	live  int               // so many workers serve the kind
	gate  bool              // the others know of a closing of the lane's gate
}

// tell tells the lane's owner, unless the lane has ended.
func (l *lane) tell(t told) {
	select {
	case l.told <- t:
	case <-l.over:
	}
}

// learn takes over what is told.
func (l *lane) learn(t told) {
	switch {
	case t.gate:
		l.gate.untold--
	case t.state != nil:
		l.share(*t.state, t.at)
	default:
		l.split(t.live)
	}
}

// share takes over what other workers and people say about the lane. now is the database's.
func (l *lane) share(state outbox.LaneState, now time.Time) {
	local := time.Now()
	before, first := l.shared, !l.learned
	l.shared, l.learned = state, true
	var until time.Time
	if state.GateUntil.After(now) {
		until = local.Add(state.GateUntil.Sub(now))
	}
	l.gate.agree(until)
	l.setRate()
	if state.BrokenBy != l.worker && state.BrokenUntil.After(now) {
		l.broken = local.Add(state.BrokenUntil.Sub(now))
	} else if state.BrokenUntil.IsZero() {
		l.broken = time.Time{}
	}
	resumed := state.HeldSince.IsZero() && !before.HeldSince.IsZero()
	switch {
	case resumed:
		l.hold.forget() // another worker's probe passed, or a person resumed the lane
	case !state.HeldSince.IsZero() && !l.hold.on():
		l.hold.begin(local, state.HoldCode)
		if first { // a worker that starts may have other credentials: it sees for itself
			l.hold.next = local
		}
	}
	switch {
	case state.Paused && !before.Paused:
		l.log.Warn("lane paused", filled("why", state.Why, "by", state.By)...)
	case before.Paused && !state.Paused:
		l.log.Warn("lane resumed", filled("paused_why", before.Why, "paused_by", before.By)...)
	}
	switch {
	case before.Limit == state.Limit:
	case state.Limit > 0:
		l.log.Warn("rate set", filled("rate", outbox.RateText(state.Limit), "why", state.LimitWhy, "by", state.LimitBy)...)
	default:
		l.log.Warn("rate taken back", filled("set_why", before.LimitWhy, "set_by", before.LimitBy)...)
	}
	if resumed {
		l.peers.tell(news{what: waitEnded, lane: l})
	}
}

// split takes over how many workers serve the kind.
func (l *lane) split(live int) {
	l.state.Apply(time.Now(), schedule.Peered{Live: live})
	l.setRate()
}

// setRate sets this worker's share of the lane's rate: of the configured one, or of one that a person set.
func (l *lane) setRate() {
	all := outbox.EffectiveRate(l.Rate, l.shared.Limit)
	if all == 0 {
		l.limiter = nil
		return
	}
	each := all / float64(max(1, l.state.Workers()))
	switch burst := max(1, int(each)); {
	case l.limiter == nil:
		l.limiter = rate.NewLimiter(rate.Limit(each), burst)
	case l.limiter.Limit() != rate.Limit(each):
		l.limiter.SetLimit(rate.Limit(each))
		l.limiter.SetBurst(burst)
	}
}

// spend takes the tokens of what was claimed. Claims that were sent before the rate was set may bring more than it
// allows: they cost a second's worth at most.
func (l *lane) spend(now time.Time, n int) {
	if l.limiter != nil {
		l.limiter.ReserveN(now, min(n, l.limiter.Burst()))
	}
}
