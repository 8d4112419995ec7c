package dispatcher

import (
	"time"

	"github.com/sony/gobreaker/v2"
)

// LaneStatus is one lane's state as this worker sees it.
type LaneStatus struct {
	Kind     string
	State    string // open, paused, held, gated or broken
	Why      string
	Until    time.Time // of gated and broken; by this machine's clock
	InFlight int
	Slots    int    // calls that may be in flight at once
	Settling int    // outcomes that wait to be written
	Breaker  string // closed, half-open or open
}

// The states of a lane.
const (
	StateOpen   = "open"
	StatePaused = "paused"
	StateHeld   = "held"
	StateGated  = "gated"
	StateBroken = "broken"
)

// view is what of a lane's state others may see. Its owner publishes it.
type view struct {
	paused, held, away bool
	why                string // it is paused or held
	gated, open, next  time.Time
	breaker            gobreaker.State
}

// publish lets others see the lane's state.
func (l *lane) publish() {
	l.flying.Store(int64(l.state.InFlight() - len(l.queue)))
	v := view{paused: l.shared.Paused, held: l.hold.on(), away: l.away.known(), gated: l.gate.until, open: l.open,
		next: l.away.next, breaker: l.breaker.State()}
	switch {
	case v.paused:
		v.why = l.shared.Why
	case v.held:
		v.why = l.hold.code
	}
	if old := l.view.Load(); old == nil || *old != v {
		l.view.Store(&v)
	}
}

// status may be called by any goroutine.
func (l *lane) status() LaneStatus {
	v, now := l.view.Load(), time.Now()
	breaker := v.breaker
	if breaker == gobreaker.StateOpen && now.After(v.open) { // it changes when it is next asked
		breaker = gobreaker.StateHalfOpen
	}
	s := LaneStatus{Kind: l.Kind, State: StateOpen, InFlight: int(l.flying.Load()), Slots: l.Concurrency,
		Settling: len(l.settler.in), Breaker: breaker.String()}
	switch {
	case v.paused:
		s.State, s.Why = StatePaused, v.why
	case v.held:
		s.State, s.Why = StateHeld, v.why
	case now.Before(v.gated):
		s.State, s.Until = StateGated, v.gated
	case breaker != gobreaker.StateClosed:
		s.State, s.Until = StateBroken, v.open
		if v.next.After(s.Until) {
			s.Until = v.next
		}
	case v.away:
		s.State, s.Why, s.Until = StateBroken, "the provider does not answer", v.next
	}
	return s
}
