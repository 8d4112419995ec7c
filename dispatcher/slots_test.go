package dispatcher_test

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

// ordered notes what each claim asked for, and how many claims were under way at once.
type ordered struct {
	dispatcher.Store
	mu     sync.Mutex
	orders []outbox.ClaimOrder
	sent   []time.Time
	takes  time.Duration // until a claim is made; 0: 5 ms
	claims int
	most   int
}

func (o *ordered) Claim(ctx context.Context, order outbox.ClaimOrder) ([]*outbox.Intent, error) {
	o.mu.Lock()
	o.orders = append(o.orders, order)
	o.sent = append(o.sent, time.Now())
	o.claims++
	o.most = max(o.most, o.claims)
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		o.claims--
		o.mu.Unlock()
	}()
	<-time.After(cmp.Or(o.takes, 5*time.Millisecond))
	return o.Store.Claim(ctx, order)
}

func (o *ordered) taken() []outbox.ClaimOrder {
	o.mu.Lock()
	defer o.mu.Unlock()
	orders := o.orders
	o.orders = nil
	return orders
}

// A lane with nothing else to do claims what the hint names, and nothing else.
func TestARestingLaneClaimsWhatAHintNames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, p := newBox(), &provider{}
		store := &ordered{Store: box}
		r := start(t, dispatcher.Config{Store: store, Upcoming: &planner{box: box}, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
		r.Watched(true)
		<-time.After(5 * time.Second)
		store.taken()

		id := outbox.NewStringID(box.insert(t, "sms", nil))
		r.Notify(outbox.Hint{Kind: "sms", ID: id})
		<-time.After(100 * time.Millisecond)
		if orders := store.taken(); len(orders) != 1 || !slices.Equal(orders[0].Only, []outbox.ID{id}) {
			t.Errorf("a hint for %v made the claims %+v", id, orders)
		}
		box.want(t, "done", 1)

		for range 20 { // a burst
			r.Notify(outbox.Hint{Kind: "sms", ID: outbox.NewStringID(box.insert(t, "sms", nil))})
		}
		<-time.After(500 * time.Millisecond)
		if orders := store.taken(); len(orders) > 6 {
			t.Errorf("20 hints at once made %d claims", len(orders))
		}
		box.want(t, "done", 21)

		// What falls due by itself while a hint is followed is not forgotten.
		due := time.Now().Add(time.Second)
		box.insert(t, "sms", map[string]any{"due_at": due})
		r.Notify(outbox.Hint{Kind: "sms", Due: due})
		<-time.After(time.Second - 3*time.Millisecond)
		r.Notify(outbox.Hint{Kind: "sms", ID: outbox.NewStringID(box.insert(t, "sms", nil))})
		<-time.After(200 * time.Millisecond)
		box.want(t, "done", 23)
		r.end(t)
	})
}

// A lane with a backlog and quick calls has two claims under way, and claims ahead; no more calls than slots are in
// flight.
func TestAQuickLaneClaimsAhead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: takes(2 * time.Millisecond)}
		store := &ordered{Store: box}
		const n = 4_000
		for range n {
			box.insert(t, "sms", nil)
		}
		l := laneOf("sms", p)
		l.Concurrency = 64
		r := start(t, dispatcher.Config{Store: store, Lanes: []dispatcher.Lane{l}})
		<-time.After(20 * time.Second)
		r.end(t)
		box.want(t, "done", n)
		if store.most != 2 {
			t.Errorf("%d claims were under way at once, want 2", store.most)
		}
		if p.peak() > 64 {
			t.Errorf("%d calls in flight with 64 slots", p.peak())
		}
		full := 0
		for _, order := range store.taken() {
			if order.Limit == 64 {
				full++
			}
			if order.Limit > 64 {
				t.Fatalf("a claim of %d with 64 slots", order.Limit)
			}
		}
		if full < n/64/2 {
			t.Errorf("only %d claims asked for as many as there are slots", full)
		}
	})
}

