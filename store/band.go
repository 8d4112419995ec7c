package store

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A search that begins at the first entry walks over the dead entries of all that was claimed in the last minutes,
// which the server keeps: the more is worked off, the longer it takes. So searches of a busy worker begin shortly
// before where the last one found its first, some begin earlier, and now and then a look by itself asks for what has
// come to stand before that.
const (
	lookNear  = 200 * time.Millisecond // for producers whose transactions take a moment
	lookBack  = 2 * time.Second        // for those whose clocks or transactions are behind others'
	backEvery = 100 * time.Millisecond // between two searches that begin so early
	fullEvery = 250 * time.Millisecond // at least between two looks from the front
	fullShare = 40                     // and this many times as long as the last of them took,
	fullMost  = 30 * time.Second       // but no longer
)

// deadFor is longer than the server keeps dead entries: minSnapshotHistoryWindowInSeconds is 300 s.
const deadFor = 6 * time.Minute

// band is what this process knows of the intents of one kind and one priority, or without one, that wait. It is guarded
// by its front's lock.
type band struct {
	first bson.DateTime  // where the last search found something first, or when it found nothing
	ahead *bson.DateTime // where a look found something before that
	back  time.Time      // when the next search begins lookBack before that
	full  time.Time      // when the next look from the front is due; zero: there was no search
	seen  time.Time      // when something was last found
	some  bool           // the last search found something,
	rich  bool           // and as much as it asked for
}

// bands is how many there are for a kind: the first is that of the intents without a priority, the others are those of
// the priorities from 0 to 3.
const bands = 5

// priorityOf returns the priority of a band as a search asks for it.
func priorityOf(b int) any {
	if b == 0 {
		return nil
	}
	return int32(b - 1)
}

// near returns where a search begins that is to cost little.
func (b *band) near() bson.DateTime { return before(b.first, lookNear) }

// from returns where the next search may begin; soon says that another follows.
func (b *band) from(now time.Time, soon bool) bson.DateTime {
	ahead := b.ahead
	b.ahead = nil
	switch {
	case b.full.IsZero(), !soon && !b.rich:
		return earliest
	case ahead != nil:
		return *ahead
	case now.Before(b.back):
		return b.near()
	default:
		return before(b.first, lookBack)
	}
}

// lookDue reports whether it is time to look at the very front. Searches that begin there anyhow need none.
func (b *band) lookDue(now time.Time, soon bool) bool {
	return (soon || b.rich) && !b.full.IsZero() && !now.Before(b.full)
}

// looked notes when to look at the front again, and what stands there; nil: nothing.
func (b *band) looked(took time.Duration, ahead *bson.DateTime) {
	b.full, b.ahead = time.Now().Add(min(max(fullEvery, fullShare*took), fullMost)), ahead
}

// searched notes what a search found first, or when it found nothing, and how long it took.
func (b *band) searched(from, first bson.DateTime, took time.Duration, some, rich bool) {
	now := time.Now()
	if from <= before(b.first, lookBack) {
		b.back = now.Add(backEvery)
	}
	if b.first, b.some, b.rich = first, some, rich; some {
		b.seen = now
	}
	if from == earliest {
		b.looked(took, nil)
	}
}

func before(t bson.DateTime, d time.Duration) bson.DateTime {
	return max(t, earliest+bson.DateTime(d.Milliseconds())) - bson.DateTime(d.Milliseconds())
}
