package store

import (
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/store/internal/scan"
)

// scanner is what this process knows about the queue of one kind. It makes claims cheaper, and none of it is relied on:
// the update of a claim asks the documents themselves. Its lock is never held during a command.
type scanner struct {
	mu    sync.Mutex
	queue scan.Queue
	tried time.Time // when leases that ran out were last looked for
	most  int       // how many a claim takes at most, while documents are large; 0: any number
}

// scanners are those of all kinds. It is safe for concurrent use.
type scanners struct{ kind sync.Map }

func (s *scanners) of(kind string) *scanner {
	known, _ := s.kind.LoadOrStore(kind, &scanner{})
	return known.(*scanner)
}

// with lends the queue to a function that does not block.
func (s *scanner) with(do func(q *scan.Queue, now time.Time)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do(&s.queue, time.Now())
}

// enter begins a claim, with no larger a limit than the size of the documents allows. It must be ended by leave.
func (s *scanner) enter(o scan.Order) (c *scan.Claim) {
	s.with(func(q *scan.Queue, now time.Time) {
		if s.most > 0 {
			o.Limit = min(o.Limit, s.most)
		}
		c = q.Enter(now, o)
	})
	return c
}

func (s *scanner) leave(c *scan.Claim) {
	s.with(func(q *scan.Queue, _ time.Time) { q.Leave(c) })
}

// choose returns the _ids that the claim is to take, and no other claim of this process.
func (s *scanner) choose(c *scan.Claim) (ids []bson.RawValue) {
	s.with(func(q *scan.Queue, _ time.Time) {
		for _, id := range q.Choose(c) {
			ids = append(ids, idOfKey(id))
		}
	})
	return ids
}

// shun leaves what somebody else holds alone for a while.
func (s *scanner) shun(ids []bson.RawValue) {
	s.with(func(q *scan.Queue, now time.Time) {
		for _, id := range ids {
			q.Shun(now, keyOf(id))
		}
	})
}

// unbounded is how many documents of a claim that were no large ones end the caution.
const unbounded = 1000

// read notes how many documents a claim read, and whether those were all that it took. If not, the next claims take no
// more than that, and twice as many each time that all could be read.
func (s *scanner) read(n int, whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !whole:
		s.most = max(1, n)
	case n >= s.most:
		s.most *= 2
	}
	if s.most > unbounded {
		s.most = 0
	}
}

// reclaimEvery is how often a claim that got something looks for leases that ran out.
const reclaimEvery = 50 * time.Millisecond

// reclaims reports whether leases that ran out are to be looked for by a claim that came home with less than it chose,
// and notes that it is done: with others at work, they most likely took the rest.
func (s *scanner) reclaims(nothing bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !nothing && now.Sub(s.tried) < reclaimEvery {
		return false
	}
	s.tried = now
	return true
}
