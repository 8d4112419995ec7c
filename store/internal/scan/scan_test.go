package scan

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// start is when the tests begin; database time and local time agree.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(t time.Time) Instant { return Instant(t.UnixMilli()) }

// index is a claim index in memory, in its order.
type index struct {
	entries [Bands][]Entry
	slow    time.Duration // how long a search from the very front takes
}

func (x *index) add(b Band, id string, due Instant) {
	priority, ok := b.Priority()
	if !ok {
		priority = 1
	}
	i, _ := slices.BinarySearchFunc(x.entries[b], due, func(e Entry, due Instant) int {
		if e.Due <= due {
			return -1
		}
		return 1
	})
	x.entries[b] = slices.Insert(x.entries[b], i, Entry{ID: id, Priority: float64(priority), Due: due})
}

func (x *index) remove(ids []string) {
	for b := range x.entries {
		x.entries[b] = slices.DeleteFunc(x.entries[b], func(e Entry) bool { return slices.Contains(ids, e.ID) })
	}
}

func (x *index) read(r Range) Result {
	var got Result
	for _, b := range r.Bands {
		for _, e := range x.entries[b] {
			if e.Due >= r.From && e.Due <= r.Until {
				got.Found = append(got.Found, e)
			}
		}
	}
	if r.Newest {
		slices.Reverse(got.Found)
	}
	got.Found = slices.Clone(got.Found[min(r.Skip, len(got.Found)):])
	got.Found = got.Found[:min(r.Limit, len(got.Found))]
	if r.From == Earliest {
		got.Took = x.slow
	}
	return got
}

// search carries a claim's plans out and returns all of their ranges.
func (x *index) search(q *Queue, now time.Time, c *Claim) []Range {
	var all []Range
	for plan := q.Plan(now, at(now), c); len(plan) > 0; plan = q.Plan(now, at(now), c) {
		all = append(all, plan...)
		for _, r := range plan {
			q.Observe(now, c, r, x.read(r))
		}
	}
	return all
}

// claim is a whole claim: what it took is no longer in the index.
func (x *index) claim(q *Queue, now time.Time, o Order) (took []string, read []Range) {
	c := q.Enter(now, o)
	defer q.Leave(c)
	read = x.search(q, now, c)
	took = q.Choose(c)
	x.remove(took)
	return took, read
}

// first draws the least, last the greatest that there is.
func first(int) int  { return 0 }
func last(n int) int { return n - 1 }

// backlog is a queue of one kind that a busy worker has just claimed twenty of n from, all of one band, a second apart.
// What the last claim found first, was due an hour ago.
func backlog(b Band, n int) (*index, *Queue) {
	x, q := &index{}, &Queue{}
	for i := range n {
		x.add(b, fmt.Sprint("a", i), at(start.Add(time.Duration(i-10)*time.Second-time.Hour)))
	}
	x.claim(q, start, Order{Limit: 10, Soon: true, Draw: first})
	x.claim(q, start, Order{Limit: 10, Soon: true, Draw: first})
	return x, q
}

// ms shows how long before something an instant is.
func ms(t, before Instant) string {
	if t == Earliest {
		return "the very front"
	}
	return (time.Duration(before-t) * time.Millisecond).String()
}

