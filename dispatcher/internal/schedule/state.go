package schedule

import (
	"math/rand/v2"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// State is all that a lane's next claim depends on. One goroutine owns it. Its zero value is not used; see [New].
type State struct {
	Policy
	Slots int  // calls that may be in flight
	Looks bool // somebody can be asked what becomes due
	Door  Door // the owner sets it before it asks

	chance rand.PCG // a value: two states with the same seed and the same events do the same

	inFlight int // claimed, and not ended
	asked    int // kept for claims under way
	bytes    int // the size of what is claimed
	lookUps  int
	queued   int       // claimed, and waiting for a slot
	moved    time.Time // when a slot last took one of those, or the first of them came
	calls    callRate

	wide       int           // claims under way of whatever is due
	named      int           // and of named intents
	looking    bool          // the database is being asked what becomes due
	failures   int           // claims in a row
	resting    time.Time     // nothing is claimed before, since claims fail
	backlogged bool          // the last claim got all that it asked for
	got        int           // by the last claim
	rested     time.Time     // when the last claim ended that found less than it asked for
	jitter     float64       // for the rest that follows, 0 to 1
	turn       time.Time     // when the next claim of a busy lane may be sent
	took       time.Duration // by the last claim
	roomSince  time.Time     // since when there is room, and no claim was sent

	hinted bool        // something may have come
	any    bool        // nobody knows what, or much has
	names  []outbox.ID // else these
	yield  time.Time   // a hint waits until then, for other workers
	merge  time.Time   // and for more hints
	due    dues

	busy, hearing bool
	live          int // workers that serve this kind
}

// New returns the state of a lane that knows nothing yet: it looks at once.
func New(p Policy, slots int, looks bool, seed uint64, now time.Time) *State {
	return &State{Policy: p, Slots: slots, Looks: looks, chance: *rand.NewPCG(seed, seed), calls: callRate{began: now}, busy: true}
}

// InFlight returns how many intents are claimed and not ended, those that wait for a slot included.
func (s *State) InFlight() int { return s.inFlight }

// Queued returns how many of those wait for a slot.
func (s *State) Queued() int { return s.queued }

// Failures returns how many claims have failed in a row.
func (s *State) Failures() int { return s.failures }

// Workers returns how many workers serve the kind, as far as is known.
func (s *State) Workers() int { return s.live }

// draw returns a number from 0 to 1.
func (s *State) draw() float64 { return float64(s.chance.Uint64()>>11) / (1 << 53) }

// upTo returns a random duration from 0 to d.
func (s *State) upTo(d time.Duration) time.Duration { return time.Duration(s.draw() * float64(d)) }

// Apply notes what happened at the given instant. Instants never go back.
func (s *State) Apply(now time.Time, e Event) {
	switch e := e.(type) {
	case Hinted:
		s.hint(now, e)
	case Sent:
		s.sent(now, e.Claim)
	case Claimed:
		s.claimed(now, e)
	case Started:
		s.queued, s.moved = s.queued-e.N, now
	case Ended:
		s.inFlight--
		s.bytes -= e.Bytes
		if e.Late {
			s.calls = callRate{began: now}
		} else {
			s.calls.end(now, s.AheadMost)
		}
	case LookUp:
		s.lookUps += e.N
	case Looking:
		s.looking = true
	case Looked:
		s.looked(now, e)
	case Loaded:
		s.loaded(now, e)
	case Peered:
		s.live = e.Live
	}
	if n, _ := s.room(now); n <= 0 {
		s.roomSince = time.Time{}
	} else if s.roomSince.IsZero() {
		s.roomSince = now
	}
}

func (s *State) hint(now time.Time, h Hinted) {
	if h.Lost {
		s.due.until, h = now, Hinted{}
	}
	if h.Due.After(now) {
		s.due.add(h.Due)
		return
	}
	if others := s.live - 1; !s.hinted && others > 0 {
		s.yield = now.Add(s.upTo(min(time.Duration(others)*s.Spread, s.SpreadMost)))
	}
	if !s.hinted && s.named > 0 {
		s.merge = now.Add(s.Merge)
	}
	s.hinted = true
	switch {
	case s.any:
	case h.ID == (outbox.ID{}) || len(s.names) == s.MostNamed:
		s.any, s.names = true, nil
	default:
		s.names = append(s.names, h.ID)
	}
}

func (s *State) sent(now time.Time, c Claim) {
	s.asked += c.N
	s.hinted, s.any, s.names = false, false, nil
	s.yield, s.merge, s.roomSince = time.Time{}, time.Time{}, time.Time{}
	if c.Only != nil {
		s.named++
		return
	}
	s.wide++
	s.due.pass(now)
	s.turn = now.Add(min(max(s.Spacing, s.took/2), s.SpacingMost))
	if s.Spacing == 0 {
		s.turn = now
	}
}

func (s *State) claimed(now time.Time, c Claimed) {
	s.asked -= c.Asked
	s.inFlight += c.Got
	s.bytes += c.Bytes
	if s.queued == 0 {
		s.moved = now
	}
	s.queued += c.Got
	s.took, s.roomSince = c.Took, time.Time{}
	if c.Named {
		s.named--
		if c.Failed { // whoever looks for whatever is due meets the same, and slows down
			s.hint(now, Hinted{})
		}
		return
	}
	s.wide--
	if c.Failed {
		s.failures++
		s.resting = now.Add(s.backoff())
		s.hinted, s.any, s.names = true, true, nil // what was due still is
		return
	}
	s.failures, s.got, s.jitter = 0, c.Got, s.draw()
	if s.backlogged = c.Got >= c.Asked; !s.backlogged {
		s.rested = now
	}
}

// backoff returns how long to rest after a failed claim: half of the bound, and a random part of the other half.
func (s *State) backoff() time.Duration {
	bound := s.Backoff
	for i := 1; i < s.failures && bound < s.BackoffMost; i++ {
		bound *= 2
	}
	bound = min(bound, s.BackoffMost)
	return bound/2 + s.upTo(bound/2)
}

func (s *State) looked(now time.Time, l Looked) {
	s.looking = false
	if l.Failed { // a claim fails as well, and its failure is told and slowed down
		s.hint(now, Hinted{})
		return
	}
	good := s.spread(s.Seldom)
	if !l.Whole {
		good = s.Poll
	}
	s.due.until = now.Add(good)
	for _, at := range l.Due {
		s.due.add(at)
	}
}

// spread returns a duration from three quarters to five quarters of d: lanes do not look at the same instants.
func (s *State) spread(d time.Duration) time.Duration { return d - d/4 + s.upTo(d/2) }

func (s *State) loaded(now time.Time, l Loaded) {
	if s.busy == l.Busy && s.hearing == l.Hearing {
		return
	}
	s.busy, s.hearing = l.Busy, l.Hearing
	s.due.until = now // what came while nobody listened is on no list
}
