package dispatcher

import (
	"testing"
	"time"
	"unsafe"

	"github.com/outboxd/outboxd/outbox"
)

var (
	t0     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	x, y   = outbox.NewStringID("x"), outbox.NewStringID("y")
	at     = func(d time.Duration) time.Time { return t0.Add(d) }
	second = time.Second
)

func TestAHoldNeedsTwoIntentsRefusedInTheSameWay(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(h *hold) bool // its last step's answer
		want bool
	}{
		"one, again and again":  {func(h *hold) bool { h.refuse(x, "a", t0, at(1)); return h.refuse(x, "a", at(2), at(3)) }, false},
		"two":                   {func(h *hold) bool { h.refuse(x, "a", t0, at(1)); return h.refuse(y, "a", at(2), at(3)) }, true},
		"two in different ways": {func(h *hold) bool { h.refuse(x, "a", t0, at(1)); return h.refuse(y, "b", at(2), at(3)) }, false},
		"two, and one passed between": {func(h *hold) bool {
			h.refuse(x, "a", t0, at(1))
			h.pass(at(2))
			return h.refuse(y, "a", at(3), at(4))
		}, false},
		"two, and one passed that was begun before": {func(h *hold) bool {
			h.refuse(x, "a", t0, at(2))
			h.pass(at(1))
			return h.refuse(y, "a", at(3), at(4))
		}, true},
	} {
		var h hold
		if got := c.do(&h); got != c.want || h.on() != c.want {
			t.Errorf("%s: confirmed %v, held %v, want %v", name, got, h.on(), c.want)
		}
	}
}

func TestAHoldProbesAfterASecondDoublingToAMinute(t *testing.T) {
	var h hold
	h.refuse(x, "a", t0, t0)
	h.refuse(y, "a", t0, t0)
	now := t0
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		if got := h.next.Sub(now); got != want*second {
			t.Fatalf("the next probe after %v, want %v", got, want*second)
		}
		h.refuse(x, "a", t0, now) // of the wave: it tells nothing new
		now = h.next
		h.probed(now)
		h.refuse(y, "a", now, now)
	}
	if h.pass(t0) || !h.on() {
		t.Error("a call begun before the hold ended it")
	}
	if !h.pass(now) || h.on() {
		t.Error("a probe that passed did not end it")
	}
}

func TestALaneRemembersOnlySoMany(t *testing.T) {
	var h hold
	var s avoided
	id := func(i int) outbox.ID { return outbox.NewObjectID([12]byte{byte(i), byte(i >> 8)}) }
	const n = 3 * mostAvoided
	for i := range n {
		h.refuse(id(i), "a", t0, at(time.Duration(i)))
		s.add(id(i))
	}
	s.add(id(n - 2))
	if len(h.refused) != mostRefused || len(s.ids) != mostAvoided {
		t.Errorf("%d refusals and %d intents are remembered, want %d and %d", len(h.refused), len(s.ids), mostRefused, mostAvoided)
	}
	if s.ids[mostAvoided-1] != id(n-2) || s.ids[mostAvoided-2] != id(n-1) || s.ids[0] != id(n-mostAvoided) {
		t.Error("not the last ones are remembered, each once")
	}
}

func TestARefusalIsTheIntentsOwnOnlyIfOthersPassedSince(t *testing.T) {
	never := time.Time{}
	for _, c := range []struct {
		held            bool
		refused, passed time.Time
		want            bool
	}{
		{false, never, at(2), false}, {false, at(1), never, false}, {false, at(1), at(2), true},
		{false, at(2), at(1), false}, {false, at(1), at(1), false}, {true, at(1), at(2), false},
	} {
		h := hold{}
		if c.held {
			h.begin(t0, "a")
		}
		if got := h.own(c.refused, c.passed); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestAwayAsksOneByOneAndWaitsLonger(t *testing.T) {
	var a away
	a.fail(false, t0, 30*second)
	if !a.on() || a.known() || a.next.After(t0) {
		t.Errorf("after the first failure: %+v, want a probe at once", a)
	}
	for range 7 { // the wave of the first one
		a.fail(false, t0, 30*second)
	}
	if a.known() {
		t.Error("the wave of the first failure counts as probes")
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		a.fail(true, t0, 30*second)
		if got := a.next.Sub(t0); got < want*second || got > want*second*5/4+1 {
			t.Errorf("the next probe after %v, want %v and some jitter", got, want*second)
		}
	}
	if !a.answer() || a.on() || a.answer() {
		t.Error("an answer does not end it, once")
	}
}

func TestWhatCostsNothing(t *testing.T) {
	never := time.Time{}
	for _, c := range []struct {
		on, probe            bool
		unanswered, answered time.Time
		want                 bool
	}{
		{true, true, never, at(1), true}, {true, false, never, at(1), false}, {false, true, never, at(1), false},
		{false, false, at(1), never, true}, {false, false, at(2), at(1), true}, {false, false, at(1), at(2), false}, {true, false, at(1), at(2), false},
	} {
		a := away{}
		if c.on {
			a.fail(false, t0, second)
		}
		if got := a.free(c.probe, c.unanswered, c.answered); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestAnIntentIsAloneWithoutAnAnswerIfOthersGotOneSince(t *testing.T) {
	never := time.Time{}
	for _, c := range []struct {
		probes               int
		unanswered, answered time.Time
		want                 bool
	}{
		{0, never, at(1), false}, {0, at(1), never, false}, {0, at(1), at(2), true}, {0, at(2), at(1), false}, {0, at(1), at(1), false},
		{1, at(1), at(2), true}, {2, at(1), at(2), false},
	} {
		var a away
		for range c.probes {
			a.fail(true, t0, second)
		}
		if got := a.own(c.unanswered, c.answered); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestAGateAgreesWithWhatIsShared(t *testing.T) {
	for _, c := range []struct {
		until  time.Duration
		untold int
		shared time.Duration
		want   time.Duration
	}{{10, 0, 20, 20}, {10, 0, 5, 5}, {10, 0, 0, 0}, {10, 1, 20, 20}, {10, 1, 5, 10}, {10, 1, 0, 10}} {
		g := gate{until: at(c.until), untold: c.untold}
		g.agree(at(c.shared))
		if g.until != at(c.want) {
			t.Errorf("%+v: until %v", c, g.until.Sub(t0))
		}
	}
}

// suspended returns the instant as a machine shows it whose monotonic clock stood still for d.
func suspended(t time.Time, d time.Duration) time.Time {
	t = t.Add(d)
	type clock struct { // as package time keeps an instant with a monotonic reading
		wall uint64
		ext  int64
		loc  *time.Location
	}
	(*clock)(unsafe.Pointer(&t)).ext -= int64(d)
	return t
}

// The fence asks both clocks: a machine that was suspended has the monotonic one wrong, one whose time was set the
// other.
func TestTheFenceAsksBothClocks(t *testing.T) {
	sent := time.Now()
	f := fence{sent: sent, within: 10 * second}
	late := suspended(sent.Add(second), time.Minute)
	if got := late.Sub(sent); got != second {
		t.Fatalf("the monotonic clock shows %v, want it to have stood still", got)
	}
	for name, c := range map[string]struct {
		now  time.Time
		want bool
	}{
		"in time":               {sent.Add(9 * second), false},
		"late by both":          {sent.Add(11 * second), true},
		"suspended":             {late, true},
		"the time was set back": {suspended(sent.Add(time.Minute), -time.Minute), true},
	} {
		if got := f.passed(c.now); got != c.want {
			t.Errorf("%s: passed %v, want %v", name, got, c.want)
		}
	}
}
