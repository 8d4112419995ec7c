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
