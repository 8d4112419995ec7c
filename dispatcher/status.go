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

func (l *lane) status() LaneStatus {
	breaker, now := l.breaker.State(), time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := LaneStatus{Kind: l.Kind, State: StateOpen, InFlight: l.inFlight - len(l.queue), Slots: l.Concurrency,
		Settling: len(l.settler.in), Breaker: breaker.String()}
	switch {
	case l.shared.Paused:
		s.State, s.Why = StatePaused, l.shared.Why
	case l.hold.on():
		s.State, s.Why = StateHeld, l.hold.code
	case l.gate.shut(now):
		s.State, s.Until = StateGated, l.gate.until
	case breaker != gobreaker.StateClosed:
		s.State, s.Until = StateBroken, l.openUntil
		if l.away.next.After(s.Until) {
			s.Until = l.away.next
		}
	case l.away.known():
		s.State, s.Why, s.Until = StateBroken, "the provider does not answer", l.away.next
	}
	return s
}
