package dispatcher_test

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/memory"
)

// newOrders returns a box whose intents may write back to orders, with one order of each given id.
func newOrders(ids ...string) *box {
	mem := memory.New(memory.Options{Rules: outbox.Rules{WriteBack: []string{"orders"}}})
	for _, id := range ids {
		mem.InsertBusiness("orders", map[string]any{"_id": id})
	}
	return &box{faulty: faulty{Store: mem}, mem: mem}
}

func paysFor(order string) map[string]any {
	return map[string]any{"write_back": map[string]any{"collection": "orders", "id": order, "done": map[string]any{"state": "paid"}}}
}

// wantPaid checks that the order is paid, or not yet.
func (b *box) wantPaid(t *testing.T, order string, paid bool) {
	t.Helper()
	if got := b.mem.Business("orders", order)["state"] == "paid"; got != paid {
		t.Errorf("after %v the order %s is paid: %v, want %v", time.Now(), order, got, paid)
	}
}

// A business document that is held for long holds up its own intent alone. When it is free the intent is settled within
// a second, without another call, whatever has become of its lane.
func TestConsequencesThatWaitAreWrittenAtOnce(t *testing.T) {
	for name, during := range map[string]func(*commons){
		"in an open lane":  func(*commons) {},
		"in a paused lane": func(c *commons) { _ = c.change("sms", func(s *outbox.LaneState) { s.Paused = true }) },
		"in a held lane":   func(c *commons) { _ = c.Hold(context.Background(), "sms", outbox.CodeUnauthorized) },
		"in a gated lane": func(c *commons) {
			_ = c.change("sms", func(s *outbox.LaneState) { s.GateUntil = time.Now().Add(time.Hour) })
		},
		"with a dead owner": nil,
	} {
		for _, held := range []time.Duration{200 * time.Millisecond, 30 * time.Second, 4 * time.Minute} {
			t.Run(fmt.Sprint(name, " for ", held), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					box, p, shared := newOrders("a", "b"), &provider{}, &commons{}
					release := box.mem.Hold("orders", "a")
					id := box.insert(t, "sms", paysFor("a"))
					box.insert(t, "sms", paysFor("b"))
					cfg := dispatcher.Config{Store: box, Shared: shared, Lanes: []dispatcher.Lane{laneOf("sms", p)}}
					r := start(t, cfg)
					<-time.After(100 * time.Millisecond)
					box.wantPaid(t, "b", true)
					within := 1100 * time.Millisecond
					if during == nil {
						r.end(t)
						cfg.Worker, cfg.Lanes = "w2", []dispatcher.Lane{laneOf("email", &provider{})} // which does not serve it
						r = start(t, cfg)
						within = 8 * time.Second // it has to find it
					} else {
						during(shared)
						r.Notify(outbox.Hint{Shared: true})
					}
					<-time.After(held)
					if doc := box.get(t, id); doc["status"] == "done" || doc["outcome"] == nil {
						t.Errorf("%v, want its outcome recorded", doc)
					}
					release()
					<-time.After(within)
					box.wantPaid(t, "a", true)
					if n := len(p.made()); n != 2 {
						t.Errorf("%d calls for 2 intents", n)
					}
					r.end(t)
					box.want(t, "done", 2)
				})
			})
		}
	}
}

// An intent that somebody holds is settled when it is let go, and none of its neighbours waits for it.
func TestABusyIntentIsSettledBesideTheOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, p := newBox(), &provider{deliver: takes(time.Second)}
		id := box.insert(t, "sms", nil)
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
		<-time.After(500 * time.Millisecond)
		release := box.mem.HoldIntent(id)
		<-time.After(time.Second)
		for n := range 15 {
			box.insert(t, "sms", nil)
			<-time.After(2500 * time.Millisecond) // a look, at most 1.25 s later, and the call
			count := 0
			for _, doc := range box.mem.All() {
				if doc["status"] == "done" {
					count++
				}
			}
			if count != n+1 {
				t.Fatalf("%d of %d neighbours are done", count, n+1)
			}
		}
		release()
		<-time.After(3 * time.Second)
		r.end(t)
		box.want(t, "done", 16)
		if n := len(p.made()); n != 16 {
			t.Errorf("%d calls for 16 intents", n)
		}
	})
}

