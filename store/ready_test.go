package store_test

import (
	"context"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

func TestMayClaimWritesNothing(t *testing.T) {
	h := newHarness(t)
	h.insertMany("a", 1, nil)
	before, err := h.outbox().FindOne(t.Context(), bson.D{}).Raw()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.store.MayClaim(t.Context()); err != nil {
		t.Errorf("MayClaim: %v", err)
	}
	after, err := h.outbox().FindOne(t.Context(), bson.D{}).Raw()
	if err != nil || before.String() != after.String() {
		t.Errorf("MayClaim changed %v to %v, %v", before, after, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.store.MayClaim(ended); err == nil {
		t.Error("MayClaim answered without asking")
	}
}
