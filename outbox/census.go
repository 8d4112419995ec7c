package outbox

import "time"

// CensusCap is where a count of the census stops, unless it is known to be quick.
const CensusCap = 10_000

// Count is how many there are of something, as far as it was counted.
type Count struct {
	N      int64
	Capped bool // there are more than N
}

// Plus returns the sum of both.
func (c Count) Plus(d Count) Count { return Count{N: c.N + d.N, Capped: c.Capped || d.Capped} }

// Census is what stood in the outbox at one instant. One worker takes it for all, every few seconds, in a bounded time.
// All instants are the database's. The zero value means that none was taken yet.
type Census struct {
	At    time.Time     // when it was taken
	Took  time.Duration // how long that took
	By    string        // the worker that took it
	Kinds []KindCensus  // by kind: those that have intents, and those that workers serve
	// Foreign counts the documents that have no kind, and so are no intents.
	Foreign Count
	// Cut says that time ran out. Figures that were not reached are those of the census before.
	Cut bool
}

// KindCensus is the census of one kind.
type KindCensus struct {
	Kind string
	// Waiting counts the intents that are not finished: Due and Scheduled together.
	Waiting Count
	// Due counts those that a claim would take now. An intent whose lease ran out is among them.
	Due Count
	// Scheduled counts those whose time is yet to come. Those that a worker holds now are among them.
	Scheduled Count
	// OldestDue is the due_at of the one that has been due for longest; zero: none is due.
	OldestDue time.Time
	// OldestUnfinished is since when the oldest intent waits that was begun, or is due, and is not finished: its first
	// attempt, or the first time that it was due. A hold, a backoff and a doubt do not move it. Zero: there is none.
	OldestUnfinished time.Time
	// InDoubt counts the unfinished ones of which nobody knows whether the provider acted; workers are on it.
	InDoubt Count
	// OldestInDoubt is since when the oldest of those is in doubt; zero: none is.
	OldestInDoubt time.Time
	// AmbiguousDead counts the dead letters of reason ambiguous. They are parked: each needs a person's verdict.
	AmbiguousDead Count
	// Unwritten counts those whose outcome is recorded, while its consequences cannot be written yet.
	Unwritten Count
	// OldestUnwritten is since when the oldest of those waits; zero: none does.
	OldestUnwritten time.Time
}

// Of returns the census of a kind: one without figures, if nothing of the kind was there.
func (c Census) Of(kind string) KindCensus {
	for _, k := range c.Kinds {
		if k.Kind == kind {
			return k
		}
	}
	return KindCensus{Kind: kind}
}
