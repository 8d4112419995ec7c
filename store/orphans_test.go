package store_test

import (
	"context"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
)

// A claim that was made but could not be read holds intents that nobody will send. The next claim gives them back as they
// were, long before the lease ends: nobody has to take them for ambiguous.
func TestClaimGivesBackWhatAnEarlierOneHolds(t *testing.T) {
	h := newHarness(t)
	h.insertMany("a", 5, nil)
	order := outbox.ClaimOrder{Kind: "sms", Limit: 10, Lease: time.Minute, Owner: "w"}
	h.armed(bson.D{{Key: "skip", Value: 2}})                         // both searches for candidates pass, the claim is not read
	short, cancel := context.WithTimeout(t.Context(), 2*time.Second) // the driver repeats a read until its time is over
	defer cancel()
	if claimed, err := h.store.Claim(short, order); err == nil {
		t.Fatalf("claimed %d without reading them", len(claimed))
	}
	h.armed("off")
	var claimed []*outbox.Intent
	for range 2 {
		more, err := h.store.Claim(t.Context(), order)
		if err != nil {
			t.Fatal(err)
		}
		claimed = append(claimed, more...)
	}
	if len(claimed) != 5 {
		t.Fatalf("claimed %d of 5 once the database was read again", len(claimed))
	}
	for _, in := range claimed {
		if in.Attempts != 1 || in.Lease.Reclaimed || !in.AmbiguousAt.IsZero() || len(in.History) != 0 {
			t.Errorf("%s: attempt %d, reclaimed %v, history %v", in.ID, in.Attempts, in.Lease.Reclaimed, in.History)
		}
	}
}

// armed makes finds fail in the given mode.
func (h *harness) armed(mode any) {
	h.t.Helper()
	err := h.db.Client().Database("admin").RunCommand(h.t.Context(), bson.D{
		{Key: "configureFailPoint", Value: "failCommand"}, {Key: "mode", Value: mode},
		{Key: "data", Value: bson.D{{Key: "failCommands", Value: bson.A{"find"}}, {Key: "appName", Value: h.app}, {Key: "errorCode", Value: 189}}},
	}).Err()
	if err != nil {
		h.t.Fatalf("arm a failpoint: %v", err)
	}
}
