package migrations_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/migrations"
)

func TestIndexes(t *testing.T) {
	t.Parallel()
	outbox := migrated(t).Collection("outbox")
	specs, err := outbox.Indexes().ListSpecifications(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range specs {
		got = append(got, s.Name)
		if s.Name == migrations.IndexTTL && (s.ExpireAfterSeconds == nil || *s.ExpireAfterSeconds != 0) {
			t.Errorf("the TTL index ends documents after %v s, want 0", s.ExpireAfterSeconds)
		}
		if s.Name == migrations.IndexDedup && (s.Unique == nil || !*s.Unique) {
			t.Error("dedup is not unique")
		}
	}
	slices.Sort(got)
	want := []string{"_id_", migrations.IndexCancelled, migrations.IndexClaim, migrations.IndexDead, migrations.IndexDeadGroups, migrations.IndexDedup, migrations.IndexExpires,
		migrations.IndexForeign, migrations.IndexInDoubt, migrations.IndexRecorded, migrations.IndexTroubled, migrations.IndexTTL, migrations.IndexUnclaimable}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("indexes %q, want %q", got, want)
	}
}

func TestDedupKeyIsUnique(t *testing.T) {
	t.Parallel()
	outbox := migrated(t).Collection("outbox")
	for i, key := range []any{"a", nil, nil, "a"} {
		d := intent("sms", sms())
		if key != nil {
			d["dedup_key"] = key
		}
		if _, err := outbox.InsertOne(t.Context(), d); mongo.IsDuplicateKeyError(err) != (i == 3) {
			t.Errorf("insert %d: %v", i, err)
		}
	}
}

