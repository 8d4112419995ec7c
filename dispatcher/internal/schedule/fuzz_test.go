package schedule_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/outboxd/outboxd/dispatcher/internal/schedule"
	"github.com/outboxd/outboxd/outbox"
)

// owner drives a state as a lane does, with what a fuzzer makes happen.
type owner struct {
	t       *testing.T
	state   *schedule.State
	now     time.Time
	slots   int
	claims  []schedule.Claim
	queued  int
	running int
	looking bool
	acted   int // claims and looks
}

func (o *owner) apply(e schedule.Event) { o.state.Apply(o.now, e) }

// act does what the state calls for, and checks what must hold of it.
func (o *owner) act() (wake time.Time) {
	for range 100 {
		before := *o.state
		a := o.state.Next(o.now)
		if !reflect.DeepEqual(before, *o.state) {
			o.t.Fatal("Next has changed the state")
		}
		switch {
		case a.GiveBack:
			if o.queued == 0 {
				o.t.Fatal("gives back what is not there")
			}
			o.apply(schedule.Started{N: o.queued})
			for range o.queued {
				o.apply(schedule.Ended{Late: true})
			}
			o.queued = 0
		case a.Claim.N > 0:
			if a.Claim.Only != nil && len(a.Claim.Only) != a.Claim.N {
				o.t.Fatalf("claims %d by %d names", a.Claim.N, len(a.Claim.Only))
			}
			o.claims = append(o.claims, a.Claim)
			o.acted++
			o.apply(schedule.Sent{Claim: a.Claim})
			o.bound()
		case a.Look:
			if o.looking {
				o.t.Fatal("looks twice at once")
			}
			o.looking = true
			o.acted++
			o.apply(schedule.Looking{})
		default:
			if !a.Wake.IsZero() && !a.Wake.After(o.now) {
				o.t.Fatalf("wants to be woken at %v, which is now or past", a.Wake)
			}
			return a.Wake
		}
	}
	o.t.Fatal("acts a hundred times at one instant")
	return wake
}

// bound checks that the lane never has more than it has room for.
func (o *owner) bound() {
	n := o.state.InFlight()
	for _, c := range o.claims {
		n += c.N
	}
	most := o.slots
	if o.slots >= o.state.PairedFrom {
		most = 2 * o.slots
	}
	if n > most {
		o.t.Fatalf("%d claimed and asked for, with %d slots", n, o.slots)
	}
	if len(o.claims) > 2+o.state.NamedClaims {
		o.t.Fatalf("%d claims at once", len(o.claims))
	}
}

// step makes one thing happen.
func (o *owner) step(op, arg byte) {
	switch op % 12 {
	case 0:
		o.now = o.now.Add(time.Duration(arg) * 7 * time.Millisecond)
	case 1:
		o.apply(schedule.Hinted{ID: outbox.NewStringID(string(rune('a' + arg%8)))})
	case 2:
		o.apply(schedule.Hinted{Due: o.now.Add(time.Duration(arg) * 50 * time.Millisecond)})
	case 3:
		o.apply(schedule.Hinted{Lost: arg%2 == 0})
	case 4:
		if len(o.claims) == 0 {
			return
		}
		c := o.claims[0]
		o.claims = o.claims[1:]
		got := min(c.N, int(arg)/2)
		failed := arg%16 == 1
		if failed {
			got = 0
		}
		o.queued += got
		o.apply(schedule.Claimed{Asked: c.N, Got: got, Named: c.Only != nil, Failed: failed, Took: time.Duration(arg) * time.Millisecond})
	case 5:
		if n := min(o.queued, o.slots-o.running); n > 0 {
			o.queued, o.running = o.queued-n, o.running+n
			o.apply(schedule.Started{N: n})
		}
	case 6:
		for range min(int(arg), o.running) {
			o.running--
			o.apply(schedule.Ended{})
		}
	case 7:
		if o.looking {
			o.looking = false
			o.apply(schedule.Looked{Whole: arg%2 == 0, Failed: arg%8 == 7, Due: []time.Time{o.now.Add(time.Duration(arg) * 60 * time.Millisecond)}})
		}
	case 8:
		o.apply(schedule.Loaded{Busy: arg%2 == 0, Hearing: arg%4 < 2})
	case 9:
		o.apply(schedule.Peered{Live: 1 + int(arg%5)})
	case 10:
		o.state.Door = schedule.Door{
			Paused: arg%16 == 1, Held: arg%16 == 2, Away: arg%16 == 3, ProbeAt: o.now.Add(time.Duration(arg) * time.Millisecond),
			Open: arg%16 == 4, OpenUntil: o.now.Add(time.Duration(arg) * time.Millisecond), Half: arg%16 == 5, Leave: int(arg % 7),
			Rated: arg%16 == 6, Tokens: float64(arg) / 10, PerSecond: 5,
		}
		if arg%16 == 7 {
			o.state.Door.Gated = o.now.Add(time.Duration(arg) * time.Millisecond)
		}
	default:
		o.state.Door = schedule.Door{}
	}
}

