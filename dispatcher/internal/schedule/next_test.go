package schedule_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/outboxd/outboxd/dispatcher/internal/schedule"
	"github.com/outboxd/outboxd/outbox"
)

var t0 = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

const ms = time.Millisecond

// steps are what happens to a lane, each at an instant after t0.
type steps []step

type step struct {
	at time.Duration
	e  schedule.Event
}

var (
	first  = outbox.NewStringID("first")
	second = outbox.NewStringID("second")
	calm   = step{0, schedule.Loaded{Hearing: true}}
	busy   = step{0, schedule.Loaded{Busy: true}}
	alone  = step{0, schedule.Loaded{}} // nobody gives hints
	asked  = step{0, schedule.Looked{Whole: true}}
)

func sent(at time.Duration, n int) step {
	return step{at, schedule.Sent{Claim: schedule.Claim{N: n}}}
}

func claimed(at time.Duration, asked, got int) step {
	return step{at, schedule.Claimed{Asked: asked, Got: got}}
}

// what says in a word what an action is.
func what(a schedule.Action) string {
	switch {
	case a.GiveBack:
		return "give back"
	case a.Claim.Only != nil:
		return "claim by name"
	case a.Claim.N > 0:
		return "claim"
	case a.Look:
		return "look"
	}
	return "wait"
}