func TestWhereASearchBegins(t *testing.T) {
	head := at(start.Add(-time.Hour)) // where the last search found its first
	soon, last := Order{Limit: 10, Soon: true, Draw: first}, Order{Limit: 10, Draw: first}
	for name, c := range map[string]struct {
		after time.Duration // the last claim
		order Order
		begin func() (*index, *Queue)
		want  []string // from where, before the head, each range of the band is read
	}{
		"the first claim begins at the very front": {order: soon, begin: func() (*index, *Queue) {
			x, _ := backlog(NoPriority, 100)
			return x, &Queue{}
		}, want: []string{"the very front"}},
		"a claim in a backlog begins shortly before the last one's first":         {after: 10 * time.Millisecond, order: soon, want: []string{"200ms"}},
		"so does one after which none follows, while there is more than it takes": {after: 10 * time.Millisecond, order: last, want: []string{"200ms"}},
		"once in a tenth of a second it begins further back":                      {after: 150 * time.Millisecond, order: soon, want: []string{"2s"}},
		"four times a second another range reaches back to the very front":        {after: 300 * time.Millisecond, order: soon, want: []string{"2s", "the very front"}},
		"less often, if that is slow": {after: time.Second, order: soon, begin: func() (*index, *Queue) {
			x, q := &index{slow: 50 * time.Millisecond}, &Queue{}
			for i := range 100 {
				x.add(NoPriority, fmt.Sprint("a", i), head)
			}
			x.claim(q, start, soon)
			return x, q
		}, want: []string{"2s"}},
		"but at least every 30 seconds": {after: 31 * time.Second, order: soon, begin: func() (*index, *Queue) {
			x, q := &index{slow: time.Hour}, &Queue{}
			for i := range 100 {
				x.add(NoPriority, fmt.Sprint("a", i), head)
			}
			x.claim(q, start, soon)
			return x, q
		}, want: []string{"2s", "the very front"}},
		"a claim that finds less than it wants, and after which none follows, goes back to the very front": {
			after: 10 * time.Millisecond, order: Order{Limit: 1000, Draw: first}, want: []string{"200ms", "the very front"}},
		"one after which another follows leaves that to it": {after: 10 * time.Millisecond, order: Order{Limit: 1000, Soon: true, Draw: first}, want: []string{"200ms"}},
		"without a backlog, a claim after which none follows begins at the very front": {after: 10 * time.Millisecond, order: last, begin: func() (*index, *Queue) {
			return backlog(NoPriority, 15) // and the last claim found five
		}, want: []string{"the very front"}},
	} {
		t.Run(name, func(t *testing.T) {
			begin := func() (*index, *Queue) { return backlog(NoPriority, 100) }
			if c.begin != nil {
				begin = c.begin
			}
			x, q := begin()
			if first := q.bands[NoPriority].first; first != 0 && first < head {
				t.Fatalf("the head is at %v", q.bands[NoPriority].first)
			}
			_, read := x.claim(q, start.Add(c.after), c.order)
			var got []string
			for _, r := range read {
				if r.Bands[0] == NoPriority {
					got = append(got, ms(r.From, head))
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("it begins %v before the head, want %v", got, c.want)
			}
		})
	}
}

func TestWhichPrioritiesAreSearched(t *testing.T) {
	order := Order{Limit: 10, Soon: true, Draw: first}
	for name, c := range map[string]struct {
		backlog Band
		after   time.Duration
		order   Order
		want    string // the bands of each range
	}{
		"in a backlog of one priority, that alone":           {1, 10 * time.Millisecond, order, "[[1]]"},
		"ten times a second, the others as well":             {1, 150 * time.Millisecond, order, "[[0] [1] [2 3 4]]"},
		"and when it has less than the claim takes":          {1, 10 * time.Millisecond, Order{Limit: 95, Draw: first}, "[[0] [1] [2 3 4] [1]]"},
		"a priority that was in use has its own search":      {3, 150 * time.Millisecond, order, "[[0] [3] [1 2 4]]"},
		"after six minutes it shares that of the others":     {3, 7 * time.Minute, order, "[[0] [1 2 3 4]]"},
		"what has no priority always has a search by itself": {0, 7 * time.Minute, order, "[[0] [1 2 3 4]]"},
	} {
		t.Run(name, func(t *testing.T) {
			x, q := backlog(c.backlog, 100)
			_, read := x.claim(q, start.Add(c.after), c.order)
			var got [][]Band
			for _, r := range read {
				got = append(got, r.Bands)
			}
			if fmt.Sprint(got) != c.want {
				t.Errorf("it searches %v, want %v", got, c.want)
			}
		})
	}
}

// The priorities that share a slow search wait for it, if another claim follows soon.
func TestAQuietPriorityMayWait(t *testing.T) {
	x, q := &index{slow: 100 * time.Millisecond}, &Queue{} // then at most once in four seconds
	x.add(NoPriority, "a", at(start))
	shared := func(now time.Time, soon bool) bool {
		_, read := x.claim(q, now, Order{Limit: 10, Soon: soon, Draw: first})
		return slices.ContainsFunc(read, func(r Range) bool { return len(r.Bands) > 1 })
	}
	for _, c := range []struct {
		after time.Duration
		soon  bool
		want  bool
	}{{0, true, true}, {time.Second, true, false}, {time.Second, false, true}, {2 * time.Second, true, false}, {6 * time.Second, true, true}} {
		if got := shared(start.Add(c.after), c.soon); got != c.want {
			t.Errorf("after %v, soon %t: the others are searched: %t, want %t", c.after, c.soon, got, c.want)
		}
	}
}

func TestWhatAClaimTakes(t *testing.T) {
	due := at(start.Add(-time.Minute))
	for name, c := range map[string]struct {
		order Order
		add   map[string]Band // by its _id, due in the order of the ids
		want  []string
	}{
		"by priority, then by due instant": {Order{Limit: 5}, map[string]Band{"a": 4, "b": 2, "c": 0, "d": 1, "e": 2}, []string{"d", "b", "c", "e", "a"}},
		"at most its limit":                {Order{Limit: 2}, map[string]Band{"a": 0, "b": 0, "c": 0}, []string{"a", "b"}},
		"among others, one of the first runs": {Order{Limit: 2, Spread: 2, Draw: last},
			map[string]Band{"a": 0, "b": 0, "c": 0, "d": 0, "e": 0}, []string{"c", "d"}},
		"but never of a lower priority":    {Order{Limit: 2, Spread: 2, Draw: last}, map[string]Band{"a": 3, "b": 3, "c": 1, "d": 1, "e": 3}, []string{"c", "d"}},
		"nor a part of a run":              {Order{Limit: 2, Spread: 2, Draw: last}, map[string]Band{"a": 0, "b": 0, "c": 0}, []string{"a", "b"}},
		"a sample, the newest":             {Order{Limit: 1, Sample: true, Draw: first}, map[string]Band{"a": 4, "b": 4, "c": 4}, []string{"c"}},
		"a sample, any of the oldest":      {Order{Limit: 1, Sample: true, Draw: last}, map[string]Band{"a": 0, "b": 0, "c": 0}, []string{"c"}},
		"a sample without what it excepts": {Order{Limit: 3, Sample: true, Draw: last, Except: []string{"a", "c"}}, map[string]Band{"a": 0, "b": 0, "c": 0}, []string{"b"}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.order.Draw == nil {
				c.order.Draw = first
			}
			x, q := &index{}, &Queue{}
			for id, b := range c.add {
				x.add(b, id, due+Instant(id[0]))
			}
			if got, _ := x.claim(q, start, c.order); !slices.Equal(got, c.want) {
				t.Errorf("it takes %v, want %v", got, c.want)
			}
		})
	}
}

