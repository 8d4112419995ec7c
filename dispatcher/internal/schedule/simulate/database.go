package main

import (
	"strconv"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// What the database takes for a thing, of its one processor, and what passes on the way beside that. They are fitted to
// what `outboxd bench` measures on two cores: a claim of one takes 2 to 3 ms, one of 128 about 12, and a full load of
// 8,000 intents a second keeps the database busy.
const (
	transit     = 500 * time.Microsecond // there and back, journal included
	claimWork   = 900 * time.Microsecond
	claimEach   = 45 * time.Microsecond
	emptyWork   = 300 * time.Microsecond
	insertWork  = 60 * time.Microsecond
	settleWork  = 700 * time.Microsecond
	settleEach  = 45 * time.Microsecond
	streamDelay = 1200 * time.Microsecond
	streamWork  = 120 * time.Microsecond // for each worker that listens, with each write
)

// row is an intent that waits.
type row struct {
	id       outbox.ID
	inserted time.Time
}

// database serves what it is asked one after the other.
type database struct {
	world   *world
	free    time.Time // when it has served what it was asked
	rows    []row
	taken   map[outbox.ID]bool
	next    int64
	backlog bool // there is always more
}

// serve calls done once the database has worked for so long, after what was asked before.
func (d *database) serve(work time.Duration, done func()) {
	for _, w := range d.world.workers {
		if w.load.hearing {
			work += streamWork
		}
	}
	d.free = later(d.free, d.world.now).Add(work)
	d.world.after(d.free.Sub(d.world.now)+transit, done)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// insert adds an intent, and lets those who listen know.
func (d *database) insert() {
	d.next++
	r := row{id: outbox.NewStringID(strconv.FormatInt(d.next, 10)), inserted: d.world.now}
	d.serve(insertWork, func() {
		d.rows = append(d.rows, r)
		for _, w := range d.world.workers {
			if w.load.hearing {
				d.world.after(streamDelay, func() { w.hint(r.id) })
			}
		}
	})
}

// claim takes up to n of what waits when the database comes to it: any, or those named.
func (d *database) claim(n int, only []outbox.ID, done func([]row)) {
	var got []row
	switch {
	case d.backlog:
		for range n {
			d.next++
			got = append(got, row{id: outbox.NewStringID(strconv.FormatInt(d.next, 10)), inserted: d.world.now})
		}
	case only != nil:
		for _, id := range only {
			for i, r := range d.rows {
				if r.id == id {
					got = append(got, r)
					d.rows = append(d.rows[:i:i], d.rows[i+1:]...)
					break
				}
			}
		}
	default:
		n = min(n, len(d.rows))
		got, d.rows = d.rows[:n:n], d.rows[n:]
	}
	work := emptyWork
	if len(got) > 0 {
		work = claimWork + time.Duration(len(got))*claimEach
	}
	d.serve(work, func() { done(got) })
}
