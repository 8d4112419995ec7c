package dispatcher

import (
	"context"
	"sync"
	"time"
)

// How a lane finds out about work depends on how much there is. A change stream tells of a single insert within
// milliseconds, but the server wakes it for every write to any collection: under full load it would cost the server as
// much as half of the writes themselves. So a worker listens while it is calm, and while it is busy it looks often,
// which then costs nothing that matters, since nearly every look finds something. A worker that nobody tells of hints
// counts as busy much sooner: it would look only once a second otherwise.
const (
	workloadWindow = time.Second
	manyAsked      = 64 // by one claim
)

// load bounds what is busy, in intents claimed in a second: busy from so many on, and calm again below so many.
type load struct{ busyFrom, calmBelow int }

var (
	whereHintsCome = load{2000, 1500}
	whereNoneCome  = load{200, 100}
)

// workload knows whether this worker is busy, and whether hints come. A worker that starts counts as busy until it has
// seen what waits. It is safe for concurrent use.
type workload struct {
	changed func() // told of each change, without the lock

	mu      sync.Mutex
	busy    bool
	watched bool          // hints come
	hears   bool          // somebody listens whenever the worker is calm
	turned  chan struct{} // closed when busy changes
	began   time.Time     // of the window
	claimed int           // in the window
	asking  int           // claims under way: on a database that is short of time they may take as long as a window
}

func newWorkload(changed func()) *workload {
	return &workload{changed: changed, busy: true, turned: make(chan struct{}), began: time.Now()}
}

// ask notes that a claim is sent, and note what came of it.
func (p *workload) ask() {
	p.mu.Lock()
	p.asking++
	p.mu.Unlock()
}

// A claim that took all that it asked for, and asked for many, shows that hints alone do not keep up.
func (p *workload) note(n, asked int) {
	p.mu.Lock()
	p.asking--
	p.claimed += n
	behind := n >= asked && asked >= manyAsked
	p.mu.Unlock()
	p.judge(behind)
}

// judge looks whether the worker has become busy or calm. A worker that is behind is busy at once.
func (p *workload) judge(behind bool) {
	p.mu.Lock()
	was := p.busy
	bounds := whereNoneCome
	if p.hears {
		bounds = whereHintsCome
	}
	now := time.Now()
	switch took := now.Sub(p.began); {
	case behind && !p.busy:
		p.busy, p.began, p.claimed = true, now, 0
	case took < workloadWindow:
		p.busy = p.busy || p.claimed >= bounds.busyFrom
	case p.asking == 0:
		perSecond := int(float64(p.claimed) / took.Seconds())
		p.busy = perSecond >= bounds.busyFrom || p.busy && perSecond >= bounds.calmBelow
		p.began, p.claimed = now, 0
	}
	turned := was != p.busy
	if turned {
		close(p.turned)
		p.turned = make(chan struct{})
	}
	p.mu.Unlock()
	if turned {
		p.changed()
	}
}

// run notices when a busy worker has calmed down, until stop ends.
func (p *workload) run(stop context.Context) {
	for {
		busy, _, turned := p.state()
		var tick <-chan time.Time
		if busy {
			tick = time.After(workloadWindow / 4)
		}
		select {
		case <-stop.Done():
			return
		case <-turned:
		case <-tick:
			p.judge(false)
		}
	}
}

// state returns whether the worker is busy, whether hints come, and a channel that is closed when busy changes.
func (p *workload) state() (busy, watched bool, turned <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy, p.watched, p.turned
}

// quiet reports whether hints are all that a lane needs between looks that are far apart.
func (p *workload) quiet() bool {
	busy, watched, _ := p.state()
	return watched && !busy
}

// hear notes whether somebody listens whenever the worker is calm.
func (p *workload) hear(on bool) {
	p.mu.Lock()
	p.hears = on
	p.mu.Unlock()
}

// watch notes whether hints come.
func (p *workload) watch(on bool) {
	p.mu.Lock()
	turned := p.watched != on
	p.watched = on
	p.mu.Unlock()
	if turned {
		p.changed()
	}
}

// Listen calls watch while the worker is calm, with a context that ends when it becomes busy or ctx ends: while there
// is much to do, hints cost more than they bring. watch calls Notify and Watched. Listen returns when ctx ends, or with
// what watch returned when nobody had ended it.
func (d *Dispatcher) Listen(ctx context.Context, watch func(context.Context) error) error {
	d.workload.hear(true)
	defer d.workload.hear(false)
	for ctx.Err() == nil {
		busy, _, turned := d.workload.state()
		if busy {
			select {
			case <-turned:
			case <-ctx.Done():
			}
			continue
		}
		watching, end := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- watch(watching) }() // waited for on every way out
		var err error
		byItself := false
		select {
		case err = <-ended:
			byItself = ctx.Err() == nil
			end()
		case <-turned:
			end()
			<-ended //nolint:errcheck // whoever ended it wants no answer
		case <-ctx.Done():
			end()
			<-ended //nolint:errcheck // whoever ended it wants no answer
		}
		d.Watched(false)
		if byItself {
			return err
		}
	}
	return nil
}

// Watched tells whether hints come from now on. While they do, lanes that have nothing to do look seldom. It never
// blocks.
func (d *Dispatcher) Watched(on bool) { d.workload.watch(on) }