// settle answers everything that is under way, and opens the door.
func (o *owner) settle() {
	o.state.Door = schedule.Door{}
	for len(o.claims) > 0 {
		o.step(4, 0)
	}
	o.looking = false
	o.apply(schedule.Looked{Whole: true})
	for o.queued+o.running > 0 {
		o.step(5, 0)
		o.step(6, 255)
	}
}

// FuzzNext makes anything happen to a lane in any order. It never claims more than it has room for, never asks to be
// woken in the past, and whatever has happened: once nothing is under way and nothing stands in its way, it claims
// within a moment what is due or hinted, and claims or looks within 20 s in any case.
func FuzzNext(f *testing.F) {
	f.Add(uint8(10), []byte{8, 1, 0, 1, 4, 0, 1, 3, 0, 2, 4, 9})
	f.Add(uint8(200), []byte{8, 0, 4, 255, 5, 0, 4, 255, 6, 200, 0, 100, 10, 2, 0, 9, 11, 0})
	f.Add(uint8(1), []byte{10, 5, 4, 1, 0, 200, 3, 0, 4, 17, 0, 200})
	f.Fuzz(func(t *testing.T, slots uint8, script []byte) {
		o := &owner{t: t, now: t0, slots: max(1, int(slots))}
		o.state = schedule.New(schedule.Default(), o.slots, true, 7, t0)
		o.act()
		for i := 0; i+1 < len(script) && i < 400; i += 2 {
			o.step(script[i], script[i+1])
			o.act()
		}
		o.settle()
		o.apply(schedule.Hinted{})
		o.within(6*time.Second, "claims nothing after a hint") // a rest after failures is 5 s at most
		o.settle()
		o.within(20*time.Second, "neither claims nor looks")
	})
}

// within follows the lane until it has claimed or looked, which has to be soon.
func (o *owner) within(d time.Duration, otherwise string) {
	end := o.now.Add(d)
	for before := o.acted; o.acted == before; {
		wake := o.act()
		if o.acted > before {
			return
		}
		if wake.IsZero() || wake.After(end) {
			o.t.Fatalf("%s within %v: it waits until %v", otherwise, d, wake)
		}
		o.now = wake
	}
}

// Whatever is planned, a lane with room for it that nothing keeps from claiming does not sleep beyond it.
func FuzzNoSleepBeyondADueInstant(f *testing.F) {
	f.Add([]byte{8, 1, 4, 0, 7, 0}, uint16(300))
	f.Add([]byte{8, 0, 4, 9, 5, 1, 6, 255}, uint16(3000))
	f.Fuzz(func(t *testing.T, script []byte, in uint16) {
		o := &owner{t: t, now: t0, slots: 20}
		o.state = schedule.New(schedule.Default(), o.slots, true, 7, t0)
		o.act()
		for i := 0; i+1 < len(script) && i < 200; i += 2 {
			o.step(script[i], script[i+1])
			o.act()
		}
		o.settle()
		o.act()
		o.settle()
		due := o.now.Add(time.Duration(in) * time.Millisecond)
		o.apply(schedule.Hinted{Due: due})
		const slack = 5*time.Second + 250*time.Millisecond // after failed claims, or between those of a busy lane
		for range 10_000 {
			claims := len(o.claims)
			o.act()
			if len(o.claims) > claims && !o.now.Before(due) {
				return
			}
			o.settle()
			wake := o.act()
			if len(o.claims) > 0 {
				if !o.now.Before(due) {
					return
				}
				o.settle()
				continue
			}
			if o.looking {
				o.settle()
				continue
			}
			if wake.IsZero() || wake.After(due.Add(slack)) {
				t.Fatalf("sleeps until %v, with something due at %v", wake, due)
			}
			o.now = wake
		}
		t.Fatal("never claims what is due")
	})
}
