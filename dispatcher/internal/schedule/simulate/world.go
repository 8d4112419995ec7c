package main

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// world is everything that happens, in the order of its instants.
type world struct {
	now      time.Time
	events   events
	count    int
	chance   *rand.Rand
	database *database
	workers  []*worker
	load     int
	waits    []time.Duration // insert to call, of those inserted after the first second
	claims   int
	started  time.Time
	done     int
}

// event is something that will happen. Of two at the same instant the one that was planned first comes first.
type event struct {
	at time.Time
	n  int
	do func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].n < e[j].n
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }

// Push is for package heap.
func (e *events) Push(x any) { *e = append(*e, x.(event)) }

// Pop is for package heap.
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

// after has something happen after d.
func (w *world) after(d time.Duration, do func()) {
	w.count++
	heap.Push(&w.events, event{w.now.Add(d), w.count, do})
}

// warm is how long the world runs before anything is counted.
const warm = 3 * time.Second

// run lets the world go on for d, and a while before.
func (w *world) run(d time.Duration) {
	w.started = w.now.Add(warm)
	end := w.started.Add(d)
	w.arrive()
	for _, worker := range w.workers {
		worker.act()
	}
	for len(w.events) > 0 && w.events[0].at.Before(end) {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
}

// arrive inserts what comes, one by one or, for a backlog, all that will ever be needed.
func (w *world) arrive() {
	if w.load == 0 {
		w.database.backlog = true
		return
	}
	w.after(time.Duration(w.chance.ExpFloat64()*float64(time.Second)/float64(w.load)), func() {
		w.database.insert()
		w.arrive()
	})
}

// called counts a call.
func (w *world) called(inserted time.Time) {
	if w.now.Before(w.started) {
		return
	}
	w.done++
	w.waits = append(w.waits, w.now.Sub(inserted))
}

func (w *world) summary() string {
	if w.load == 0 {
		return fmt.Sprintf("%d", int(float64(w.done)/w.now.Sub(w.started).Seconds()))
	}
	if len(w.waits) == 0 {
		return "-"
	}
	slices.Sort(w.waits)
	of := func(q float64) float64 {
		return float64(w.waits[int(q*float64(len(w.waits)-1))]) / float64(time.Millisecond)
	}
	return fmt.Sprintf("%.1f/%.1f (%d)", of(0.5), of(0.99), w.claims*100/max(1, w.done))
}
