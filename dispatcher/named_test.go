package dispatcher_test

import (
	"context"
	"testing"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

// A refusal that names what the intent names, such as a foreign account, says nothing of the lane, however many meet
// it.
func TestARefusalOfWhatAnIntentNamesHoldsNoLane(t *testing.T) {
	for _, named := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			box := newBox()
			p := &provider{deliver: func(context.Context, *outbox.Intent, int) error {
				return &outbox.Failure{Class: outbox.Hold, Code: outbox.CodeForbidden, HTTPStatus: 403, LaneOpen: named}
			}}
			for range 5 {
				box.insert(t, "sms", nil)
			}
			r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: discard})
			<-time.After(5 * time.Second)
			if state := r.Status()[0].State; (state == dispatcher.StateHeld) == named {
				t.Errorf("named: %v: the lane is %s", named, state)
			}
			r.end(t)
		})
	}
}

// Two claims of what hints name are under way at once, and no third. What comes meanwhile is claimed together.
func TestWhatHintsNameIsClaimedBesideWhatIsUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const claiming = 100 * time.Millisecond
		box, p := newBox(), &provider{}
		box.slowClaim.Store(int64(claiming))
		store := &ordered{Store: box, takes: time.Nanosecond}
		r := start(t, dispatcher.Config{
			Store: store, Upcoming: &planner{box: box}, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: discard,
		})
		r.Watched(true)
		time.Sleep(5 * time.Second)
		store.taken()
		inserted := make(map[string]time.Time)
		for range 10 {
			id := box.insert(t, "sms", nil)
			inserted[id] = time.Now()
			r.Notify(outbox.Hint{Kind: "sms", ID: outbox.NewStringID(id)})
			time.Sleep(claiming / 5)
		}
		time.Sleep(time.Second)
		for _, c := range p.made() {
			if wait := c.at.Sub(inserted[c.id]); wait > 2*claiming {
				t.Errorf("%s was called %v after it came", c.id, wait)
			}
		}
		named := 0
		for _, order := range store.taken() {
			named = max(named, len(order.Only))
		}
		if store.most != 2 || named < 2 {
			t.Errorf("%d claims at once, of %d at most; want 2, of several", store.most, named)
		}
		r.end(t)
		box.want(t, "done", len(inserted))
	})
}

// A claim of what hints named may fail. Nothing else tells the lane of these intents, so it looks for whatever is due.
func TestWhatHintsNamedIsFoundAfterAFailedClaim(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, p := newBox(), &provider{}
		r := start(t, dispatcher.Config{
			Store: box, Upcoming: &planner{box: box}, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: discard,
		})
		r.Watched(true)
		time.Sleep(5 * time.Second)
		box.down.Store(true)
		came := time.Now()
		r.Notify(outbox.Hint{Kind: "sms", ID: outbox.NewStringID(box.insert(t, "sms", nil))})
		time.Sleep(100 * time.Millisecond)
		box.down.Store(false)
		time.Sleep(3 * time.Second)
		if made := p.made(); len(made) != 1 || made[0].at.Sub(came) > time.Second {
			t.Errorf("%d calls, want one within a second", len(made))
		}
		r.end(t)
	})
}
