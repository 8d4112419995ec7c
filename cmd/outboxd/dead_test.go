package main

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// deadLetter returns a dead letter as the worker writes it.
func deadLetter(id any, kind, reason, code string, at time.Time) bson.D {
	doc := intent(kind, "x")
	doc[0].Value, doc[2].Value = id, "dead"
	doc = slices.DeleteFunc(doc, func(e bson.E) bool { return e.Key == "due_at" })
	return append(doc, bson.E{Key: "attempts", Value: 3}, bson.E{Key: "dead_reason", Value: reason}, bson.E{Key: "dead_at", Value: at},
		bson.E{Key: "metadata", Value: bson.D{{Key: "order", Value: "7"}}},
		bson.E{Key: "last_error", Value: bson.D{{Key: "class", Value: "permanent"}, {Key: "code", Value: code}, {Key: "message", Value: "the card was declined"}, {Key: "at", Value: at}}})
}

func TestDeadLetters(t *testing.T) {
	w := newWorld(t)
	if r := must(t, exitDone, w.env, "dead", "list"); r.out != "No dead letter fits.\n" {
		t.Errorf("an empty list:\n%s", r.out)
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	oid, uuid := bson.NewObjectID(), bson.Binary{Subtype: bson.TypeBinaryUUID, Data: []byte("0123456789abcdef")}
	w.insert(t,
		deadLetter(oid, "charge", "permanent", "declined", now.Add(-time.Hour)),
		deadLetter(uuid, "sms", "ambiguous", "no_answer", now.Add(-2*time.Hour)),
		deadLetter(strings.Repeat("long", 40), "email", "exhausted", "server_error", now.Add(-48*time.Hour)),
		intent("sms", "alive"),
	)

	r := must(t, exitDone, w.env, "dead", "list")
	checkPlain(t, r.out)
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "DEAD AT (UTC)") ||
		!strings.Contains(lines[1], oid.Hex()) || !strings.Contains(lines[2], "30313233-3435-3637-3839-616263646566") || !strings.HasSuffix(lines[3], " "+strings.Repeat("long", 40)) || strings.Contains(r.out, "…") {
		t.Errorf("dead list:\n%s", r.out)
	}

	if out := must(t, exitDone, w.env, "dead", "list", "--kind", "emial").out; !strings.Contains(out, `"emial" is no kind`) {
		t.Errorf("a typing error in the kind: %s", out)
	}

	docs := objects(t, must(t, exitDone, w.env, "dead", "list", "--json").out)
	if len(docs) != 3 {
		t.Fatalf("%d objects, want 3", len(docs))
	}
	if got, want := slices.Sorted(maps.Keys(docs[0])), []string{"_id", "attempts", "dead_at", "dead_reason", "kind", "last_error", "metadata"}; !slices.Equal(got, want) {
		t.Errorf("the fields are %v, want %v", got, want)
	}
	if id, _ := docs[0]["_id"].(map[string]any); id["$oid"] != oid.Hex() || docs[0]["attempts"] != float64(3) {
		t.Errorf("not relaxed Extended JSON: %v", docs[0])
	}
	if at, _ := docs[0]["dead_at"].(map[string]any); at["$date"] != now.Add(-time.Hour).Format("2006-01-02T15:04:05.999Z") {
		t.Errorf("not relaxed Extended JSON: %v", docs[0]["dead_at"])
	}

	for _, c := range []struct {
		filter string
		want   int
	}{
		{"--kind sms", 1}, {"--kind fax", 0}, {"--kind sms --reason exhausted", 0}, {"--reason exhausted", 1}, {"--code declined", 1}, {"--since 24h", 2},
		{"--since " + now.Add(-90*time.Minute).Format(time.RFC3339), 1}, {"--limit 2", 2}, {"--kind charge --reason permanent --code declined --since 2h --limit 5", 1},
	} {
		if n := strings.Count(must(t, exitDone, w.env, append([]string{"dead", "list", "--json"}, strings.Fields(c.filter)...)...).out, "\n"); n != c.want {
			t.Errorf("dead list %s: %d, want %d", c.filter, n, c.want)
		}
	}

	exported := must(t, exitDone, w.env, "dead", "export", "--kind", "charge", "--by", "ada").out
	if n := w.audited(t, bson.D{{Key: "op", Value: "export"}, {Key: "on", Value: "dead letters, of kind charge"}, {Key: "who", Value: "ada"}, {Key: "why", Value: noReason}, {Key: "outcome", Value: "done"}}); n != 1 {
		t.Errorf("%d records of the export, want 1", n)
	}
	var whole bson.D
	if err := bson.UnmarshalExtJSON([]byte(exported), false, &whole); err != nil {
		t.Fatalf("dead export: %v\n%s", err, exported)
	}
	again, err := bson.Marshal(whole)
	if err != nil || !bytes.Equal(again, w.get(t, oid)) {
		t.Errorf("what was exported is another document: %s, %v", exported, err)
	}

	for _, id := range []string{oid.Hex(), "30313233-3435-3637-3839-616263646566", "alive"} {
		r := must(t, exitDone, w.env, "dead", "show", id)
		checkHuman(t, r.out)
		if !strings.Contains(r.out, id) || !strings.Contains(r.out, `"payload"`) {
			t.Errorf("dead show %s:\n%s", id, r.out)
		}
	}
	if r := must(t, exitDone, w.env, "dead", "show", oid.Hex()); !strings.Contains(r.out, "dead: permanent") || !strings.Contains(r.out, "What to do: ") {
		t.Errorf("dead show:\n%s", r.out)
	}
	if docs := objects(t, must(t, exitDone, w.env, "dead", "show", "--json", oid.Hex()).out); len(docs) != 1 || docs[0]["payload"] == nil {
		t.Errorf("dead show --json: %v", docs)
	}
	if r := must(t, exitFailed, w.env, "dead", "show", "nobody"); !strings.Contains(r.err, `get intent "nobody"`) {
		t.Errorf("an id that is not there: %s", r.err)
	}
}

