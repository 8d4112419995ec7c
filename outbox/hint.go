package outbox

import "time"

// Hint says that something may be claimable, or that what workers share has changed. It is never the truth: it may be
// late, repeated, wrong or missing. The zero Hint says that intents of any kind may be due.
type Hint struct {
	Kind   string    // empty: any kind
	ID     ID        // the intent, if Kind is known; zero: no particular one
	Due    time.Time // when it is due, by the database's clock; zero: now
	Shared bool      // what workers share about the lane has changed, and nothing else
}