// A worker that is told to stop waits for a busy intent until it is told to abort, and then says what it could not
// write.
func TestABusyIntentIsWaitedForUntilAbort(t *testing.T) {
	for _, lets := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			box, p := newBox(), &provider{deliver: takes(time.Second)}
			id := box.insert(t, "sms", nil)
			r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
			<-time.After(500 * time.Millisecond)
			release := box.mem.HoldIntent(id)
			r.stop()
			<-time.After(20 * time.Second)
			select {
			case err := <-r.done:
				t.Fatalf("Run ended with %v before it was told to abort", err)
			default:
			}
			if lets {
				release()
				if err := <-r.done; err != nil {
					t.Errorf("Run: %v", err)
				}
				box.want(t, "done", 1)
				return
			}
			r.abort()
			if err := <-r.done; err == nil {
				t.Error("Run ended without a word about what it could not settle")
			}
		})
	}
}

// slowSettle is a store whose settles of one kind take long.
type slowSettle struct {
	*box
	kind string
	took time.Duration
}

func (s *slowSettle) Settle(ctx context.Context, batch []outbox.Settlement) ([]outbox.Settled, error) {
	for _, settlement := range batch {
		if settlement.Intent.Kind == s.kind {
			<-time.After(s.took)
			break
		}
	}
	return s.box.Settle(ctx, batch)
}

// The database may be slow to settle one lane's outcomes: the other lanes do not wait for them.
func TestLanesSettleByThemselves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		for range 40 {
			box.insert(t, "email", nil)
		}
		r := start(t, dispatcher.Config{Store: &slowSettle{box: box, kind: "email", took: 8 * time.Second},
			Lanes: []dispatcher.Lane{laneOf("email", &provider{}), laneOf("sms", &provider{})}})
		<-time.After(time.Second)
		for range 5 {
			id := box.insert(t, "sms", nil)
			<-time.After(1500 * time.Millisecond)
			if doc := box.get(t, id); doc["status"] != "done" {
				t.Errorf("%v, want it settled beside the slow lane", doc)
			}
		}
		<-time.After(time.Minute)
		r.end(t)
		box.want(t, "done", 45)
	})
}

// An intent that expired after its worker died becomes a dead letter also where its lane is paused, unless the provider
// has to be asked about it.
func TestWhatDiedWithItsWorkerExpiresInAPausedLane(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, shared := newBox(), &commons{}
		_ = shared.change("sms", func(s *outbox.LaneState) { s.Paused = true })
		lost := func(more map[string]any) string {
			fields := map[string]any{"status": "leased", "attempts": int64(1), "first_attempt_at": time.Now().Add(-time.Minute),
				"due_at": time.Now().Add(-time.Second), "expires_at": time.Now().Add(10 * time.Second),
				"lease": map[string]any{"token": "x", "owner": "dead", "at": time.Now().Add(-time.Minute), "reclaimed": false}}
			maps.Copy(fields, more)
			return box.insert(t, "sms", fields)
		}
		ends := []string{lost(nil), lost(map[string]any{"on_ambiguous": "retry"}), lost(map[string]any{"status": "pending", "due_at": time.Now().Add(time.Hour)})}
		asked := lost(map[string]any{"on_ambiguous": "reconcile"})
		r := start(t, dispatcher.Config{Store: box, Shared: shared, Lanes: []dispatcher.Lane{laneOf("sms", &provider{})}})
		<-time.After(time.Minute)
		r.end(t)
		for _, id := range ends {
			if doc := box.get(t, id); doc["status"] != "dead" || doc["dead_reason"] != "ambiguous" {
				t.Errorf("%v, want it dead and ambiguous", doc)
			}
		}
		if doc := box.get(t, asked); doc["status"] != "leased" {
			t.Errorf("%v, want it left to its lane", doc)
		}
	})
}
