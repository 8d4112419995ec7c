package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// recipe is an update of docs/operations.md.
type recipe struct {
	filter   bson.D
	pipeline bson.A
}

var (
	recipeBlock = regexp.MustCompile("(?s)\n([^\n]+):\n\n```js\ndb\\.outbox\\.updateOne\\((.*?)\\)\n```")
	recipeField = regexp.MustCompile(`([{,]\s*)([$A-Za-z_][$\w]*):`)
)

// recipes returns the updates that docs/operations.md shows for mongosh, by the first word of the sentence before them.
func recipes(t *testing.T) map[string]recipe {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]recipe)
	for _, block := range recipeBlock.FindAllSubmatch(page, -1) {
		var args struct{ V bson.A }
		if err := bson.UnmarshalExtJSON([]byte(`{"v": [`+recipeField.ReplaceAllString(string(block[2]), `$1"$2":`)+`]}`), false, &args); err != nil || len(args.V) != 2 {
			t.Fatalf("%s: %v\n%s", block[1], err, block[2])
		}
		found[string(block[1])] = recipe{args.V[0].(bson.D), args.V[1].(bson.A)}
	}
	if shown := strings.Count(string(page), "```js\ndb.outbox.update"); len(found) != shown { // those of lanes are run elsewhere
		t.Fatalf("%d of the page's %d updates of intents are read", len(found), shown)
	}
	return found
}

// apply runs the recipe on the intent with the _id and reports whether it matched.
func (r recipe) apply(t *testing.T, w *world, id string) bool {
	t.Helper()
	filter := append(bson.D{{Key: "_id", Value: id}}, r.filter[1:]...) // the first names the intent
	result, err := w.outbox().UpdateOne(t.Context(), filter, r.pipeline)
	if err != nil {
		t.Fatalf("the recipe: %v", err)
	}
	return result.ModifiedCount == 1
}