// In a long backlog a claim among others leaves some runs to them without reading these, but looks at the very front as
// often as any.
func TestALongBacklogIsShared(t *testing.T) {
	x, q := backlog(NoPriority, 1000)
	order := Order{Limit: 10, Soon: true, Spread: 3, Draw: func(n int) int { return min(5, n-1) }}
	took, read := x.claim(q, start.Add(10*time.Millisecond), order)
	if len(read) != 1 || read[0].Skip != 50 || read[0].Limit != 10 || took[0] != "a70" {
		t.Errorf("it read %+v and took %v, want what comes after fifty", read, took)
	}
	took, read = x.claim(q, start.Add(95*time.Millisecond), Order{Limit: 200, Soon: true, Spread: 3, Draw: last})
	if len(took) != 200 || len(read) < 2 || read[0].Skip == 0 {
		t.Errorf("it read %+v and took %d, although only the first search was for too much", read, len(took))
	}
	x.claim(q, start.Add(120*time.Millisecond), Order{Limit: 10, Soon: true, Draw: first})
	if _, read = x.claim(q, start.Add(210*time.Millisecond), order); len(read) != 1 || read[0].Skip == 0 {
		t.Errorf("it read %+v", read)
	}
	x.claim(q, start.Add(500*time.Millisecond), Order{Limit: 10, Soon: true, Draw: first})
	q.bands[NoPriority].full = start.Add(500 * time.Millisecond)
	if _, read = x.claim(q, start.Add(510*time.Millisecond), order); len(read) != 2 || read[0].Skip > 0 || !read[1].Ahead {
		t.Errorf("a claim that looks at the very front read %+v", read)
	}
}

// A backlog that has become short is taken before what has less priority, although a claim was about to skip it.
func TestAShortBacklogComesFirst(t *testing.T) {
	x, q := backlog(1, 45)
	for i := range 1000 {
		x.add(4, fmt.Sprint("later", i), at(start.Add(-2*time.Hour)))
	}
	took, read := x.claim(q, start.Add(150*time.Millisecond), Order{Limit: 10, Soon: true, Spread: 3, Draw: last})
	if !slices.ContainsFunc(read, func(r Range) bool { return r.Skip > 0 }) || took[0][0] != 'a' {
		t.Errorf("it read %+v and took %v", read, took)
	}
}

