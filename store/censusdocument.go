package store

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
)

// censusDocument is the census as it stands in the meta collection, with the lease on it.
type censusDocument struct {
	Now    time.Time `bson:"now"` // when the lease was taken
	Worker string    `bson:"worker"`

	At      time.Time    `bson:"at"`
	Took    int64        `bson:"took_ms"`
	By      string       `bson:"by"`
	Cut     bool         `bson:"cut"`
	Foreign censusCount  `bson:"foreign"`
	Kinds   []censusKind `bson:"kinds"`
}

type censusCount struct {
	N      int64 `bson:"n"`
	Capped bool  `bson:"capped,omitempty"`
}

type censusKind struct {
	Kind             string      `bson:"kind"`
	Due              censusCount `bson:"due"`
	Scheduled        censusCount `bson:"scheduled"`
	OldestDue        *time.Time  `bson:"oldest_due,omitempty"`
	OldestUnfinished *time.Time  `bson:"oldest_unfinished,omitempty"`
	InDoubt          censusCount `bson:"in_doubt"`
	OldestInDoubt    *time.Time  `bson:"oldest_in_doubt,omitempty"`
	AmbiguousDead    censusCount `bson:"ambiguous_dead"`
	Unwritten        censusCount `bson:"unwritten"`
	OldestUnwritten  *time.Time  `bson:"oldest_unwritten,omitempty"`
}

// documentOf returns what a census sets in its document.
func documentOf(c outbox.Census) bson.D {
	kinds := make([]censusKind, len(c.Kinds))
	for i, k := range c.Kinds {
		kinds[i] = censusKind{
			Kind: k.Kind, Due: censusCount(k.Due), Scheduled: censusCount(k.Scheduled), OldestDue: some(k.OldestDue),
			OldestUnfinished: some(k.OldestUnfinished), InDoubt: censusCount(k.InDoubt), OldestInDoubt: some(k.OldestInDoubt),
			AmbiguousDead: censusCount(k.AmbiguousDead), Unwritten: censusCount(k.Unwritten), OldestUnwritten: some(k.OldestUnwritten),
		}
	}
	return bson.D{
		{Key: "at", Value: c.At}, {Key: "took_ms", Value: c.Took.Milliseconds()}, {Key: "by", Value: c.By}, {Key: "cut", Value: c.Cut},
		{Key: "foreign", Value: censusCount(c.Foreign)}, {Key: "kinds", Value: kinds},
	}
}

func (d censusDocument) census() outbox.Census {
	c := outbox.Census{At: date(&d.At), Took: time.Duration(d.Took) * time.Millisecond, By: d.By, Cut: d.Cut, Foreign: outbox.Count(d.Foreign)}
	for _, k := range d.Kinds {
		c.Kinds = append(c.Kinds, outbox.KindCensus{
			Kind: k.Kind, Waiting: outbox.Count(k.Due).Plus(outbox.Count(k.Scheduled)), Due: outbox.Count(k.Due), Scheduled: outbox.Count(k.Scheduled),
			OldestDue: date(k.OldestDue), OldestUnfinished: date(k.OldestUnfinished),
			InDoubt: outbox.Count(k.InDoubt), OldestInDoubt: date(k.OldestInDoubt), AmbiguousDead: outbox.Count(k.AmbiguousDead),
			Unwritten: outbox.Count(k.Unwritten), OldestUnwritten: date(k.OldestUnwritten),
		})
	}
	return c
}

func some(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}

func date(at *time.Time) time.Time {
	if at == nil || at.IsZero() {
		return time.Time{}
	}
	return at.UTC()
}
