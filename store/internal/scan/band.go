package scan

import "time"

// Where searches begin. The search of a busy worker begins shortly before where the last one found its first entry.
// Some begin earlier, and now and then one reaches back to the very front.
const (
	lookNear  = 200 * time.Millisecond // for producers whose transactions take a moment
	lookBack  = 2 * time.Second        // for those whose clocks or transactions are behind others'
	backEvery = 100 * time.Millisecond // between two searches that begin so early
	fullEvery = 250 * time.Millisecond // at least between two looks from the very front
	fullShare = 40                     // and this many times as long as the last of them took,
	fullMost  = 30 * time.Second       // but no longer
)

// band is what is known of what waits in one band.
type band struct {
	first Instant   // where something was found first, or until where nothing was
	back  time.Time // when the next search begins lookBack before that
	full  time.Time // when the next look from the very front is due; zero: there was none
	seen  time.Time // when something was last found
	rich  bool      // the last search found as much as it asked for
}

// used reports whether something was found in the band within the time that dead entries are kept.
func (b *band) used(now time.Time) bool { return now.Sub(b.seen) < deadFor }

// near returns where a search begins that is to cost little.
func (b *band) near() Instant { return b.first.before(lookNear) }

// from returns where the next search begins. Soon says that another claim follows.
func (b *band) from(now time.Time, soon bool) Instant {
	switch {
	case b.full.IsZero(), !soon && !b.rich, !b.used(now):
		return Earliest
	case now.Before(b.back):
		return b.near()
	default:
		return b.first.before(lookBack)
	}
}

// searched notes what a search up to the present found. One that began later than what is known to wait first says
// nothing about that: a look ahead has found it meanwhile.
func (b *band) searched(now time.Time, r Range, found []Entry, took time.Duration) {
	if r.From <= b.first.before(lookBack) {
		b.back = now.Add(backEvery)
	}
	if r.From <= b.first {
		b.first = r.Until
		if len(found) > 0 {
			b.first = found[0].Due
		}
	}
	b.rich = len(found) >= r.Limit && len(r.Bands) == 1
	b.found(now, r, found, took)
}

// lookedAhead notes what a look at the very front found: the next search begins there.
func (b *band) lookedAhead(now time.Time, r Range, found []Entry, took time.Duration) {
	if len(found) > 0 {
		b.first = min(b.first, found[0].Due)
	}
	b.rich = b.rich || len(found) >= r.Limit
	b.found(now, r, found, took)
}

func (b *band) found(now time.Time, r Range, found []Entry, took time.Duration) {
	if len(found) > 0 {
		b.seen = now
	}
	if r.From == Earliest {
		b.full = now.Add(min(max(fullEvery, fullShare*took), fullMost))
	}
}
