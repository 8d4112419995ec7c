package producer

import (
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Intent is what shall happen. The methods Intent of the payloads make it, [Of] does for a kind of your own, and
// [Insert] writes it. The driver can also write it as a document.
type Intent struct {
	kind    string
	payload any
	id      any
	due     time.Time
	delay   time.Duration
	when    []string
	dedup   string
	more    bson.D
	err     error // of an option that cannot be taken
}

// Of returns an intent of a kind. The payload is whatever the driver makes a document of.
func Of(kind string, payload any, opts ...Option) *Intent {
	in := &Intent{kind: kind, payload: payload}
	for _, set := range opts {
		set(in)
	}
	return in
}

// MarshalBSON makes the intent a document, due now if no option says otherwise.
func (in *Intent) MarshalBSON() ([]byte, error) {
	doc, err := in.document()
	if err != nil {
		return nil, err
	}
	if in.dedup != "" {
		doc = append(doc, bson.E{Key: "dedup_key", Value: in.dedup})
	}
	return bson.Marshal(doc)
}

// document returns the intent without its dedup_key, which an upsert takes from its filter.
func (in *Intent) document() (bson.D, error) {
	if in.err == nil && (in.delay != 0 || in.when != nil) {
		return nil, errors.New("Delay and When are options of a follow-up")
	}
	if in.err != nil {
		return nil, in.err
	}
	due := in.due
	if due.IsZero() {
		due = time.Now()
	}
	var doc bson.D
	if in.id != nil {
		doc = bson.D{{Key: "_id", Value: in.id}}
	}
	doc = append(doc, bson.E{Key: "kind", Value: in.kind}, bson.E{Key: "status", Value: "pending"}, bson.E{Key: "due_at", Value: due}, bson.E{Key: "payload", Value: in.payload})
	return append(doc, in.more...), nil
}

// followUp returns the intent as it stands in the list of another one.
func (in *Intent) followUp() (bson.D, error) {
	if in.err == nil && (in.id != nil || !in.due.IsZero()) {
		return nil, errors.New("ID and At are no options of a follow-up, whose _id and due_at the worker sets; see Delay")
	}
	doc := append(bson.D{{Key: "kind", Value: in.kind}, {Key: "payload", Value: in.payload}}, in.more...)
	if in.dedup != "" {
		doc = append(doc, bson.E{Key: "dedup_key", Value: in.dedup})
	}
	if in.delay != 0 {
		doc = append(doc, bson.E{Key: "delay_seconds", Value: int64(in.delay / time.Second)})
	}
	if in.when != nil {
		doc = append(doc, bson.E{Key: "when", Value: in.when})
	}
	return doc, in.err
}
