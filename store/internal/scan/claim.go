package scan

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Order is what a claim wants.
type Order struct {
	Limit  int             // at most so many
	Spread int             // how many workers claim this kind
	Soon   bool            // another claim follows
	Sample bool            // any of what is due, not the first in order
	Except []string        // _ids that it does not take
	Draw   func(n int) int // a random number from 0 to n-1
}

// sampleFrom is from how many of the oldest or the newest a sample takes any, beside those that it does not take.
const sampleFrom = 64

// shyFor is how long what could not be taken is left alone.
const shyFor = 5 * time.Second

// unread is where a claim that has not read a band has read from.
const unread Instant = math.MaxInt64

// Claim is a claim under way.
type Claim struct {
	Order
	Found []Entry // what it read

	taken   int             // how many of what it finds may be another's
	want    int             // how many it reads at most in one range
	avoid   map[string]bool // what is another claim's, or left alone
	took    []string        // what it chose
	chose   bool
	from    [Bands]Instant // from where it has read each band
	again   bool           // it has to read a band once more
	skipped bool           // it has read what it wants without what stands before

	order  []Band // of a sample: the bands that it has not read
	newest bool
}

// Enter begins a claim. It must be ended by Leave.
func (q *Queue) Enter(now time.Time, o Order) *Claim {
	c := &Claim{Order: o, avoid: make(map[string]bool)}
	for b := range c.from {
		c.from[b] = unread
	}
	for _, id := range o.Except {
		c.avoid[id] = true
	}
	for id, until := range q.shy {
		if now.After(until) {
			delete(q.shy, id)
			continue
		}
		c.avoid[id] = true
	}
	for _, other := range q.claims {
		if !other.chose {
			c.taken += other.Limit
		}
		c.leaveTo(other)
	}
	c.taken += len(c.avoid)
	c.want = c.Limit + c.taken
	if c.Spread > 1 {
		c.want += c.Limit * (min(2*c.Spread, mostRuns) - 1)
	}
	if c.Sample {
		c.newest = c.Draw(2) == 0
		for b := range Band(Bands) {
			c.order = slices.Insert(c.order, c.Draw(len(c.order)+1), b)
		}
	}
	q.claims = append(q.claims, c)
	return c
}

// Leave ends a claim, whatever became of it.
func (q *Queue) Leave(c *Claim) {
	q.claims = slices.DeleteFunc(q.claims, func(other *Claim) bool { return other == c })
}

// Reads returns how many entries the claim reads at most to have as many as it wants.
func (c *Claim) Reads() int { return c.Limit + c.taken }

// Shun leaves what could not be taken alone for a while.
func (q *Queue) Shun(now time.Time, id string) {
	if q.shy == nil {
		q.shy = make(map[string]time.Time)
	}
	q.shy[id] = now.Add(shyFor)
}

// Choose returns the _ids of at most Limit of what the claim found, in claim order: by priority, then by due instant.
// No other claim of this process that is under way chooses them.
//
// Workers that all took the very first ones would meet in the same documents, and all but one would write in vain. So
// where more waits than one takes, a claim among other workers takes one of the whole runs that the first priority has
// room for, each as likely. What claims of this process that began earlier are about to choose is left to them.
func (q *Queue) Choose(c *Claim) []string {
	free := slices.DeleteFunc(c.Found, func(e Entry) bool { return c.avoid[e.ID] })
	switch {
	case c.Sample && !c.newest:
		for i := range free {
			j := i + c.Draw(len(free)-i)
			free[i], free[j] = free[j], free[i]
		}
	case !c.Sample:
		slices.SortStableFunc(free, func(a, b Entry) int {
			return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Due, b.Due))
		})
		free = free[min(q.earlier(c), max(0, len(free)-c.Limit)):]
		free = free[c.run(free)*c.Limit:]
	}
	free = free[:min(c.Limit, len(free))]
	c.took, c.chose = make([]string, len(free)), true
	for i, e := range free {
		c.took[i] = e.ID
	}
	for _, other := range q.claims {
		if other != c && !other.chose {
			other.leaveTo(c)
		}
	}
	return c.took
}

// run returns which whole run of the first priority the claim takes.
func (c *Claim) run(free []Entry) int {
	if c.Spread < 2 || c.skipped || len(free) == 0 {
		return 0
	}
	first := 0
	for first < len(free) && free[first].Priority == free[0].Priority {
		first++
	}
	if runs := first / c.Limit; runs > 1 {
		return c.Draw(runs)
	}
	return 0
}

// earlier returns how many entries the claims may choose that began before this one and have not chosen yet.
func (q *Queue) earlier(c *Claim) int {
	n := 0
	for _, other := range q.claims {
		if other == c {
			break
		}
		if !other.chose {
			n += other.Limit
		}
	}
	return n
}

// leaveTo leaves what another claim chose to it, also when that is over: the index may have been read before.
func (c *Claim) leaveTo(other *Claim) {
	for _, id := range other.took {
		c.avoid[id] = true
	}
}

// free returns how many of the entries the claim may choose.
func (c *Claim) free(found []Entry) int {
	n := 0
	for _, e := range found {
		if !c.avoid[e.ID] {
			n++
		}
	}
	return n
}

// enough reports whether the claim has found as many as it reads.
func (c *Claim) enough() bool { return c.skipped || len(c.Found) >= c.want }

// sample plans one band after the other, in random order, until one has something.
func (c *Claim) sample(until Instant) []Range {
	if len(c.order) == 0 || c.free(c.Found) > 0 {
		return nil
	}
	b := c.order[0]
	c.order = c.order[1:]
	return []Range{{Bands: []Band{b}, From: Earliest, Until: until, Newest: c.newest, Limit: sampleFrom + c.taken}}
}
