package main

import (
	"math/rand/v2"
	"time"

	"github.com/outboxd/outboxd/dispatcher/internal/schedule"
	"github.com/outboxd/outboxd/outbox"
)

// worker is one lane of one process: its state as workers have it, and the rest as simple as can be.
type worker struct {
	world *world
	state *schedule.State
	calls time.Duration // how long one takes
	slots int
	free  int
	queue []row
	alarm int // of the last time it was planned to look
	load  workload

	settling int // outcomes that wait to be written
	writing  int // batches under way
}

// workload is busy from 2,000 claimed in a second on, as a worker's is.
type workload struct {
	began         time.Time
	claimed       int
	busy, hearing bool
}

func newWorld(p schedule.Policy, workers, slots int, calls time.Duration, load int, seed uint64) *world {
	w := &world{now: time.Unix(0, 0), chance: rand.New(rand.NewPCG(seed, 0)), load: load}
	w.database = &database{world: w, taken: make(map[outbox.ID]bool)}
	for i := range workers {
		l := &worker{world: w, calls: calls, slots: slots, free: slots,
			state: schedule.New(p, slots, true, seed+uint64(i), w.now), load: workload{began: w.now, busy: true}}
		l.apply(schedule.Peered{Live: workers})
		w.workers = append(w.workers, l)
	}
	return w
}

func (l *worker) apply(e schedule.Event) { l.state.Apply(l.world.now, e) }

// act does what the state calls for.
func (l *worker) act() {
	l.judge()
	for len(l.queue) > 0 && l.free > 0 {
		r := l.queue[0]
		l.queue, l.free = l.queue[1:], l.free-1
		l.apply(schedule.Started{N: 1})
		l.world.called(r.inserted)
		l.world.after(l.calls, func() {
			l.free++
			l.apply(schedule.Ended{})
			l.settling++
			l.settle()
			l.act()
		})
	}
	for {
		a := l.state.Next(l.world.now)
		switch {
		case a.GiveBack: // nothing waits for so long here
			panic("what waits for a slot waits for more than a second")
		case a.Claim.N > 0:
			l.claim(a.Claim)
		case a.Look:
			l.apply(schedule.Looking{})
			l.world.database.serve(emptyWork, func() {
				looked := schedule.Looked{Whole: true}
				if len(l.world.database.rows) > 0 {
					looked.Due = []time.Time{l.world.now}
				}
				l.apply(looked)
				l.act()
			})
		default:
			l.alarm++
			if n := l.alarm; !a.Wake.IsZero() {
				l.world.after(a.Wake.Sub(l.world.now), func() {
					if n == l.alarm {
						l.act()
					}
				})
			}
			return
		}
	}
}

func (l *worker) claim(c schedule.Claim) {
	sent := l.world.now
	l.world.claims++
	l.apply(schedule.Sent{Claim: c})
	l.world.database.claim(c.N, c.Only, func(got []row) {
		l.load.claimed += len(got)
		l.load.busy = l.load.busy || len(got) == c.N && c.N >= 64
		l.apply(schedule.Claimed{Asked: c.N, Got: len(got), Took: l.world.now.Sub(sent), Named: c.Only != nil})
		l.queue = append(l.queue, got...)
		l.act()
	})
}

func (l *worker) hint(id outbox.ID) {
	l.apply(schedule.Hinted{ID: id})
	l.act()
}

// settle writes the outcomes that wait, as the settler does: two batches at once, and a moment apart.
func (l *worker) settle() {
	if l.settling == 0 || l.writing >= 2 {
		return
	}
	l.writing++
	wait := time.Millisecond
	if l.settling >= 8 || l.writing > 1 {
		wait = 10 * time.Millisecond
	}
	l.world.after(wait, func() {
		n := min(l.settling, 500)
		l.settling -= n
		l.world.database.serve(settleWork+time.Duration(n)*settleEach, func() {
			l.writing--
			l.settle()
		})
	})
}

// judge looks whether the worker is busy.
func (l *worker) judge() {
	const window = time.Second
	took := l.world.now.Sub(l.load.began)
	switch {
	case took < window:
		l.load.busy = l.load.busy || l.load.claimed >= 2000
	default:
		rate := float64(l.load.claimed) / took.Seconds()
		l.load.busy = rate >= 2000 || l.load.busy && rate >= 1500
		l.load.began, l.load.claimed = l.world.now, 0
	}
	l.load.hearing = !l.load.busy
	l.apply(schedule.Loaded{Busy: l.load.busy, Hearing: l.load.hearing})
}
