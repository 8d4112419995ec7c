package store_test

import (
	"maps"
	"math"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
)

func (h *harness) lane(kind string) outbox.LaneState {
	h.t.Helper()
	states, err := h.store.Lanes(h.t.Context())
	if err != nil {
		h.t.Fatalf("Lanes: %v", err)
	}
	return states[kind]
}

func (h *harness) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Error(err)
	}
}

func TestLanes(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	ctx, s := t.Context(), h.store
	near := func(at time.Time, d time.Duration) bool { return at.Sub(time.Now().Add(d)).Abs() < 20*time.Second }
	if l := h.lane("sms"); l != (outbox.LaneState{}) {
		t.Errorf("a lane without a document is %+v", l)
	}

	h.must(s.CloseGate(ctx, "sms", time.Hour))
	h.must(s.CloseGate(ctx, "sms", time.Minute))
	if l := h.lane("sms"); l.Kind != "sms" || !near(l.GateUntil, time.Hour) {
		t.Errorf("the gate is closed until %v, want the later of both", l.GateUntil)
	}

	h.must(s.Hold(ctx, "sms", "$unauthorized"))
	first := h.lane("sms")
	h.must(s.Hold(ctx, "sms", "forbidden"))
	if l := h.lane("sms"); !near(l.HeldSince, 0) || l.HoldCode != "$unauthorized" || l != first {
		t.Errorf("held %+v, want the first hold", l)
	}
	h.must(s.Unhold(ctx, "sms"))

	h.must(s.Break(ctx, "sms", "$a", time.Hour))
	h.must(s.Break(ctx, "sms", "b", time.Minute))
	if l := h.lane("sms"); l.BrokenBy != "$a" || !near(l.BrokenUntil, time.Hour) || !l.HeldSince.IsZero() || l.HoldCode != "" {
		t.Errorf("broken %+v, want the longer", l)
	}
	h.must(s.Unbreak(ctx, "sms", "b"))
	if l := h.lane("sms"); l.BrokenBy != "$a" {
		t.Error("one worker took back what another had told")
	}
	h.must(s.Unbreak(ctx, "sms", "$a"))

	h.must(s.Hold(ctx, "sms", "forbidden"))
	h.must(s.Pause(ctx, "sms", "$why", "$me"))
	h.must(s.ShowRate(ctx, "sms", "5/s"))
	if l := h.lane("sms"); !l.Paused || l.Why != "$why" || l.By != "$me" || l.Rate != "5/s" || !l.BrokenUntil.IsZero() {
		t.Errorf("paused %+v", l)
	}
	h.must(s.Resume(ctx, "sms"))
	h.must(s.ShowRate(ctx, "sms", ""))
	if l := h.lane("sms"); l.Paused || l.Why != "" || l.By != "" || l.HoldCode != "" || !near(l.GateUntil, time.Hour) || l.Rate != "" {
		t.Errorf("resumed %+v, want only the gate left", l)
	}
	h.must(s.Pause(ctx, "sms", "pause", "bob"))
	h.must(s.Limit(ctx, "sms", 7, "first", "ann"))
	h.must(s.Limit(ctx, "sms", 0.5, "$why", "$me"))
	if l := h.lane("sms"); l.Limit != 0.5 || l.LimitWhy != "$why" || l.LimitBy != "$me" || !l.Paused || l.Why != "pause" || l.By != "bob" {
		t.Errorf("limited %+v, want the second limit beside the pause", l)
	}
	h.must(s.Resume(ctx, "sms"))
	h.must(s.ShowRate(ctx, "sms", ""))
	if l := h.lane("sms"); l.Limit != 0.5 || l.Paused {
		t.Errorf("resumed %+v, want the limit left", l)
	}
	h.must(s.Unlimit(ctx, "sms"))
	if l := h.lane("sms"); l.Limit != 0 || l.LimitWhy != "" || l.LimitBy != "" || !near(l.GateUntil, time.Hour) {
		t.Errorf("unlimited %+v, want only the gate left", l)
	}
	h.must(s.Unlimit(ctx, "no such lane"))
	h.must(s.Resume(ctx, "no such lane"))
	h.must(s.Unhold(ctx, "no such lane"))
	if l := h.lane("no such lane"); l.Kind != "" {
		t.Errorf("resuming what is open made the document %+v", l)
	}
}