// Between an idle lane and one with a backlog, a second claim is sent while the first is under way, and not at the same
// time: it would find the same.
func TestABusyLaneWithoutABacklogTakesTurns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, p := newBox(), &provider{}
		box.slowClaim.Store(int64(100 * time.Millisecond))
		store := &ordered{Store: box, takes: time.Nanosecond}
		l := laneOf("sms", p)
		l.Concurrency = 256
		r := start(t, dispatcher.Config{Store: store, Lanes: []dispatcher.Lane{l}, Logger: slog.New(slog.DiscardHandler)})
		<-time.After(2 * time.Second)
		began, inserted := time.Now(), make(map[string]time.Time)
		for range 400 {
			for range 10 {
				inserted[box.insert(t, "sms", nil)] = time.Now()
			}
			<-time.After(10 * time.Millisecond)
		}
		<-time.After(time.Second)
		r.end(t)
		box.want(t, "done", len(inserted))
		if store.most != 2 {
			t.Errorf("%d claims were under way at once, want 2", store.most)
		}
		for _, c := range p.made() {
			came := inserted[c.id]
			if wait := c.at.Sub(came); came.Sub(began) > 3000*time.Millisecond && wait > 175*time.Millisecond { // by then it is busy
				t.Fatalf("%s was called after %v", c.id, wait)
			}
		}
		busy := began.Add(3 * time.Second)
		for i, sent := range store.sent[1:] {
			if apart := sent.Sub(store.sent[i]); sent.After(busy) && sent.Before(busy.Add(500*time.Millisecond)) && apart < 25*time.Millisecond {
				t.Errorf("two claims were sent %v apart", apart)
			}
		}
	})
}

// A claim that took long, by a failover say, does not make the next ones late.
func TestASlowClaimDelaysNoOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, p := newBox(), &provider{}
		l := laneOf("sms", p)
		l.Concurrency = 2048
		inserted := make(map[string]time.Time)
		insert := func(d time.Duration) { // 600 a second: the lane is busy, and has no backlog
			for range d / (20 * time.Millisecond) {
				for range 12 {
					inserted[box.insert(t, "sms", nil)] = time.Now()
				}
				<-time.After(20 * time.Millisecond)
			}
		}
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{l}, Logger: slog.New(slog.DiscardHandler)})
		insert(3 * time.Second)
		box.slowClaim.Store(int64(1500 * time.Millisecond))
		insert(100 * time.Millisecond)
		box.slowClaim.Store(0)
		insert(1400 * time.Millisecond)
		after := time.Now()
		insert(2 * time.Second)
		<-time.After(2 * time.Second)
		r.end(t)
		box.want(t, "done", len(inserted))
		for _, c := range p.made() {
			if came := inserted[c.id]; came.After(after) && c.at.Sub(came) > 300*time.Millisecond {
				t.Fatalf("%s was called %v after it came", c.id, c.at.Sub(came))
			}
		}
	})
}

// When calls are not quick any more, what was claimed ahead is given back within seconds, unsent and without an
// attempt.
func TestWhatWasClaimedAheadIsGivenBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		var hang atomic.Bool
		p := &provider{deliver: func(ctx context.Context, in *outbox.Intent, n int) error {
			if hang.Load() {
				return takes(9*time.Second)(ctx, in, n)
			}
			return takes(2*time.Millisecond)(ctx, in, n)
		}}
		for range 4_000 {
			box.insert(t, "sms", nil)
		}
		l := laneOf("sms", p)
		l.Concurrency = 64
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{l}})
		<-time.After(50 * time.Millisecond)
		hang.Store(true)
		<-time.After(4 * time.Second)
		leased := 0
		for _, doc := range box.mem.All() {
			if doc["status"] == "leased" {
				leased++
			}
		}
		if leased != 64 {
			t.Errorf("%d intents are leased 4s after calls began to hang, want the 64 in the slots", leased)
		}
		hang.Store(false)
		<-time.After(30 * time.Second)
		r.end(t)
		box.want(t, "done", 4_000)
		for _, doc := range box.mem.All() {
			if doc["attempts"] != int64(1) {
				t.Fatalf("an intent took %v attempts: %v", doc["attempts"], doc)
			}
		}
	})
}

// late is a store whose clock, as the process knows it, is behind.
type late struct {
	dispatcher.Store
	by time.Duration
}

func (l late) Now() time.Time { return l.Store.Now().Add(-l.by) }

// The database's time as the process knows it may be behind by as long as an answer took. What may have expired is not
// sent.
func TestNothingIsSentThatMayHaveExpired(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, p := newBox(), &provider{}
		box.slowClaim.Store(int64(2 * time.Second))
		expired := box.insert(t, "sms", map[string]any{"expires_at": time.Now().Add(time.Second)})
		box.insert(t, "sms", map[string]any{"expires_at": time.Now().Add(time.Minute)})
		r := start(t, dispatcher.Config{Store: late{box, 5 * time.Second}, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
		<-time.After(30 * time.Second)
		r.end(t)
		calls := p.made()
		if len(calls) != 1 || strings.Contains(calls[0].id, expired) {
			t.Errorf("the calls are %v, want one, not for %s", calls, expired)
		}
		if doc := box.get(t, expired); doc["status"] != "dead" || doc["dead_reason"] != "expired" {
			t.Errorf("it is %v/%v, want dead/expired", doc["status"], doc["dead_reason"])
		}
	})
}
