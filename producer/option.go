package producer

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Option sets an optional field of an intent.
type Option func(*Intent)

func field(name string, value any) Option {
	return func(in *Intent) { in.more = append(in.more, bson.E{Key: name, Value: value}) }
}

// ID sets the _id: a bson.ObjectID, a UUID (a bson.Binary of subtype 4), or a string of 1 to 200 bytes. Without it the
// intent gets an ObjectId.
func ID(id any) Option { return func(in *Intent) { in.id = id } }

// At sets the earliest instant to run. Without it that is now.
func At(due time.Time) Option { return func(in *Intent) { in.due = due } }

// ExpiresAt sets the instant after which the intent is never sent.
func ExpiresAt(t time.Time) Option { return field("expires_at", t) }

// Priority sets the priority, from 0, which goes first, to 3. Without it that is 1.
func Priority(p int) Option { return field("priority", int32(p)) }

// DedupKey makes the intent unique: [Insert] writes nothing where an intent with the key exists.
func DedupKey(key string) Option { return func(in *Intent) { in.dedup = key } }

// MaxAttempts sets the number of attempts, from 1 to 100.
func MaxAttempts(n int) Option { return field("max_attempts", int32(n)) }

// Ambiguity says what to do when nobody can know whether the provider acted.
type Ambiguity string

// The policies for an ambiguous outcome.
const (
	Retry     Ambiguity = "retry"     // send again
	Reconcile Ambiguity = "reconcile" // ask the provider, and send again only if it surely did not act
	Park      Ambiguity = "park"      // leave it to a person
)

// OnAmbiguous sets the policy for an ambiguous outcome. Without it the kind's policy counts.
func OnAmbiguous(a Ambiguity) Option { return field("on_ambiguous", string(a)) }

// Metadata sets strings that go along to dead letters and, where there is room, to the provider.
func Metadata(m map[string]string) Option { return field("metadata", m) }

// Trace sets the W3C trace context. An empty state is left out.
func Trace(parent, state string) Option {
	trace := bson.D{{Key: "traceparent", Value: parent}}
	if state != "" {
		trace = append(trace, bson.E{Key: "tracestate", Value: state})
	}
	return field("trace", trace)
}

// OnDone adds follow-ups: intents that are inserted in the transaction that marks this one done. Strings in them may
// hold references such as ${result.id} (contract, "Follow-ups").
func OnDone(followUps ...*Intent) Option { return list("on_done", followUps) }

// OnDead adds follow-ups for an end as a dead letter; see [OnDone] and [When].
func OnDead(followUps ...*Intent) Option { return list("on_dead", followUps) }

func list(name string, followUps []*Intent) Option {
	return func(in *Intent) {
		docs := make(bson.A, len(followUps))
		for i, f := range followUps {
			doc, err := f.followUp()
			if err != nil && in.err == nil {
				in.err = err
			}
			docs[i] = doc
		}
		in.more = append(in.more, bson.E{Key: name, Value: docs})
	}
}

// Delay sets how long after its parent's end a follow-up is due, in whole seconds.
func Delay(d time.Duration) Option { return func(in *Intent) { in.delay = d } }

// When limits a follow-up in [OnDead] to some reasons: permanent, exhausted, expired, ambiguous or invalid.
func When(reasons ...string) Option { return func(in *Intent) { in.when = reasons } }

// Update is what to $set on one business document in the transaction that ends the intent. The workers' configuration
// must allow its collection.
type Update struct {
	Collection string `bson:"collection"`
	ID         any    `bson:"id"`
	Done       any    `bson:"done,omitempty"`      // documents, or nothing
	Dead       any    `bson:"dead,omitempty"`      // also where it is ambiguous, unless Ambiguous is set
	Ambiguous  any    `bson:"ambiguous,omitempty"` // where nobody can know whether it was sent
}

// WriteBack sets the update of a business document.
func WriteBack(u Update) Option { return field("write_back", u) }
