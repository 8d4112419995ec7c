package schedule

import (
	"slices"
	"time"
)

// mostPlanned bounds the instants that a lane keeps.
const mostPlanned = 256

// dues are the instants at which something becomes due, as far as the lane knows.
type dues struct {
	at    []time.Time // soonest first
	until time.Time   // nothing else is due before, unless a hint tells
}

// add notes an instant. What has no room shortens how far the list is complete.
func (d *dues) add(at time.Time) {
	i, there := slices.BinarySearchFunc(d.at, at, time.Time.Compare)
	if there {
		return
	}
	d.at = slices.Insert(d.at, i, at)
	if last := len(d.at) - 1; last == mostPlanned {
		if d.at[last].Before(d.until) {
			d.until = d.at[last]
		}
		d.at = d.at[:last]
	}
}

// next returns the soonest instant; zero if there is none.
func (d *dues) next() time.Time {
	if len(d.at) == 0 {
		return time.Time{}
	}
	return d.at[0]
}

// past reports whether something is due.
func (d *dues) past(now time.Time) bool { return len(d.at) > 0 && !d.at[0].After(now) }

// pass forgets what a claim sent now finds.
func (d *dues) pass(now time.Time) {
	i := 0
	for i < len(d.at) && !d.at[i].After(now) {
		i++
	}
	d.at = slices.Delete(d.at, 0, i)
}
