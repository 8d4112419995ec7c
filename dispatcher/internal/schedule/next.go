package schedule

import (
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// Action is what a lane does now.
type Action struct {
	Claim    Claim
	Look     bool      // ask what becomes due
	GiveBack bool      // what waits for a slot: calls are not quick any more
	Wake     time.Time // else, when to ask again if nothing happens; zero: never
}

// Claim is what to ask the database for.
type Claim struct {
	N    int         // at most so many; 0: do not claim
	Only []outbox.ID // these, and nothing else; nil: whatever is due
}

// Next returns what to do now. The owner does it, tells of it by [Sent] or [Looking], and asks again. Next changes
// nothing.
func (s *State) Next(now time.Time) Action {
	wake := alarm{now: now}
	if s.queued > 0 && !wake.wait(s.moved.Add(s.AheadMost)) {
		return Action{GiveBack: true}
	}
	if wake.wait(s.resting) {
		return Action{Wake: wake.at}
	}
	n, again := s.room(now)
	if n <= 0 {
		wake.wait(again)
		return Action{Wake: wake.at}
	}
	if s.nameable(now, n) {
		if s.named < s.NamedClaims && !wake.wait(s.yield) && !wake.wait(s.merge) {
			return Action{Claim: Claim{len(s.names), s.names}}
		}
	} else if most, at, ok := s.whatever(now, n); ok && !wake.wait(at) {
		return Action{Claim: Claim{N: most}}
	}
	if next := s.due.next(); s.wide == 0 {
		wake.wait(next)
	}
	if s.looksAhead() && s.wide == 0 && !s.looking && !wake.wait(s.due.until) {
		return Action{Look: true}
	}
	return Action{Wake: wake.at}
}

// alarm is the soonest of the instants that are waited for.
type alarm struct{ now, at time.Time }

// wait reports whether t lies ahead, and rings then as well.
func (a *alarm) wait(t time.Time) bool {
	if !t.After(a.now) {
		return false
	}
	if a.at.IsZero() || t.Before(a.at) {
		a.at = t
	}
	return true
}

// room returns how many intents may be claimed now. If none, again is when that changes by time alone; zero: only by
// an event.
func (s *State) room(now time.Time) (n int, again time.Time) {
	free, door := s.Slots-s.inFlight-s.asked, &s.Door
	n = free + s.ahead(now)
	switch {
	case n <= 0, s.bytes >= s.MostBytes, door.Paused:
		return 0, time.Time{}
	case now.Before(door.Gated):
		return 0, door.Gated
	case door.Held:
		return s.probe(now)
	case door.Open:
		return 0, later(door.OpenUntil, now.Add(time.Millisecond)) // it is half-open after that instant, not at it
	case door.Half:
		if n = min(free, door.Leave-s.asked); n <= 0 {
			return 0, door.HalfUntil
		}
	}
	if door.Away {
		return s.probe(now)
	}
	if door.Rated {
		tokens := door.Tokens - float64(s.asked)
		if tokens < 1 {
			return 0, now.Add(max(time.Millisecond, time.Duration((1-tokens)/door.PerSecond*float64(time.Second))))
		}
		n = min(n, int(tokens))
	}
	return n, time.Time{}
}

// probe returns room for one intent if the time has come, and no other call is under way that can tell.
func (s *State) probe(now time.Time) (n int, again time.Time) {
	switch {
	case s.inFlight+s.asked-s.lookUps > 0:
		return 0, time.Time{}
	case now.Before(s.Door.ProbeAt):
		return 0, s.Door.ProbeAt
	}
	return 1, time.Time{}
}

// paired reports whether the lane may have two claims under way. One with a rate limit never waits for claims.
func (s *State) paired() bool { return s.PairedFrom > 0 && s.Slots >= s.PairedFrom && !s.Door.Rated }

// ahead returns how many intents may be claimed beyond the free slots.
func (s *State) ahead(now time.Time) int {
	if !s.paired() {
		return 0
	}
	return min(s.Slots, int(s.calls.at(now, s.AheadMost)*s.Ahead.Seconds()))
}

// most is how many intents a claim takes at most where others follow it: half of what two may take together.
func (s *State) most(now time.Time) int {
	if s.paired() {
		return min(s.Slots, (s.Slots+s.ahead(now)+1)/2)
	}
	return s.Slots
}

// looksAhead reports whether the lane relies on hints, and on what it was told becomes due.
func (s *State) looksAhead() bool { return !s.busy && s.hearing && s.Looks }

// nameable reports whether the lane has nothing to do but what hints name, and room for all of it.
func (s *State) nameable(now time.Time, room int) bool {
	if !s.hinted || s.any || s.NamedClaims == 0 || len(s.names) > room {
		return false
	}
	rest, ok := s.rest()
	over := ok && !rest.After(now)
	return !s.busy && !s.backlogged && s.wide == 0 && !over && !s.due.past(now) && !s.Door.probing()
}

// rest returns when the lane looks again by itself; ok is false if it relies on hints.
func (s *State) rest() (at time.Time, ok bool) {
	d := s.Poll
	switch {
	case s.looksAhead():
		return at, false
	case s.busy && s.got > 0: // more comes, or others took the rest
		return s.rested, true
	case s.busy:
		d = s.BusyPoll
	}
	return s.rested.Add(d - d/4 + time.Duration(s.jitter*float64(d/2))), true
}

// wanted returns when whatever is due is to be claimed; ok is false if nothing is known to become due.
func (s *State) wanted(now time.Time) (at time.Time, ok bool) {
	if s.backlogged {
		return now, true
	}
	at, ok = s.rest()
	if next := s.due.next(); !next.IsZero() && (!ok || next.Before(at)) {
		at, ok = next, true
	}
	if s.hinted && (!ok || s.yield.Before(at)) {
		at, ok = s.yield, true
	}
	return at, ok
}

// whatever returns how many of what is due to claim, and when.
func (s *State) whatever(now time.Time, room int) (n int, at time.Time, ok bool) {
	n, most := min(room, s.Slots), s.most(now)
	turns := s.busy && !s.backlogged
	if s.backlogged || turns {
		n = min(n, most)
	}
	switch {
	case s.wide == 0:
		at, ok = s.wanted(now)
		if s.backlogged && room < enough(most) {
			at = later(at, s.roomSince.Add(s.Gather))
		}
	case s.wide == 1 && s.paired() && s.Door.clear(now):
		at, ok = now, s.backlogged && room >= enough(most) || turns && s.got >= s.Worth && room >= s.Worth
	}
	if turns {
		at = later(at, s.turn)
	}
	return n, at, ok
}

// enough is how many slots should be free for a claim in a backlog.
func enough(most int) int { return most * 3 / 4 }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