func TestNext(t *testing.T) {
	const slots = 10
	open := schedule.Door{}
	for name, c := range map[string]struct {
		slots int // 0: 10
		door  schedule.Door
		steps steps
		at    time.Duration
		want  string
		n     int           // of the claim
		wake  time.Duration // after t0; 0: only an event wakes it
	}{
		"a lane that starts claims at once":                {0, open, nil, 0, "claim", slots, 0},
		"a claim under way is the only one":                {0, open, steps{sent(0, slots)}, 0, "wait", 0, 0},
		"a claim that got all is followed at once by one":  {0, open, steps{busy, sent(0, 4), claimed(1*ms, 4, 4)}, 7 * ms, "claim", 6, 0},
		"after a moment in which more slots may be free":   {0, open, steps{busy, sent(0, 4), claimed(1*ms, 4, 4)}, 2 * ms, "wait", 0, 6 * ms},
		"and no moment where three quarters are":           {0, open, steps{busy, sent(0, 3), claimed(1*ms, 3, 3)}, 1 * ms, "claim", 7, 0},
		"a lane without a free slot waits for one":         {0, open, steps{sent(0, slots), claimed(1*ms, slots, slots)}, 2 * ms, "wait", 0, 1001 * ms},
		"what waits for a slot for a second is given back": {0, open, steps{sent(0, slots), claimed(1*ms, slots, slots)}, 1001 * ms, "give back", 0, 0},
		"what a slot has taken waits no more": {0, open, steps{
			sent(0, slots), claimed(1*ms, slots, slots), {1 * ms, schedule.Started{N: slots}},
		}, time.Hour, "wait", 0, 0},
		"a busy lane that found some looks again after a moment": {0, open, steps{busy, sent(0, slots), claimed(1*ms, slots, 4)}, 2 * ms, "wait", 0, 25 * ms},
		"and then claims what came since":                        {0, open, steps{busy, sent(0, slots), claimed(1*ms, slots, 4)}, 25 * ms, "claim", 6, 0},
		"a lane without hints looks every second":                {0, open, steps{alone, sent(0, slots), claimed(0, slots, 0)}, 1250 * ms, "claim", slots, 0},
		"and not much sooner":                                    {0, open, steps{alone, sent(0, slots), claimed(0, slots, 0)}, 749 * ms, "wait", 0, -1},
		"a lane that hears of hints asks what becomes due":       {0, open, steps{calm, sent(0, slots), claimed(0, slots, 0)}, 0, "look", 0, 0},
		"once":                     {0, open, steps{calm, sent(0, slots), claimed(0, slots, 0), {0, schedule.Looking{}}}, 0, "wait", 0, 0},
		"and relies on the answer": {0, open, steps{calm, asked, sent(0, slots), claimed(0, slots, 0)}, 11 * time.Second, "wait", 0, -1},
		"for a while":              {0, open, steps{calm, asked, sent(0, slots), claimed(0, slots, 0)}, 19 * time.Second, "look", 0, 0},
		"an answer that is not whole is good for a second": {0, open, steps{calm, sent(0, slots), claimed(0, slots, 0), {0, schedule.Looked{}}}, time.Second, "look", 0, 0},
		"an answer that failed makes it claim":             {0, open, steps{calm, sent(0, slots), claimed(0, slots, 0), {0, schedule.Looked{Failed: true}}}, 0, "claim", slots, 0},
		"what the answer named is waited for": {0, open, steps{
			calm, sent(0, slots), claimed(0, slots, 0), {0, schedule.Looked{Whole: true, Due: []time.Time{t0.Add(3 * time.Second)}}},
		}, time.Second, "wait", 0, 3 * time.Second},
		"and claimed in time": {0, open, steps{
			calm, sent(0, slots), claimed(0, slots, 0), {0, schedule.Looked{Whole: true, Due: []time.Time{t0.Add(3 * time.Second)}}},
		}, 3 * time.Second, "claim", slots, 0},
		"and what is planned as well": {0, open, steps{
			calm, asked, sent(0, slots), claimed(0, slots, 0), {0, schedule.Hinted{Due: t0.Add(2 * time.Second)}},
		}, 2 * time.Second, "claim", slots, 0},
		"what was heard of while nobody listened is asked for": {0, open, steps{
			calm, asked, sent(0, slots), claimed(0, slots, 0), busy, calm,
		}, 0, "look", 0, 0},
		"a hint is claimed by name": {0, open, steps{
			calm, asked, sent(0, slots), claimed(0, slots, 0), {5 * ms, schedule.Hinted{ID: first}},
		}, 5 * ms, "claim by name", 1, 0},
		"two together": {0, open, steps{
			calm, asked, sent(0, slots), claimed(0, slots, 0), {5 * ms, schedule.Hinted{ID: first}}, {5 * ms, schedule.Hinted{ID: second}},
		}, 5 * ms, "claim by name", 2, 0},
		"a hint while names are claimed waits for others": {0, open, steps{
			calm, asked, sent(0, slots), claimed(0, slots, 0), {5 * ms, schedule.Hinted{ID: first}},
			{5 * ms, schedule.Sent{Claim: schedule.Claim{N: 1, Only: []outbox.ID{first}}}}, {6 * ms, schedule.Hinted{ID: second}},
		}, 6 * ms, "wait", 0, 7 * ms},
		"a hint that names nothing makes it look": {0, open, steps{
			calm, asked, sent(0, slots), claimed(0, slots, 0), {5 * ms, schedule.Hinted{}},
		}, 5 * ms, "claim", slots, 0},
		"and so does one beside it": {0, open, steps{
			calm, asked, sent(0, slots), claimed(0, slots, 0), {5 * ms, schedule.Hinted{}}, {5 * ms, schedule.Hinted{ID: first}},
		}, 5 * ms, "claim", slots, 0},
		"and so do names for which there is no room": {0, open, steps{
			calm, asked, sent(0, 9), claimed(0, 9, 8), sent(0, 2), claimed(0, 2, 1),
			{5 * ms, schedule.Hinted{ID: first}}, {5 * ms, schedule.Hinted{ID: second}},
		}, 5 * ms, "claim", 1, 0},
		"and so do hints that were lost": {0, open, steps{
			calm, asked, sent(0, slots), claimed(0, slots, 0), {5 * ms, schedule.Hinted{ID: first, Lost: true}},
		}, 5 * ms, "claim", slots, 0},
		"a claim of names that failed makes it look": {0, open, steps{
			calm, asked, sent(0, slots), claimed(0, slots, 0), {5 * ms, schedule.Hinted{ID: first}},
			{5 * ms, schedule.Sent{Claim: schedule.Claim{N: 1, Only: []outbox.ID{first}}}},
			{6 * ms, schedule.Claimed{Asked: 1, Named: true, Failed: true}},
		}, 6 * ms, "claim", slots, 0},
		"a claim that failed is followed by a rest": {0, open, steps{
			sent(0, slots), {0, schedule.Claimed{Asked: slots, Failed: true}}, {1 * ms, schedule.Hinted{ID: first}},
		}, 124 * ms, "wait", 0, -1},
		"and then by another": {0, open, steps{
			sent(0, slots), {0, schedule.Claimed{Asked: slots, Failed: true}},
		}, 250 * ms, "claim", slots, 0},
		"a paused lane claims nothing":                {0, schedule.Door{Paused: true}, nil, 0, "wait", 0, 0},
		"a shut gate is waited for":                   {0, schedule.Door{Gated: t0.Add(time.Second)}, nil, 0, "wait", 0, time.Second},
		"an open breaker is waited for":               {0, schedule.Door{Open: true, OpenUntil: t0.Add(time.Second)}, nil, 0, "wait", 0, time.Second},
		"and a moment longer where that is over":      {0, schedule.Door{Open: true, OpenUntil: t0}, nil, 0, "wait", 0, ms},
		"a half-open breaker lets few through":        {0, schedule.Door{Half: true, Leave: 2}, nil, 0, "claim", 2, 0},
		"and not more than those":                     {0, schedule.Door{Half: true, Leave: 2}, steps{sent(0, 2)}, 0, "wait", 0, 0},
		"a held lane probes with one":                 {0, schedule.Door{Held: true, ProbeAt: t0}, nil, 0, "claim", 1, 0},
		"when its time has come":                      {0, schedule.Door{Held: true, ProbeAt: t0.Add(ms)}, nil, 0, "wait", 0, ms},
		"and nothing else is under way that can tell": {0, schedule.Door{Away: true, ProbeAt: t0}, steps{sent(0, 1), claimed(0, 1, 1)}, 0, "wait", 0, time.Second},
		"which a look-up cannot": {0, schedule.Door{Away: true, ProbeAt: t0}, steps{
			busy, sent(0, 1), claimed(0, 1, 1), {0, schedule.Started{N: 1}}, {0, schedule.LookUp{N: 1}},
		}, 30 * ms, "claim", 1, 0},
		"a rate allows so many as there are tokens": {0, schedule.Door{Rated: true, Tokens: 2.5, PerSecond: 10}, nil, 0, "claim", 2, 0},
		"and the next when there is one":            {0, schedule.Door{Rated: true, Tokens: 0.5, PerSecond: 10}, nil, 0, "wait", 0, 50 * ms},
		"tokens of a claim under way are not there": {0, schedule.Door{Rated: true, Tokens: 2.5, PerSecond: 10}, steps{{0, schedule.Sent{Claim: schedule.Claim{N: 2, Only: []outbox.ID{first, second}}}}}, 0, "wait", 0, 50 * ms},
		"documents that fill the memory are enough": {0, open, steps{
			sent(0, 2), {0, schedule.Claimed{Asked: 2, Got: 2, Bytes: 32 << 20}}, {0, schedule.Started{N: 2}},
		}, time.Hour, "wait", 0, 0},
		"until one of them is gone": {0, open, steps{
			sent(0, 2), {0, schedule.Claimed{Asked: 2, Got: 2, Bytes: 32 << 20}}, {0, schedule.Started{N: 2}}, {1 * ms, schedule.Ended{Bytes: 16 << 20}},
		}, 10 * ms, "claim", 9, 0},
		"a lane of many slots claims half of them in a backlog": {100, open, steps{busy, sent(0, 4), claimed(0, 4, 4)}, 0, "claim", 50, 0},
		"and the other half beside that":                        {100, open, steps{busy, sent(0, 4), claimed(0, 4, 4), sent(0, 50)}, 0, "claim", 46, 0},
		"and no third":                                          {100, open, steps{busy, sent(0, 4), claimed(0, 4, 4), sent(0, 40), sent(0, 15)}, 0, "wait", 0, time.Second},
		"nor a second where something is wrong with the lane":   {100, schedule.Door{Half: true, Leave: 90}, steps{busy, sent(0, 4), claimed(0, 4, 4), sent(0, 50)}, 0, "wait", 0, time.Second},
		"nor where a rate is the bound":                         {100, schedule.Door{Rated: true, Tokens: 99, PerSecond: 1}, steps{busy, sent(0, 4), claimed(0, 4, 4), sent(0, 50)}, 0, "wait", 0, time.Second},
		"a claim that a failover made long spaces the next no further": {0, open, steps{
			busy, sent(0, 2), {10 * time.Second, schedule.Claimed{Asked: 2, Got: 1, Took: 10 * time.Second}},
			sent(10*time.Second, 2), claimed(10*time.Second, 2, 1),
		}, 10*time.Second + 250*ms, "claim", 8, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if c.slots == 0 {
				c.slots = slots
			}
			s := schedule.New(schedule.Default(), c.slots, true, 1, t0)
			for _, step := range c.steps {
				s.Apply(t0.Add(step.at), step.e)
			}
			s.Door = c.door
			before := *s
			a := s.Next(t0.Add(c.at))
			if what(a) != c.want || a.Claim.N != c.n {
				t.Errorf("%s %d, want %s %d", what(a), a.Claim.N, c.want, c.n)
			}
			var wake time.Duration
			if !a.Wake.IsZero() {
				wake = a.Wake.Sub(t0)
			}
			if c.wake >= 0 && wake != c.wake || c.wake < 0 && wake <= c.at {
				t.Errorf("wakes at %v, want %v", wake, c.wake)
			}
			if !reflect.DeepEqual(before, *s) {
				t.Error("Next has changed the state")
			}
		})
	}
}

