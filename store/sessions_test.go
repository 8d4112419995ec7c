package store_test

import (
	"errors"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/store"
)

// A session ends by itself: after its life whatever is done with it, and after a while without use.
func TestSessions(t *testing.T) {
	t.Parallel()
	db := mongotest.Database(t)
	s := store.New(db, "", store.Options{}).Sessions()
	ctx := t.Context()
	use := func(key string, idle time.Duration) string {
		t.Helper()
		data, ok, err := s.Use(ctx, key, idle)
		if err != nil || ok != (data != nil) {
			t.Fatal(data, ok, err)
		}
		return string(data)
	}
	for key, times := range map[string][2]time.Duration{"open": {time.Hour, time.Minute}, "idle": {time.Hour, -time.Second}, "over": {-time.Second, time.Hour}} {
		if err := s.Start(ctx, key, "$who", []byte("of "+key), times[0], times[1]); err != nil {
			t.Fatal(err)
		}
	}
	for key, want := range map[string]string{"open": "of open", "idle": "", "over": "", "none": ""} {
		if got := use(key, 2*time.Hour); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	var doc struct {
		Who     string
		Ends    time.Time
		PurgeAt time.Time `bson:"purge_at"`
	}
	if err := db.Collection("outbox_sessions").FindOne(ctx, bson.D{{Key: "_id", Value: "open"}}).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if !doc.PurgeAt.Equal(doc.Ends) || doc.Who != "$who" {
		t.Errorf("used beyond its life: %+v", doc)
	}
	for _, key := range []string{"open", "none"} {
		if err := s.Keep(ctx, key, []byte("other")); err != nil {
			t.Fatal(err)
		}
	}
	if got := use("open", time.Minute) + use("none", time.Minute); got != "other" {
		t.Errorf("kept %q", got)
	}
	for range 2 {
		if err := s.End(ctx, "open"); err != nil {
			t.Fatal(err)
		}
	}
	if got := use("open", time.Minute); got != "" {
		t.Errorf("after its end: %q", got)
	}
}

// A key is one request's, until its answer is there or it is forgotten, or nobody has answered for a minute.
func TestAnswers(t *testing.T) {
	t.Parallel()
	db := mongotest.Database(t)
	d := store.New(db, "", store.Options{}).Desk()
	ctx := t.Context()
	reserve := func(print string) (store.Kept, bool) {
		t.Helper()
		kept, ok, err := d.ReserveAnswer(ctx, "key", print)
		if err != nil {
			t.Fatal(err)
		}
		return kept, ok
	}
	if kept, ok := reserve("a"); !ok {
		t.Errorf("a new key: %+v", kept)
	}
	if kept, ok := reserve("b"); ok || kept.Print != "a" || kept.Status != 0 {
		t.Errorf("while it is under way: %+v %v", kept, ok)
	}
	lost := bson.D{{Key: "$set", Value: bson.D{{Key: "until", Value: time.Now().Add(-time.Minute)}}}}
	if _, err := db.Collection("outbox_answers").UpdateOne(ctx, bson.D{}, lost); err != nil {
		t.Fatal(err)
	}
	if kept, ok := reserve("b"); !ok {
		t.Errorf("the process that had it is lost: %+v", kept)
	}
	if err := d.KeepAnswer(ctx, "key", store.Kept{Status: 201, Type: "text", Body: []byte("body")}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Collection("outbox_answers").UpdateOne(ctx, bson.D{}, lost); err != nil {
		t.Fatal(err)
	}
	if kept, ok := reserve("b"); ok || kept.Print != "b" || kept.Status != 201 || kept.Type != "text" || string(kept.Body) != "body" {
		t.Errorf("the answer: %+v %v", kept, ok)
	}
	if err := d.ReleaseAnswer(ctx, "key"); err != nil {
		t.Fatal(err)
	}
	if _, ok := reserve("c"); !ok {
		t.Error("a key that was released is not free")
	}
}

// All processes sign cursors with one key.
func TestCursorKey(t *testing.T) {
	t.Parallel()
	db := mongotest.Database(t)
	keys := make(chan string, 8)
	for i := range cap(keys) {
		go func() {
			key, err := store.New(db, "", store.Options{}).Desk().CursorKey(t.Context(), []byte{byte(i)})
			if err != nil {
				t.Error(err)
			}
			keys <- string(key)
		}()
	}
	first := <-keys
	for range cap(keys) - 1 {
		if key := <-keys; key != first || key == "" {
			t.Errorf("keys %q and %q", first, key)
		}
	}
}

// What would be an operator for the server is no _id, and finds nothing.
func TestGetTakesNoOperator(t *testing.T) {
	t.Parallel()
	d := store.New(mongotest.Database(t), "", store.Options{}).Desk()
	for _, id := range []string{`{"$gt":""}`, `{"$where":"1"}`, `{"$exists":true}`, `{"a":{"$gt":1}}`} {
		if _, err := d.Look(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", id, err)
		}
	}
}