func TestLanesByHand(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	lanes := h.db.Collection("outbox_lanes")
	docs := []any{
		bson.M{"_id": "a", "paused": 1.0, "why": 5, "gate_until": "soon", "hold": "x", "broken": 3},
		bson.M{"_id": "b", "paused": "no", "hold": bson.M{"code": 7}, "broken": bson.M{"until": "x", "by": 2}},
		bson.M{"_id": "c", "hold": true},
		bson.M{"_id": 7, "paused": true},
		bson.M{"_id": "d", "limit": bson.M{"rate": 5, "why": 1}}, bson.M{"_id": "e", "limit": bson.M{"rate": "30/m", "by": "ann"}},
		bson.M{"_id": "f", "limit": bson.M{"rate": 1e-300}}, bson.M{"_id": "g", "limit": bson.M{"rate": math.Inf(1)}},
		bson.M{"_id": "h", "limit": bson.M{"rate": math.NaN()}}, bson.M{"_id": "i", "limit": bson.M{"rate": -1}},
		bson.M{"_id": "j", "limit": bson.M{"rate": "fast"}}, bson.M{"_id": "k", "limit": 5},
	}
	if _, err := lanes.InsertMany(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	some := time.Unix(0, 0).UTC()
	for kind, want := range map[string]outbox.LaneState{
		"a": {Kind: "a", Paused: true}, "b": {Kind: "b", HeldSince: some}, "c": {Kind: "c", HeldSince: some},
		"d": {Kind: "d", Limit: 5}, "e": {Kind: "e", Limit: 0.5, LimitBy: "ann"}, "f": {Kind: "f", Limit: outbox.LeastRate},
		"g": {Kind: "g"}, "h": {Kind: "h"}, "i": {Kind: "i"}, "j": {Kind: "j"}, "k": {Kind: "k"},
	} {
		if got := h.lane(kind); got != want {
			t.Errorf("%s is %+v, want %+v", kind, got, want)
		}
	}
	for _, kind := range []string{"a", "b", "c", "j", "k"} { // whatever stands there, writing makes it right
		h.must(h.store.CloseGate(t.Context(), kind, time.Hour))
		h.must(h.store.Break(t.Context(), kind, "w", time.Hour))
		h.must(h.store.Unhold(t.Context(), kind))
		h.must(h.store.Hold(t.Context(), kind, "forbidden"))
		h.must(h.store.Limit(t.Context(), kind, 2, "", ""))
		if l := h.lane(kind); l.Limit != 2 || l.GateUntil.IsZero() || l.BrokenBy != "w" || l.HoldCode != "forbidden" {
			t.Errorf("%s is %+v", kind, l)
		}
	}
}

func TestWorkers(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	ctx, s := t.Context(), h.store
	beat := func(w outbox.Worker, want map[string]int) {
		t.Helper()
		live, err := s.Heartbeat(ctx, w)
		if err != nil || !maps.Equal(live, want) {
			t.Errorf("Heartbeat of %s: %v, %v, want %v", w.Name, live, err, want)
		}
	}
	a := outbox.Worker{Name: "$a", Kinds: []string{"sms", "email"}, InFlight: map[string]int{"sms": 3, "$x.y": 1}, Started: s.Now().Truncate(time.Millisecond), Version: "$1"}
	beat(a, map[string]int{"sms": 1, "email": 1})
	beat(outbox.Worker{Name: "b", Kinds: []string{"sms"}}, map[string]int{"sms": 2, "email": 1})
	beat(a, map[string]int{"sms": 2, "email": 1})
	workers, err := s.Workers(ctx)
	if err != nil || len(workers) != 2 || workers[0].Name != "$a" || workers[0].InFlight["$x.y"] != 1 || !workers[0].Started.Equal(a.Started) || workers[0].Version != "$1" || workers[0].Seen.IsZero() {
		t.Errorf("Workers: %+v, %v", workers, err)
	}

	registry := h.db.Collection("outbox_workers")
	ago := func(name string, d time.Duration) {
		t.Helper()
		if _, err := registry.UpdateOne(ctx, bson.M{"_id": name}, bson.M{"$set": bson.M{"seen": s.Now().Add(-d)}}); err != nil {
			t.Fatal(err)
		}
	}
	ago("b", 16*time.Second)
	beat(a, map[string]int{"sms": 1, "email": 1})
	ago("b", 2*time.Hour)
	if _, err := registry.InsertOne(ctx, bson.M{"_id": 5, "kinds": "sms", "seen": "never"}); err != nil { // by hand
		t.Fatal(err)
	}
	beat(a, map[string]int{"sms": 1, "email": 1})
	if n, err := registry.CountDocuments(ctx, bson.M{"_id": "b"}); err != nil || n != 0 {
		t.Errorf("a worker that died two hours ago is still registered: %d, %v", n, err)
	}
	h.must(s.Leave(ctx, "$a"))
	beat(outbox.Worker{Name: "c"}, map[string]int{})
}
