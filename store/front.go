package store

import (
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// front is what this process knows about the front of one kind's queue. It makes claims cheaper, and none of it is relied
// on: the update of a claim asks the documents themselves. It is safe for concurrent use.
type front struct {
	// searching is held during a search, so that two claims of one process do not choose the same.
	searching sync.Mutex

	mu    sync.Mutex
	taken map[string]bool      // _ids that claims of this process are about to lease
	shy   map[string]time.Time // _ids that could not be taken over, and until when they are left alone
	tried time.Time            // when leases that ran out were last looked for
	plain time.Time            // when nothing with a priority was found to wait
	floor bson.DateTime        // where a search begins until then
	full  time.Time            // when the next search begins at the very first entry
	rich  bool                 // the last search found as many as it asked for
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

// free returns those of the candidates that no claim of this process is taking, and that were not to be avoided when the
// search began.
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

// plainFor is how long it is taken for granted that nothing with a priority waits, in a backlog without any.
const plainFor = 100 * time.Millisecond

func (f *front) notePlain(nothing bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plain = time.Time{}
	if nothing {
		f.plain = time.Now()
	}
}

func (f *front) recentlyPlain() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.plain.IsZero() && time.Since(f.plain) < plainFor
}

// A search that begins at the first entry walks over the dead entries of all that was claimed in the last minutes, which
// the server keeps: the more is worked off, the longer it takes. So searches of a busy worker begin shortly before where the
// last one found its first, and only some begin at the very front, for what has come to stand before that.
const (
	lookBack  = 2 * time.Second        // for producers whose clocks or transactions are behind others'
	fullEvery = 250 * time.Millisecond // at least between two searches from the front
	fullShare = 20                     // and this many times as long as the last of them took,
	fullMost  = 5 * time.Second        // but no longer
)

// from returns where a search may begin; soon says that another follows.
func (f *front) from(now time.Time, soon bool) bson.DateTime {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Before(f.full) && (soon || f.rich) {
		return f.floor
	}
	return earliest
}

// behind returns where a search may begin that leaves the first intents to others, and whether more of them wait than a claim
// takes, as far as is known, and none has a priority.
func (f *front) behind(now time.Time) (from bson.DateTime, deep bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.floor, f.rich && now.Before(f.full) && now.Sub(f.plain) < plainFor
}

// reclaims reports whether leases that ran out are to be looked for by a claim that came home with less than it chose, and
// notes that it is done: with others at work, they most likely took the rest.
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

// shallow notes that not so many wait.
func (f *front) shallow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rich = false
}

// searched notes what a search found first, or the time at which it found nothing; whole is how long it took if it began at
// the front, else 0; rich says that it found as many as it asked for.
func (f *front) searched(first bson.DateTime, whole time.Duration, rich bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rich = rich
	f.floor = max(first, earliest+bson.DateTime(lookBack.Milliseconds())) - bson.DateTime(lookBack.Milliseconds())
	if whole > 0 {
		f.full = time.Now().Add(min(max(fullEvery, fullShare*whole), fullMost))
	}
}
