package payments

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"
)

// lookEvery is how often the payments that somebody waits for are read: all of them in one query, however many wait.
const lookEvery = 200 * time.Millisecond

// watcher tells those who wait for payments what became of them. It looks only while somebody waits.
type watcher struct {
	load func(context.Context, []string) ([]*Payment, error)

	mu      sync.Mutex
	waiting map[string][]*watch
	stop    context.CancelFunc // of the goroutine that looks
}

// watch is one who waits.
type watch struct {
	changed chan *Payment // holds the latest state that was not taken yet
	seen    View
}

// Watch returns a channel of the payment's states that look different to a client from p and from each other. A reader
// that is slow misses states in between, never the last one. The caller must call stop.
func (s *Service) Watch(p *Payment) (changed <-chan *Payment, stop func()) {
	w := &watch{changed: make(chan *Payment, 1), seen: p.View()}
	s.watching.add(p.ID, w)
	return w.changed, func() { s.watching.remove(p.ID, w) }
}

// Await returns the payment as soon as its status differs from p's, or as it was last seen when ctx ends.
func (s *Service) Await(ctx context.Context, p *Payment) *Payment {
	changed, stop := s.Watch(p)
	defer stop()
	for last := p; ; {
		select {
		case last = <-changed:
			if last.Status() != p.Status() {
				return last
			}
		case <-ctx.Done():
			return last
		}
	}
}

func (w *watcher) add(id string, one *watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 {
		w.waiting = make(map[string][]*watch)
		var ctx context.Context
		ctx, w.stop = context.WithCancel(context.Background()) // ends with the last who waits
		go w.look(ctx)
	}
	w.waiting[id] = append(w.waiting[id], one)
}

func (w *watcher) remove(id string, one *watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	left := slices.DeleteFunc(w.waiting[id], func(other *watch) bool { return other == one })
	if w.waiting[id] = left; len(left) == 0 {
		delete(w.waiting, id)
	}
	if len(w.waiting) == 0 {
		w.stop()
	}
}

// look reads what is waited for until ctx ends. A read that fails is made again: those who wait have a bound of their
// own.
func (w *watcher) look(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.mu.Lock()
		ids := slices.Collect(maps.Keys(w.waiting))
		w.mu.Unlock()
		list, err := w.load(ctx, ids)
		if err != nil || ctx.Err() != nil {
			continue
		}
		w.mu.Lock()
		for _, p := range list {
			for _, one := range w.waiting[p.ID] {
				one.tell(p)
			}
		}
		w.mu.Unlock()
	}
}

// tell hands over a state that looks different, in the place of one that was not taken. The watcher's lock is held.
func (w *watch) tell(p *Payment) {
	view := p.View()
	if reflect.DeepEqual(view, w.seen) {
		return
	}
	w.seen = view
	select {
	case <-w.changed:
	default:
	}
	w.changed <- p
}