// What comes to stand before a backlog is taken by the claim that finds it, and the next one begins there.
func TestWhatComesToStandInFront(t *testing.T) {
	x, q := backlog(NoPriority, 1000)
	order := Order{Limit: 10, Soon: true, Draw: first}
	for i := range 15 {
		x.add(NoPriority, fmt.Sprint("old", i), at(start.Add(-24*time.Hour)))
	}
	if took, _ := x.claim(q, start.Add(100*time.Millisecond), order); took[0] != "a20" {
		t.Errorf("found at once: %v", took)
	}
	for n, want := range []string{"old0", "old10", "a35"} {
		if took, _ := x.claim(q, start.Add(300*time.Millisecond), order); took[0] != want {
			t.Errorf("claim %d took %v, want %s first", n, took, want)
		}
	}
	// A search that began before the look was over says nothing about what the look found.
	slow := q.Enter(start, order)
	plan := q.Plan(start.Add(310*time.Millisecond), at(start), slow)
	found := x.read(plan[0])
	x.add(NoPriority, "older", at(start.Add(-48*time.Hour)))
	c := q.Enter(start, order)
	q.bands[NoPriority].full = start
	x.search(q, start.Add(320*time.Millisecond), c)
	q.Observe(start.Add(330*time.Millisecond), slow, plan[0], found)
	if got := q.Start(start); got > at(start.Add(-48*time.Hour)) {
		t.Errorf("what the look found is forgotten: the next search begins at %v", got)
	}
	q.Choose(c)
	q.Leave(c)
	q.Leave(slow)
	if len(q.claims) > 0 {
		t.Errorf("claims are left: %v", q.claims)
	}
}

// Another primary's clock may be behind: then a search begins before the present all the same.
func TestTheDatabasesClockGoesBack(t *testing.T) {
	x, q := &index{}, &Queue{}
	x.add(NoPriority, "a", at(start))
	x.claim(q, start, Order{Limit: 1, Soon: true, Draw: first})
	c := q.Enter(start, Order{Limit: 1, Soon: true, Draw: first})
	until := at(start.Add(-time.Hour))
	for _, r := range q.Plan(start.Add(time.Millisecond), until, c) {
		if r.From == Earliest || r.From >= until {
			t.Errorf("a search from %v until %v", r.From, r.Until)
		}
	}
}

// Where nobody claims, a look at all that is due begins at the very front.
func TestStart(t *testing.T) {
	var none Queue
	if none.Start(start) != Earliest {
		t.Error("an unknown queue does not begin at the very front")
	}
	_, q := backlog(NoPriority, 100)
	if got := ms(q.Start(start), at(start.Add(-time.Hour))); got != "2s" {
		t.Errorf("it begins %s before the head", got)
	}
	if q.Start(start.Add(time.Hour)) != Earliest {
		t.Error("an hour later it does not begin at the very front")
	}
}

// What could not be taken is left alone for a while, and one more is read in its place.
func TestShun(t *testing.T) {
	x, q := backlog(NoPriority, 40)
	q.Shun(start, "a20")
	q.Shun(start, "a21")
	order := Order{Limit: 3, Draw: first}
	if took, _ := x.claim(q, start.Add(time.Second), order); !slices.Equal(took, []string{"a22", "a23", "a24"}) {
		t.Errorf("it took %v", took)
	}
	if took, _ := x.claim(q, start.Add(6*time.Second), order); !slices.Equal(took, []string{"a20", "a21", "a25"}) {
		t.Errorf("after a while it took %v", took)
	}
}

// Claims of one process at once come home with as many as they want, each with others, whichever is the quickest.
func TestClaimsAtOnce(t *testing.T) {
	x, q := backlog(NoPriority, 100)
	order := Order{Limit: 10, Soon: true, Draw: first}
	one, two := q.Enter(start, order), q.Enter(start, order)
	x.search(q, start, one)
	x.search(q, start, two)
	took := q.Choose(two) // it began later, and leaves the first to the other
	three := q.Enter(start, order)
	x.search(q, start, three)
	x.remove(took)
	q.Leave(two) // what it took still stands in what three has read
	all := slices.Concat(took, q.Choose(three), q.Choose(one))
	slices.Sort(all)
	if n := len(slices.Compact(slices.Clone(all))); n != 30 || len(all) != 30 {
		t.Errorf("three claims took %d, of which %d are different: %v", len(all), n, all)
	}
}

// What an earlier claim took is not chosen from what was read before, although that claim is over.
func TestAClaimThatIsOver(t *testing.T) {
	x, q := backlog(NoPriority, 100)
	order := Order{Limit: 10, Soon: true, Draw: first}
	one, two := q.Enter(start, order), q.Enter(start, order)
	x.search(q, start, two)
	x.search(q, start, one)
	took := q.Choose(one)
	q.Leave(one)
	for _, id := range q.Choose(two) {
		if slices.Contains(took, id) {
			t.Errorf("%s was taken before", id)
		}
	}
}