// A lane whose calls are quick claims beyond its slots what it carries out in a moment, and stops when they are not.
func TestAQuickLaneClaimsAhead(t *testing.T) {
	s := schedule.New(schedule.Default(), 100, true, 1, t0)
	s.Apply(t0, busy.e)
	now := t0
	for range 20 { // 1,000 calls a second
		now = now.Add(100 * ms)
		s.Apply(now, schedule.Sent{Claim: schedule.Claim{N: 100}})
		s.Apply(now, schedule.Claimed{Asked: 100, Got: 100})
		s.Apply(now, schedule.Started{N: 100})
		for range 100 {
			s.Apply(now, schedule.Ended{})
		}
	}
	now = now.Add(100 * ms)
	s.Apply(now, schedule.Sent{Claim: schedule.Claim{N: 100}})
	s.Apply(now, schedule.Claimed{Asked: 100, Got: 100})
	if a := s.Next(now); a.Claim.N < 80 || a.Claim.N > 100 {
		t.Errorf("no slot is free, and 1,000 calls end in a second: a claim of %d, want about 100", a.Claim.N)
	}
	now = now.Add(2 * time.Second)
	s.Apply(now, schedule.Started{N: 0})
	if a := s.Next(now); a.Claim.N > 5 {
		t.Errorf("no call has ended for 2 s: a claim of %d, want hardly any", a.Claim.N)
	}
}

