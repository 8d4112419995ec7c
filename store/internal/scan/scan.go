package scan

import (
	"math"
	"slices"
	"time"
)

// Instant is a Date of MongoDB: milliseconds since 1970.
type Instant int64

// Earliest is the least Instant there is: a producer's empty date is due as well.
const Earliest Instant = math.MinInt64

// before returns the instant that is d earlier, or Earliest.
func (t Instant) before(d time.Duration) Instant {
	if ms := Instant(d.Milliseconds()); t > Earliest+ms {
		return t - ms
	}
	return Earliest
}

// Band is a part of the index that is one interval when it is searched: NoPriority, or a priority plus one.
type Band int

// Bands is how many bands there are for a kind.
const Bands = 5

// NoPriority is the band of the intents without a priority.
const NoPriority Band = 0

// Priority returns the priority of a band, and false for that of the intents without one.
func (b Band) Priority() (int, bool) { return int(b) - 1, b != NoPriority }

// Range is one search of the index: its first entries, or its last.
type Range struct {
	Bands       []Band // more than one: priorities that share a search, from the very front
	From, Until Instant
	Ahead       bool // it ends before another range of the same claim begins
	Newest      bool // it is read from its end
	Skip        int  // entries that the server passes over
	Limit       int
}

// Entry is an intent as the index shows it.
type Entry struct {
	ID       string // as the database holds it, with its type
	Priority float64
	Due      Instant
}

// Result is what a search of a range found.
type Result struct {
	Found []Entry
	Took  time.Duration
}

const (
	// mostRuns bounds how many runs of Limit entries a claim reads to choose one from. It is two for each worker, so
	// that two seldom meet, and no more than cost less to read than it costs to meet.
	mostRuns = 8
	// mostSkipped bounds how many runs a claim in a long backlog chooses from without reading those before its own. It
	// is four for each worker, which may have two claims under way.
	mostSkipped = 16
	// deadFor is longer than the server keeps dead entries (minSnapshotHistoryWindowInSeconds is 300 s). A band in
	// which nothing was seen for so long costs nothing to search from the front, so that such bands share a search.
	deadFor = 6 * time.Minute
	// restEvery is how often a claim looks into bands in which nothing was seen for that long, if others follow soon.
	restEvery = 100 * time.Millisecond
)

// Queue is what one process knows about the queue of one kind. The zero value knows nothing.
type Queue struct {
	bands  [Bands]band
	rest   time.Time // when the bands in which nothing was seen for long are searched next, if another claim follows soon
	claims []*Claim  // under way, in the order in which they began
	shy    map[string]time.Time
}

// Plan returns what the claim reads next, all of it at the same time; nothing when it has read enough. until is the
// database's time: what is due later is left alone. No two ranges of a claim hold the same entry.
//
// A claim after which no other follows goes back to the very front, as far as it found less than it wants.
func (q *Queue) Plan(now time.Time, until Instant, c *Claim) []Range {
	if c.Sample {
		return c.sample(until)
	}
	if c.enough() && !c.again {
		return nil
	}
	c.again = false
	var plan, ahead []Range
	var rest []Band
	for b := range Band(Bands) {
		known := &q.bands[b]
		switch from := c.from[b]; {
		case from < unread && (c.Soon || from == Earliest):
		case from < unread:
			ahead = append(ahead, c.before(b, from))
		case !known.used(now) && c.Soon && now.Before(q.rest):
		case !known.used(now) && b != NoPriority: // which cannot share a search
			rest = append(rest, b)
			c.from[b] = Earliest
		default:
			c.from[b] = min(known.from(now, c.Soon), until.before(lookNear)) // the database's clock may have gone back
			plan = append(plan, Range{Bands: []Band{b}, From: c.from[b], Until: until, Limit: c.want})
			if c.from[b] > Earliest && !now.Before(known.full) {
				known.full = now.Add(fullMost) // until its result is observed
				ahead = append(ahead, c.before(b, c.from[b]))
			}
		}
	}
	if len(rest) > 0 {
		plan = append(plan, Range{Bands: rest, From: Earliest, Until: until, Limit: c.want})
	}
	if len(ahead) == 0 && c.Spread > 1 {
		q.leaveRuns(c, plan)
	}
	return append(plan, ahead...)
}

// before returns the range from the very front to where the claim began to read the band.
func (c *Claim) before(b Band, from Instant) Range {
	c.from[b] = Earliest
	return Range{Bands: []Band{b}, From: Earliest, Until: from - 1, Ahead: true, Limit: c.want}
}

// leaveRuns leaves a random number of runs to other workers without reading them, in the first band in which more
// waits than a claim takes.
func (q *Queue) leaveRuns(c *Claim, plan []Range) {
	for i, r := range plan {
		if known := &q.bands[r.Bands[0]]; known.rich {
			if runs := c.Draw(min(4*c.Spread, mostSkipped)); runs > 0 {
				plan[i].From, plan[i].Skip, plan[i].Limit = min(known.near(), r.Until.before(lookNear)), runs*c.Limit, c.Limit+c.taken
			}
			return
		}
	}
}

// Observe notes what a search of a range of the claim's plan found. What it found is the claim's to choose from.
func (q *Queue) Observe(now time.Time, c *Claim, r Range, got Result) {
	b := r.Bands[0]
	switch {
	case c.Sample:
	case r.Skip > 0 && c.free(got.Found) < c.Limit: // less waits than was thought: it is read again, from its first
		q.bands[b].rich = false
		c.from[b], c.again = unread, true
		return
	case r.Skip > 0:
		c.skipped = true
	case r.Ahead:
		q.bands[b].lookedAhead(now, r, got.Found, got.Took)
	default:
		for _, b := range r.Bands {
			if !q.bands[b].used(now) {
				q.rest = now.Add(min(max(restEvery, fullShare*got.Took), fullMost))
			}
			q.bands[b].searched(now, r, r.of(b, got.Found), got.Took)
		}
	}
	c.Found = append(c.Found, got.Found...)
}

// of returns the entries of a band among those that a search of the range found.
func (r Range) of(b Band, found []Entry) []Entry {
	if len(r.Bands) == 1 {
		return found
	}
	priority, _ := b.Priority()
	return slices.DeleteFunc(slices.Clone(found), func(e Entry) bool { return e.Priority != float64(priority) })
}

// Start returns where a look at all that is due may begin: a little before what the claims of this process found first.
// Where nobody claims, it is the very front.
func (q *Queue) Start(now time.Time) Instant {
	start := Instant(math.MaxInt64)
	for b := range q.bands {
		known := &q.bands[b]
		if known.full.IsZero() || now.Sub(known.full) > fullMost {
			return Earliest
		}
		start = min(start, known.first.before(lookBack))
	}
	return start
}
