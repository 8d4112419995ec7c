package store_test

import (
	"bytes"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

// What a producer formed keeps its order on the way through: read, resolved, and written into a follow-up and a
// business document.
func TestOrderOfFreeFormSurvives(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.InsertBusiness("orders", map[string]any{"_id": "o1"})
	data := bson.D{{Key: "z", Value: int32(1)}, {Key: "a", Value: bson.D{{Key: "y", Value: "${_id}"}, {Key: "b", Value: nil}}}, {Key: "m", Value: bson.A{bson.D{{Key: "2", Value: true}, {Key: "1", Value: 1.5}}}}}
	doc := bson.D{{Key: "_id", Value: "p"}, {Key: "kind", Value: "fax"}, {Key: "status", Value: "pending"}, {Key: "due_at", Value: h.store.Now().Add(-time.Minute)},
		{Key: "payload", Value: bson.D{{Key: "data", Value: data}}},
		{Key: "on_done", Value: bson.A{
			bson.D{{Key: "kind", Value: "email"}, {Key: "payload", Value: bson.D{{Key: "from", Value: "a@b"}, {Key: "to", Value: "a@b"}, {Key: "template_id", Value: "d"}, {Key: "template_data", Value: data}}}},
			bson.D{{Key: "kind", Value: "fax"}, {Key: "payload", Value: bson.D{{Key: "copy", Value: "${payload.data}"}}}}}},
		{Key: "write_back", Value: bson.D{{Key: "collection", Value: "orders"}, {Key: "id", Value: "o1"}, {Key: "done", Value: bson.D{{Key: "said", Value: data}}}}}}
	if _, err := h.outbox().InsertOne(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	claimed, err := h.store.Claim(t.Context(), outbox.ClaimOrder{Kind: "fax", Limit: 1, Lease: time.Minute, Owner: "w"})
	if err != nil || len(claimed) != 1 || len(claimed[0].Problems) > 0 {
		t.Fatalf("%v, %v", claimed, err)
	}
	h.settle(done(claimed))

	resolved := bson.D{data[0], {Key: "a", Value: bson.D{{Key: "y", Value: "p"}, {Key: "b", Value: nil}}}, data[2]}
	for _, c := range []struct {
		collection, id string
		path           []string
		want           bson.D
	}{
		{"outbox", "p:done:0", []string{"payload", "template_data"}, resolved},
		{"outbox", "p:done:1", []string{"payload", "copy"}, data},
		{"orders", "o1", []string{"said"}, resolved},
	} {
		raw, err := h.db.Collection(c.collection).FindOne(t.Context(), bson.D{{Key: "_id", Value: c.id}}).Raw()
		if err != nil {
			t.Fatal(c.id, err)
		}
		want, err := bson.Marshal(c.want)
		if err != nil {
			t.Fatal(err)
		}
		if got := raw.Lookup(c.path...).Document(); !bytes.Equal(got, want) {
			t.Errorf("%s: %s\nwant %s", c.id, got, bson.Raw(want))
		}
	}
}

// The year 1 is a date, not the absence of one.
func TestTheYearOneIsRead(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	first := bson.NewDateTimeFromTime(time.Time{})
	doc := bson.D{{Key: "_id", Value: "a"}, {Key: "kind", Value: "fax"}, {Key: "status", Value: "pending"}, {Key: "due_at", Value: first}, {Key: "expires_at", Value: first},
		{Key: "payload", Value: bson.D{{Key: "at", Value: first}}}, {Key: "first_attempt_at", Value: first}, {Key: "ambiguous_at", Value: first},
		{Key: "progress", Value: bson.D{{Key: "confirm_at", Value: first}}}}
	if _, err := h.outbox().InsertOne(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	claimed, err := h.store.Claim(t.Context(), outbox.ClaimOrder{Kind: "fax", Limit: 1, Lease: time.Minute, Owner: "w"})
	if err != nil || len(claimed) != 1 {
		t.Fatalf("due in the year 1: %v, %v", claimed, err)
	}
	in := claimed[0]
	at, _ := in.Progress["confirm_at"].(time.Time)
	if in.ExpiresAt.IsZero() || in.AmbiguousAt.IsZero() || in.FirstAttemptAt.IsZero() || at.IsZero() || !in.Expired(h.store.Now()) {
		t.Errorf("taken for none: %+v", in)
	}
	written, err := bson.Marshal(store.Encode(in.Payload.(map[string]any)))
	if err != nil || bson.Raw(written).Lookup("at").DateTime() != int64(first) {
		t.Errorf("written back as %s, %v", bson.Raw(written), err)
	}
}