// within returns the ids that an index holds between two bounds.
func within(t *testing.T, c *mongo.Collection, index string, least, most bson.D) map[any]bool {
	t.Helper()
	cursor, err := c.Find(t.Context(), bson.D{}, options.Find().SetHint(index).SetMin(least).SetMax(most).SetProjection(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		t.Fatal(err)
	}
	var docs []struct {
		ID any `bson:"_id"`
	}
	if err := cursor.All(t.Context(), &docs); err != nil {
		t.Fatal(err)
	}
	ids := map[any]bool{}
	for _, d := range docs {
		ids[d.ID] = true
	}
	return ids
}

func unclaimable(t *testing.T, c *mongo.Collection) map[any]bool {
	t.Helper()
	return within(t, c, migrations.IndexUnclaimable,
		bson.D{{Key: "status", Value: bson.MinKey{}}, {Key: "_id", Value: bson.MinKey{}}},
		bson.D{{Key: "status", Value: bson.MaxKey{}}, {Key: "_id", Value: bson.MaxKey{}}})
}

// claimable returns what the ranges of a claim reach.
func claimable(t *testing.T, c *mongo.Collection, kind string, now time.Time) map[any]bool {
	t.Helper()
	ids := map[any]bool{}
	for _, priority := range []any{nil, 0, 1, 2, 3} {
		bound := func(due time.Time, id any) bson.D {
			return bson.D{{Key: "kind", Value: kind}, {Key: "priority", Value: priority}, {Key: "due_at", Value: due}, {Key: "_id", Value: id}}
		}
		for id := range within(t, c, migrations.IndexClaim, bound(time.Unix(0, 0), bson.MinKey{}), bound(now, bson.MaxKey{})) {
			ids[id] = true
		}
	}
	return ids
}

func TestNoValidIntentIsUnclaimable(t *testing.T) {
	t.Parallel()
	outbox := migrated(t).Collection("outbox")
	for _, s := range samples() {
		if s.want == "" {
			if _, err := outbox.InsertOne(t.Context(), s.doc); err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
		}
	}
	if ids := unclaimable(t, outbox); len(ids) > 0 {
		t.Errorf("unclaimable: %v", ids)
	}
}

// TestNothingIsOutOfSight crosses good and bad values of every field that a claim depends on: a document that waits,
// or looks as if it did, is reached by a claim or by the sweep, and what must not be claimed by the sweep at least.
// What has no kind is reached by neither.
func TestNothingIsOutOfSight(t *testing.T) {
	t.Parallel()
	outbox := migrated(t).Collection("outbox")
	now := time.Now()
	missing := struct{}{}
	good := map[string]int{"kind": 1, "status": 2, "due_at": 1, "priority": 7} // so many values in front are good
	values := map[string][]any{
		"kind":     {"sms", missing, nil, "", int32(5), bson.A{"sms"}},
		"status":   {"pending", "leased", "done", "dead", "queued", "", "x", int32(1), true, nil, missing, now},
		"due_at":   {now.Add(-time.Second), missing, nil, now.String(), now.UnixMilli(), bson.Timestamp{T: 1}, doc{"$date": 1}, bson.A{now.Add(-time.Second)}},
		"priority": {missing, nil, int32(0), int64(1), float64(2), int32(3), decimal("1"), int32(-1), int32(4), int64(7), 0.5, 1.5, 2.5, decimal("1.5"), math.NaN(), math.Inf(1), math.Inf(-1), "1", true, bson.A{1}},
	}
	type bad struct {
		field string
		at    int
	}
	var docs []any
	text := map[any]string{}
	waiting, mustSweep, foreign := map[any]bool{}, map[any]bool{}, map[any]bool{}
	var cross func(fields []string, d doc, flaws []bad)
	cross = func(fields []string, d doc, flaws []bad) {
		if arrays(d) > 1 { // the server itself refuses such a document
			return
		}
		if len(fields) == 0 {
			id := fmt.Sprint(len(docs))
			d["_id"] = id
			docs = append(docs, d)
			text[id] = fmt.Sprint(d)
			_, due := d["due_at"]
			due = due && d["due_at"] != nil
			waits := d["status"] == "pending" || d["status"] == "leased"
			if d["kind"] == nil { // somebody else's
				foreign[id] = true
				return
			}
			waiting[id] = due || waits
			mustSweep[id] = due && !waits || waits && !due || waits && due && len(flaws) > 0
			return
		}
		field := fields[0]
		for i, v := range values[field] {
			next := doc{}
			maps.Copy(next, d)
			if v != missing {
				next[field] = v
			}
			more := flaws
			if i >= good[field] {
				more = append(flaws[:len(flaws):len(flaws)], bad{field, i})
			}
			cross(fields[1:], next, more)
		}
	}
	cross([]string{"kind", "status", "due_at", "priority"}, doc{}, nil)
	for batch := range slices.Chunk(docs, 2000) {
		if _, err := outbox.InsertMany(t.Context(), batch, options.InsertMany().SetBypassDocumentValidation(true)); err != nil {
			t.Fatal(err)
		}
	}
	claimed, swept := claimable(t, outbox, "sms", now), unclaimable(t, outbox)
	if held := within(t, outbox, migrations.IndexForeign,
		bson.D{{Key: "kind", Value: bson.MinKey{}}, {Key: "_id", Value: bson.MinKey{}}}, bson.D{{Key: "kind", Value: bson.MaxKey{}}, {Key: "_id", Value: bson.MaxKey{}}}); !maps.Equal(held, foreign) {
		t.Errorf("the index foreign holds %d documents, want the %d without a kind", len(held), len(foreign))
	}
	for id := range foreign {
		if swept[id] || claimed[id] {
			t.Fatalf("touched though it has no kind: %s", text[id])
		}
	}
	wrong := 0
	for id, waits := range waiting {
		switch {
		case waits && !claimed[id] && !swept[id]:
			t.Errorf("out of sight: %s", text[id])
		case mustSweep[id] && !swept[id]:
			t.Errorf("not swept: %s", text[id])
		case !mustSweep[id] && swept[id] && waits:
			t.Errorf("swept though claimable: %s", text[id])
		default:
			continue
		}
		if wrong++; wrong > 10 {
			t.Fatal("and more")
		}
	}
}

func arrays(d doc) int {
	n := 0
	for _, v := range d {
		if _, ok := v.(bson.A); ok {
			n++
		}
	}
	return n
}

func TestExpiresHoldsWhatWaits(t *testing.T) {
	t.Parallel()
	outbox := migrated(t).Collection("outbox")
	d := intent("sms", sms())
	d["_id"], d["expires_at"] = "a", time.Now()
	if _, err := outbox.InsertOne(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	held := func() int {
		return len(within(t, outbox, migrations.IndexExpires,
			bson.D{{Key: "expires_at", Value: bson.MinKey{}}, {Key: "_id", Value: bson.MinKey{}}},
			bson.D{{Key: "expires_at", Value: bson.MaxKey{}}, {Key: "_id", Value: bson.MaxKey{}}}))
	}
	for _, step := range []struct {
		update bson.D
		want   int
	}{
		{bson.D{{Key: "$set", Value: bson.D{{Key: "status", Value: "leased"}, {Key: "due_at", Value: time.Now()}}}}, 1},
		{bson.D{{Key: "$set", Value: bson.D{{Key: "status", Value: "pending"}}}}, 1},
		{bson.D{{Key: "$set", Value: bson.D{{Key: "status", Value: "done"}}}, {Key: "$unset", Value: bson.D{{Key: "due_at", Value: ""}}}}, 0},
	} {
		if _, err := outbox.UpdateByID(t.Context(), "a", step.update); err != nil {
			t.Fatal(err)
		}
		if got := held(); got != step.want {
			t.Errorf("after %v the index holds %d, want %d", step.update, got, step.want)
		}
	}
}

func TestDeadLettersView(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	now := time.Now()
	dead := func(id string, age time.Duration) doc {
		return changed(intent("sms", sms()), []func(doc){unset("due_at"), set("_id", id), set("status", "dead"), set("attempts", int32(3)),
			set("dead_at", now.Add(-age)), set("dead_reason", "exhausted"), set("last_error", doc{"code": "timeout"})})
	}
	again := intent("sms", sms())
	again["_id"], again["dead_at"] = "again", now // a retry that left the instant behind
	docs := []any{dead("old", time.Hour), dead("new", 0), dead("middle", time.Minute), again, intent("sms", sms())}
	if _, err := db.Collection("outbox").InsertMany(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	cursor, err := db.Collection("outbox_dead").Find(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	var got []bson.D
	if err := cursor.All(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	var ids []any
	for _, d := range got {
		ids = append(ids, d[0].Value)
		var front []string
		for _, e := range d[:6] {
			front = append(front, e.Key)
		}
		if want := []string{"_id", "dead_reason", "kind", "dead_at", "last_error", "attempts"}; !slices.Equal(front, want) {
			t.Errorf("fields in front %q, want %q", front, want)
		}
		if len(d) != 8 {
			t.Errorf("a dead letter of the view has %d fields: %v", len(d), d)
		}
	}
	if want := []any{"new", "middle", "old"}; !slices.Equal(ids, want) {
		t.Errorf("order %v, want %v", ids, want)
	}

	var plan bson.Raw
	err = db.RunCommand(t.Context(), bson.D{{Key: "explain", Value: bson.D{{Key: "find", Value: "outbox_dead"}, {Key: "limit", Value: 1}}}, {Key: "verbosity", Value: "queryPlanner"}}).Decode(&plan)
	if err != nil {
		t.Fatal(err)
	}
	stages := stagesOf(bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: plan})
	if !slices.Contains(stages, "IXSCAN") || slices.Contains(stages, "COLLSCAN") || slices.Contains(stages, "SORT") {
		t.Errorf("the view is read by %q", stages)
	}
}

// stagesOf lists the stages of all plans in an explanation.
func stagesOf(v bson.RawValue) []string {
	var stages []string
	var elements []bson.RawElement
	if d, ok := v.DocumentOK(); ok {
		elements, _ = d.Elements()
	} else if a, ok := v.ArrayOK(); ok {
		elements, _ = bson.Raw(a).Elements()
	}
	for _, e := range elements {
		if name, ok := e.Value().StringValueOK(); ok && e.Key() == "stage" {
			stages = append(stages, name)
		}
		stages = append(stages, stagesOf(e.Value())...)
	}
	return stages
}
