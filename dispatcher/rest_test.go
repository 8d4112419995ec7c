package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

// planner tells what becomes due in a box, and counts how often it is asked.
type planner struct {
	box   *box
	asked atomic.Int64
	most  int // instants in one answer; 0: all
}

func (p *planner) Upcoming(_ context.Context, kind string, within time.Duration) (due []time.Time, whole bool, _ error) {
	p.asked.Add(1)
	for _, doc := range p.box.mem.All() {
		at, ok := doc["due_at"].(time.Time)
		if ok && doc["kind"] == kind && at.Before(time.Now().Add(within)) {
			due = append(due, at)
		}
	}
	slices.SortFunc(due, time.Time.Compare)
	if p.most > 0 && len(due) >= p.most {
		return due[len(due)-p.most:], false, nil // not even the soonest
	}
	return due, true, nil
}

// listened starts a dispatcher to which hints come, and waits until it rests.
func listened(t *testing.T, box *box, p *planner, lanes ...dispatcher.Lane) *running {
	t.Helper()
	r := start(t, dispatcher.Config{Store: box, Upcoming: p, Lanes: lanes})
	r.Watched(true)
	<-time.After(time.Second)
	synctest.Wait()
	return r
}

func TestAListeningLaneLooksSeldomAndIsInTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, p := newBox(), &provider{}
		plan := &planner{box: box}
		r := listened(t, box, plan, laneOf("sms", p))
		claims := box.claims.Load()
		<-time.After(5 * time.Minute)
		if n := plan.asked.Load(); n < 15 || n > 30 {
			t.Errorf("it looked %d times in 5m, want one look in 15s", n)
		}
		if n := box.claims.Load() - claims; n > 0 {
			t.Errorf("%d claims although nothing was due", n)
		}

		// Found by a look: it was inserted for later, and no hint came.
		due := time.Now().Add(42 * time.Second)
		box.insert(t, "sms", map[string]any{"due_at": due})
		<-time.After(43 * time.Second)
		if calls := p.made(); len(calls) != 1 || calls[0].at.Sub(due) > 10*time.Millisecond || calls[0].at.Before(due) {
			t.Errorf("called at %v, want at %v", calls, due)
		}

		// Told by a hint: it is due before the next look.
		due = time.Now().Add(3 * time.Second)
		box.insert(t, "sms", map[string]any{"due_at": due})
		r.Notify(outbox.Hint{Kind: "sms", Due: due})
		<-time.After(4 * time.Second)
		if calls := p.made(); len(calls) != 2 || calls[1].at.Sub(due) > 10*time.Millisecond || calls[1].at.Before(due) {
			t.Errorf("called at %v, want at %v as well", calls, due)
		}
		r.end(t)
	})
}

func TestALaneThatCannotSeeWhatIsSoonestLooksEachSecond(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, p := newBox(), &provider{}
		soon := time.Now().Add(3 * time.Second)
		for i := range 20 {
			box.insert(t, "sms", map[string]any{"due_at": soon.Add(time.Duration(i) * 100 * time.Millisecond)})
		}
		r := listened(t, box, &planner{box: box, most: 5}, laneOf("sms", p))
		<-time.After(10 * time.Second)
		r.end(t)
		box.want(t, "done", 20)
		if late := p.made()[0].at.Sub(soon); late > 1500*time.Millisecond {
			t.Errorf("the first was called %v late", late)
		}
	})
}

func TestALaneLooksEachSecondAgainWhenHintsEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, p := newBox(), &provider{}
		r := listened(t, box, &planner{box: box}, laneOf("sms", p))
		r.Watched(false)
		<-time.After(2 * time.Second)
		box.insert(t, "sms", nil)
		<-time.After(1300 * time.Millisecond)
		r.end(t)
		box.want(t, "done", 1)
	})
}

func TestListensOnlyWhileCalm(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, p := newBox(), &provider{}
		lane := laneOf("sms", p)
		lane.Concurrency = 64
		r := start(t, dispatcher.Config{Store: box, Upcoming: &planner{box: box}, Lanes: []dispatcher.Lane{lane}})
		var open atomic.Bool
		var opened atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- r.Listen(ctx, func(ctx context.Context) error {
				open.Store(true)
				opened.Add(1)
				r.Watched(true)
				<-ctx.Done()
				open.Store(false)
				return nil
			})
		}()
		<-time.After(2 * time.Second)
		if !open.Load() {
			t.Fatal("a calm worker does not listen")
		}
		const n = 10_000 // at 5,000 a second
		for i := range n {
			box.insert(t, "sms", nil)
			r.Notify(outbox.Hint{Kind: "sms"})
			if i == n-1 && open.Load() {
				t.Error("a worker listens that has been busy for two seconds")
			}
			<-time.After(200 * time.Microsecond)
		}
		if made := len(p.made()); made < n-500 {
			t.Errorf("%d of %d calls were made by the time the last was due", made, n)
		}
		<-time.After(2 * time.Second)
		if !open.Load() || opened.Load() != 2 {
			t.Errorf("listening: %v, after %d times, want it again", open.Load(), opened.Load())
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		r.end(t)
	})
}

func TestListenReturnsWhatEndedIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", &provider{})}})
		refused := errors.New("refused")
		if err := r.Listen(t.Context(), func(context.Context) error { return refused }); !errors.Is(err, refused) {
			t.Errorf("Listen: %v", err)
		}
		r.end(t)
	})
}

// timed notes when claims come.
type timed struct {
	dispatcher.Store
	mu sync.Mutex
	at map[time.Time]bool
}

func (c *timed) Claim(ctx context.Context, order outbox.ClaimOrder) ([]*outbox.Intent, error) {
	c.mu.Lock()
	c.at[time.Now()] = true
	c.mu.Unlock()
	return c.Store.Claim(ctx, order)
}

// A hint reaches all workers, but they do not come all at once.
func TestAHintIsNoStampede(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, shared := newBox(), &commons{}
		store := &timed{Store: box, at: make(map[time.Time]bool)}
		var all []*running
		for i := range 8 {
			all = append(all, start(t, dispatcher.Config{
				Worker: fmt.Sprint("w", i), Store: store, Shared: shared, Upcoming: &planner{box: box}, Lanes: []dispatcher.Lane{laneOf("sms", &provider{})},
			}))
		}
		for _, r := range all {
			r.Watched(true)
		}
		<-time.After(20 * time.Second) // they know each other, and rest
		hinted := time.Now()
		box.insert(t, "sms", nil)
		for _, r := range all {
			r.Notify(outbox.Hint{Kind: "sms"})
		}
		<-time.After(500 * time.Millisecond)
		store.mu.Lock()
		instants := 0
		for at := range store.at {
			if !at.Before(hinted) {
				instants++
			}
		}
		store.mu.Unlock()
		if instants < 4 {
			t.Errorf("eight workers claimed at %d instants after a hint, want them spread", instants)
		}
		for _, r := range all {
			r.end(t)
		}
		box.want(t, "done", 1)
	})
}