// The waits after failures double up to their bound, and one success ends the row.
func TestFailuresAreFollowedByLongerRests(t *testing.T) {
	s, now := schedule.New(schedule.Default(), 10, true, 1, t0), t0
	for n, most := range []time.Duration{250 * ms, 500 * ms, time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second} {
		s.Apply(now, schedule.Sent{Claim: schedule.Claim{N: 1}})
		s.Apply(now, schedule.Claimed{Asked: 1, Failed: true})
		a := s.Next(now)
		if d := a.Wake.Sub(now); d < most/2 || d > most {
			t.Errorf("after failure %d: rests for %v, want %v to %v", n+1, d, most/2, most)
		}
		now = a.Wake
	}
	if n := s.Failures(); n != 7 {
		t.Errorf("%d failures, want 7", n)
	}
	s.Apply(now, schedule.Sent{Claim: schedule.Claim{N: 1}})
	s.Apply(now, schedule.Claimed{Asked: 1})
	if s.Failures() != 0 {
		t.Error("a claim that works ends no row of failures")
	}
}

// Of very many instants the soonest are kept, and the rest is asked for in time.
func TestTooManyInstantsAreAskedForAgain(t *testing.T) {
	s := schedule.New(schedule.Default(), 10, true, 1, t0)
	for _, e := range []schedule.Event{calm.e, schedule.Sent{Claim: schedule.Claim{N: 1}}, schedule.Claimed{Asked: 1}} {
		s.Apply(t0, e)
	}
	var due []time.Time
	for i := range 1000 {
		due = append(due, t0.Add(time.Second+time.Duration(i)*10*ms))
	}
	s.Apply(t0, schedule.Looked{Whole: true, Due: due})
	now := t0
	for range 2 * len(due) {
		a := s.Next(now)
		switch what(a) {
		case "claim":
			s.Apply(now, schedule.Sent{Claim: a.Claim})
			s.Apply(now, schedule.Claimed{Asked: a.Claim.N})
		case "look":
			if now.Before(due[200]) || now.After(due[256]) {
				t.Errorf("asks again %v after the first of them", now.Sub(due[0]))
			}
			return
		default:
			now = a.Wake
		}
	}
	t.Error("never asks again")
}
