package store

import (
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// front is what this process knows about the front of one kind's queue. It makes claims cheaper, and none of it is
// relied on: the update of a claim asks the documents themselves. It is safe for concurrent use.
type front struct {
	// searching is held during a search, so that two claims of one process do not choose the same.
	searching sync.Mutex

	mu    sync.Mutex
	taken map[string]bool      // _ids that claims of this process are about to lease
	shy   map[string]time.Time // _ids that could not be taken over, and until when they are left alone
	tried time.Time            // when leases that ran out were last looked for
	bands [bands]band
	rest  time.Time // when the bands in which nothing was seen for long are searched next
	lone  int       // the only band in which something waited,
	alone time.Time // when that was seen; zero: there was not just one
	looks bool      // a claim looks at the very front
	most  int       // how many a claim takes at most, while documents are large; 0: any number
}

// read notes how many documents a claim read, and whether those were all that it took. If not, the next claims take no
// more than that, and twice as many each time that all could be read.
func (f *front) read(n int, whole bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !whole:
		f.most = max(1, n)
	case n >= f.most:
		f.most *= 2
	}
	if f.most > unbounded {
		f.most = 0
	}
}

// unbounded is how many documents of a claim that were no large ones end the caution.
const unbounded = 1000

// bounded returns how many a claim may take of so many that are asked for.
func (f *front) bounded(limit int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.most == 0 {
		return limit
	}
	return min(limit, f.most)
}

// fronts are the fronts of all kinds. It is safe for concurrent use.
type fronts struct {
	mu   sync.Mutex
	kind map[string]*front
}

func (f *fronts) of(kind string) *front {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kind == nil {
		f.kind = make(map[string]*front)
	}
	if f.kind[kind] == nil {
		f.kind[kind] = &front{taken: make(map[string]bool)}
	}
	return f.kind[kind]
}

// reclaimEvery is how often a claim that got something looks for leases that ran out.
const reclaimEvery = 50 * time.Millisecond

// shunFor is how long what could not be taken over is left alone.
const shunFor = 5 * time.Second

// shun leaves what could not be taken over alone for a while.
func (f *front) shun(ids []bson.RawValue) {
	f.mu.Lock()
	defer f.mu.Unlock()
	until := time.Now().Add(shunFor)
	for _, id := range ids {
		if f.shy == nil {
			f.shy = make(map[string]time.Time)
		}
		f.shy[keyOf(id)] = until
	}
}

// avoided returns the _ids that claims under way are taking, which a search may still find when they are leased, and
// those that are left alone.
func (f *front) avoided() map[string]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := make(map[string]bool, len(f.taken)+len(f.shy))
	for id, until := range f.shy {
		if time.Now().After(until) {
			delete(f.shy, id)
			continue
		}
		ids[id] = true
	}
	for id := range f.taken {
		ids[id] = true
	}
	return ids
}

// free returns those of the candidates that no claim of this process is taking, and that were not to be avoided when
// the search began.
func (f *front) free(all []candidate, before map[string]bool) []candidate {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(before) == 0 && len(f.taken) == 0 {
		return all
	}
	rest := all[:0]
	for _, c := range all {
		if key := keyOf(c.ID); !before[key] && !f.taken[key] {
			rest = append(rest, c)
		}
	}
	return rest
}

// take keeps the _ids from other claims of this process until the function that it returns is called.
func (f *front) take(ids []bson.RawValue) func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		f.taken[keyOf(id)] = true
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, id := range ids {
			delete(f.taken, keyOf(id))
		}
	}
}

// aloneFor is how long it is taken for granted that nothing of another priority waits, beside a backlog of one.
const aloneFor = 100 * time.Millisecond

// onlyBand returns the band in which alone more waits than a claim takes, as far as is known, and where a search of it
// may begin.
func (f *front) onlyBand(now time.Time) (b int, from bson.DateTime, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	only := &f.bands[f.lone]
	return f.lone, only.near(), only.rich && now.Sub(f.alone) < aloneFor
}

// others returns the bands that a claim searches besides b: those that are searched by themselves, and those that are
// searched together. In these nothing was seen for so long that there are no dead entries, but for other workers';
// where another claim follows soon, they may have to wait for it.
func (f *front) others(now time.Time, b int, soon bool) (own, rest []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.bands {
		switch {
		case i == b:
		case i == 0 || now.Sub(f.bands[i].seen) < deadFor:
			own = append(own, i)
		case !soon || !now.Before(f.rest):
			rest = append(rest, i)
		}
	}
	return own, rest
}

// searchedAll notes that a claim has searched all bands.
func (f *front) searchedAll(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alone = time.Time{}
	for i := range f.bands {
		if !f.bands[i].some {
			continue
		}
		if !f.alone.IsZero() {
			f.alone = time.Time{}
			return
		}
		f.lone, f.alone = i, now
	}
}

// searchedRest notes what a search of several bands at once found, and how long it took.
func (f *front) searchedRest(of []int, found []candidate, took time.Duration, now bson.DateTime) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rest = time.Now().Add(min(fullShare*took, fullMost))
	for _, b := range of {
		i := slices.IndexFunc(found, func(c candidate) bool { return c.band() == float64(b-1) })
		first := now
		if i >= 0 {
			first = found[i].due()
		}
		f.bands[b].searched(earliest, first, took, i >= 0, false)
	}
}

// frontal returns the bands whose very front is to be looked at, and before which instant; none if another claim is at
// it. When all were looked at, endLooks must be called.
func (f *front) frontal(now time.Time, soon bool) map[int]bson.DateTime {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.looks {
		return nil
	}
	var due map[int]bson.DateTime
	for i := range f.bands {
		if b := &f.bands[i]; b.lookDue(now, soon) && (i == 0 || now.Sub(b.seen) < deadFor) {
			if due == nil {
				due = make(map[int]bson.DateTime)
			}
			due[i] = before(b.first, lookBack)
		}
	}
	f.looks = due != nil
	return due
}

func (f *front) endLooks() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks = false
}

// band calls do with a band under the lock.
func (f *front) band(b int, do func(*band)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do(&f.bands[b])
}

// reclaims reports whether leases that ran out are to be looked for by a claim that came home with less than it chose,
// and notes that it is done: with others at work, they most likely took the rest.
func (f *front) reclaims(nothing bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if !nothing && now.Sub(f.tried) < reclaimEvery {
		return false
	}
	f.tried = now
	return true
}