// The updates that the manual shows for mongosh pass the validator and write what the commands write.
func TestRecipesDoWhatCommandsDo(t *testing.T) {
	w := newWorld(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	died := func(id, reason, class string, more ...bson.E) bson.D {
		doc := deadLetter(id, "sms", reason, "no_answer", now)
		doc[len(doc)-1].Value = bson.D{{Key: "class", Value: class}, {Key: "code", Value: "no_answer"}, {Key: "at", Value: now}}
		return append(append(doc, bson.E{Key: "first_attempt_at", Value: now}, bson.E{Key: "history", Value: bson.A{
			bson.D{{Key: "attempt", Value: 3}, {Key: "at", Value: now}, {Key: "outcome", Value: class}, {Key: "code", Value: "no_answer"}}}}), more...)
	}
	ambiguous := func(id string) bson.D {
		return died(id, "ambiguous", "ambiguous", bson.E{Key: "ambiguous_at", Value: now})
	}
	all := recipes(t)
	for begins, c := range map[string]struct {
		doc     func(id string) bson.D
		command []string
		worker  bool // a worker ends what the recipe began
	}{
		"Cancel":                        {doc: func(id string) bson.D { return intent("sms", id) }, command: []string{"cancel"}},
		"Retry":                         {doc: func(id string) bson.D { return died(id, "exhausted", "transient") }, command: []string{"dead", "retry", "--by", "ada", "--why", "it is back"}},
		"Answer that an ambiguous dead": {doc: ambiguous, command: []string{"resolve", "--by", "ada", "--why", "in the log of Twilio", "--sent", "SM0123456789"}, worker: true},
		"Answer that it was not sent":   {doc: ambiguous, command: []string{"resolve", "--by", "ada", "--why", "not in the log of Twilio", "--not-sent"}},
	} {
		var update *recipe
		for text, r := range all {
			if strings.HasPrefix(text, begins) {
				update = &r
			}
		}
		if update == nil {
			t.Fatalf("no recipe begins with %q", begins)
		}
		hand, cmd := begins+" by hand", begins+" by command"
		for _, id := range []string{hand, cmd} {
			doc := c.doc(id)
			i := slices.IndexFunc(doc, func(e bson.E) bool { return e.Key == "payload" }) // it names the intent
			doc[i].Value = intent("sms", "same")[4].Value
			w.insert(t, doc)
		}
		if !update.apply(t, w, hand) {
			t.Errorf("%s: the recipe matched nothing", begins)
		}
		must(t, exitDone, w.env, append(c.command, cmd)...)
		if c.worker {
			if n := w.count(t, bson.D{{Key: "_id", Value: hand}, {Key: "outcome.receipt.id", Value: "SM0123456789"}}); n != 1 {
				t.Errorf("%s: no outcome is recorded", begins)
			}
			must(t, exitDone, w.env, "worker", "--until-empty", "--kinds", "sms", "--log-level", "error")
		}
		got, want := shape(t, w.get(t, hand)), shape(t, w.get(t, cmd))
		if !maps.Equal(got, want) {
			t.Errorf("%s:\nby hand    %v\nby command %v", begins, got, want)
		}
		if update.apply(t, w, hand) {
			t.Errorf("%s: the recipe matched twice", begins)
		}
	}
	if n := len(w.sim.Sim.Effects()); n > 2 { // the worker may have sent what was retried, and nothing else
		t.Errorf("%d texts were sent, want 2 at most", n)
	}
}

// What the manual's updates must not match, whatever else was done to the document.
func TestRecipesRefuse(t *testing.T) {
	w := newWorld(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	for text, r := range recipes(t) {
		word, _, _ := strings.Cut(text, " ")
		if word != "Cancel" && word != "Retry" {
			continue
		}
		for name, field := range map[string]bson.E{
			"mark": {Key: "ambiguous_at", Value: now}, "lease": {Key: "lease", Value: bson.D{{Key: "token", Value: "t"}}},
			"outcome": {Key: "outcome", Value: bson.D{{Key: "event", Value: "delivered"}, {Key: "receipt", Value: bson.D{{Key: "id", Value: "SM1"}}}}},
			"class":   {Key: "last_error", Value: bson.D{{Key: "class", Value: "ambiguous"}}}, "final": {Key: "last_error", Value: bson.D{{Key: "class", Value: "permanent"}, {Key: "code", Value: "opted_out"}}},
			"result": {Key: "result", Value: bson.D{{Key: "id", Value: "SM1"}}}, "history": {Key: "history", Value: bson.A{bson.D{{Key: "attempt", Value: 3}, {Key: "outcome", Value: "ambiguous"}}}},
			"reason": {Key: "dead_reason", Value: "ambiguous"},
		} {
			if word == "Cancel" && !slices.Contains([]string{"mark", "lease", "outcome"}, name) {
				continue
			}
			id := word + " " + name
			doc := intent("sms", id)
			if word == "Retry" {
				doc = deadLetter(id, "sms", "exhausted", "not_sent", now)
			}
			doc = append(slices.DeleteFunc(doc, func(e bson.E) bool { return e.Key == field.Key }), field)
			w.insertPastValidator(t, doc)
			if r.apply(t, w, id) {
				t.Errorf("the recipe to %s matches an intent with %s %v", strings.ToLower(word), field.Key, field.Value)
			}
		}
	}
}

// shape is a document without what differs from one intent to the next: its _id, and instants, of which only the type
// stays.
func shape(t *testing.T, raw bson.Raw) map[string]string {
	t.Helper()
	fields := make(map[string]string)
	var walk func(path string, v bson.RawValue)
	walk = func(path string, v bson.RawValue) {
		inner, ok := v.DocumentOK()
		if array, isArray := v.ArrayOK(); isArray {
			inner, ok = bson.Raw(array), true
		}
		if !ok {
			fields[path] = v.String()
			if v.Type == bson.TypeDateTime {
				fields[path] = "a date"
			}
			return
		}
		elements, err := inner.Elements()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range elements {
			walk(path+"."+e.Key(), e.Value())
		}
	}
	walk("", bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: raw})
	delete(fields, "._id")
	return fields
}