// What a producer wrote must neither steer the terminal nor be lost.
func TestDeadShowCannotBeSteered(t *testing.T) {
	w := newWorld(t)
	doc := deadLetter("evil\x1b[2J", "sms", "invalid", "invalid", time.Now())
	doc = append(doc, bson.E{Key: "note\x1b]0;", Value: strings.Repeat("ü", 300)})
	w.insertPastValidator(t, doc)
	for _, args := range [][]string{{"dead", "list"}, {"dead", "show", "evil\x1b[2J"}} {
		r := must(t, exitDone, w.env, args...)
		checkHuman(t, r.out)
		if !strings.Contains(r.out, "evil?[2J") && !strings.Contains(r.out, "evil") {
			t.Errorf("%v:\n%s", args, r.out)
		}
	}
	if r := must(t, exitDone, w.env, "dead", "show", "evil\x1b[2J", "--reveal", "--why", "x"); strings.Count(r.out, "ü") != 300 {
		t.Errorf("%d of 300 characters are shown", strings.Count(r.out, "ü"))
	}
}

// What was written past the validator can have any _id, and is shown by what the list shows.
func TestDeadShowTakesWhatTheListShows(t *testing.T) {
	w := newWorld(t)
	w.insertPastValidator(t, slices.DeleteFunc(deadLetter(int32(77), "sms", "invalid", "invalid", time.Now()), func(e bson.E) bool { return e.Key == "metadata" }))
	if r := must(t, exitDone, w.env, "dead", "show", `{"$numberInt":"77"}`); !strings.Contains(r.out, `"_id": 77`) {
		t.Errorf("dead show:\n%s", r.out)
	}
	line := objects(t, must(t, exitDone, w.env, "dead", "list", "--json").out)[0]
	if value, there := line["metadata"]; line["_id"] != 77.0 || !there || value != nil {
		t.Errorf("a line without all fields: %v", line)
	}
}
