package main

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/store"
)

func (w *world) namespace(t *testing.T) string {
	t.Helper()
	ns, err := migrations.New(w.db, "").Namespace(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

func (w *world) forget(t *testing.T) {
	t.Helper()
	if _, err := w.db.Collection("outbox_meta").DeleteOne(t.Context(), bson.D{{Key: "_id", Value: "namespace"}}); err != nil {
		t.Fatal(err)
	}
}

// Whatever reads intents needs the namespace; what only looks at documents does not.
func TestCommandsNeedTheNamespace(t *testing.T) {
	w := newWorld(t)
	w.forget(t)
	for _, args := range [][]string{{"worker"}, {"dead", "retry", "x"}} {
		if r := must(t, exitFailed, w.env, args...); !strings.Contains(r.err, "has no namespace; run `outboxd migrate --database "+w.db.Name()) {
			t.Errorf("%q: %s", args, r.err)
		}
	}
	must(t, exitDone, w.env, "stats")
	must(t, exitDone, w.env, "dead", "list")
	if f := findings(t, exitFailed, w.env)["schema"]; f["ok"] != false || !strings.Contains(f["detail"].(string), "has no namespace") {
		t.Errorf("doctor: %v", f)
	}
	if r := must(t, exitDone, w.env, "migrate"); !strings.Contains(r.out, "give the outbox a namespace") {
		t.Errorf("migrate: %s", r.out)
	}
	must(t, exitDone, w.env, "doctor")
}

// A worker's keys begin with the outbox's namespace.
func TestWorkerSendsUnderTheNamespace(t *testing.T) {
	w := newWorld(t)
	w.insert(t, intent("charge", "order-7"))
	r := start(t, w.env, "--until-empty")
	if code := r.end(t); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, r.log)
	}
	effects := w.sim.Sim.Effects()
	if want := w.namespace(t) + "/s0/confirm/order-7"; len(effects) != 1 || effects[0].Key != want {
		t.Errorf("effects %+v, want one with the key %q", effects, want)
	}
}

func TestMigrateNewNamespace(t *testing.T) {
	w := newWorld(t)
	was := w.namespace(t)
	for _, args := range [][]string{{"--new-namespace", "--dry-run"}, {"--new-namespace", "--adopt"}, {"status", "--new-namespace"}, {"status", "--adopt"}} {
		must(t, exitWrongUse, w.env, append([]string{"migrate"}, args...)...)
	}

	running := start(t, w.env)
	registry := store.New(w.db, "", store.Options{})
	for late := time.Now().Add(patience); ; {
		if live, err := registry.Workers(t.Context()); err != nil || len(live) > 0 || time.Now().After(late) {
			break
		}
	}
	if r := must(t, exitFailed, w.env, "migrate", "--new-namespace"); !strings.Contains(r.err, "1 workers of this outbox run") {
		t.Errorf("beside a worker: %s", r.err)
	}
	// Past that check, the worker is not ready any more.
	if _, _, err := migrations.New(w.db, "").NewNamespace(t.Context()); err != nil {
		t.Fatal(err)
	}
	code, body := get(t, running.url(t, "/readyz"))
	for late := time.Now().Add(patience); code == http.StatusOK && time.Now().Before(late); code, body = get(t, running.url(t, "/readyz")) {
	}
	if code != http.StatusServiceUnavailable || !strings.Contains(body, "restart the worker") {
		t.Errorf("/readyz: %d %s", code, body)
	}
	running.stop()
	running.end(t)

	begun := intent("charge", "begun", bson.E{Key: "first_attempt_at", Value: time.Now()}, bson.E{Key: "progress", Value: bson.D{{Key: "payment_intent", Value: "pi_1"}}})
	w.insert(t, begun)
	if r := must(t, exitFailed, w.env, "migrate", "--new-namespace"); !strings.Contains(r.err, `1 intent of collection outbox have begun`) || !strings.Contains(r.err, `"begun"`) {
		t.Errorf("with open progress: %s", r.err)
	}
	if _, err := w.outbox().DeleteOne(t.Context(), bson.D{{Key: "_id", Value: "begun"}}); err != nil {
		t.Fatal(err)
	}
	r := must(t, exitDone, w.env, "migrate", "--new-namespace")
	if now := w.namespace(t); now == was || !strings.Contains(r.out, "The namespace is "+now+" now") {
		t.Errorf("%s: %s", now, r.out)
	}
	r = must(t, exitDone, w.env, "migrate", "--new-namespace", "--json")
	if !regexp.MustCompile(`^\{"namespace":"[a-z0-9]{10}","before":"[a-z0-9]{10}"\}\n$`).MatchString(r.out) {
		t.Errorf("--json: %s", r.out)
	}
}

// Another program's collection is refused by every way to migrate, and nothing of it is changed.
func TestMigrateRefusesAForeignCollection(t *testing.T) {
	w := emptyWorld(t)
	for i := range 3 {
		if _, err := w.outbox().InsertOne(t.Context(), bson.D{{Key: "_id", Value: i}, {Key: "topic", Value: "order.created"}, {Key: "status", Value: "pending"}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"migrate"}, {"migrate", "--dry-run"}, {"migrate", "status"}, {"worker", "--migrate"}} {
		r := must(t, exitFailed, w.env, args...)
		if !strings.Contains(r.err, "3 documents, such as the one with _id") || !strings.Contains(r.err, "--adopt") {
			t.Errorf("%q: %s", args, r.err)
		}
	}
	if names, err := w.db.ListCollectionNames(t.Context(), bson.D{}); err != nil || len(names) != 1 {
		t.Errorf("collections %q, %v", names, err)
	}
	if _, err := w.outbox().InsertOne(t.Context(), bson.D{{Key: "topic", Value: "order.paid"}}); err != nil {
		t.Errorf("the other program's insert: %v", err)
	}
	if r := must(t, exitDone, w.env, "migrate", "--adopt", "--dry-run"); !strings.Contains(r.out, "would set the contract") {
		t.Errorf("--adopt --dry-run: %s", r.out)
	}
	must(t, exitDone, w.env, "migrate", "--adopt")

	// A worker leaves alone what has no kind, and tells how much that is.
	r := start(t, w.env)
	if line := r.log.await(t, "the collection holds documents without a kind; they are no intents, and are left alone", 1); line["count"] != 4.0 {
		t.Errorf("logged %v", line)
	}
	r.scrape(t, "\noutboxd_foreign_documents 4\n")
	r.stop()
	if code := r.end(t); code != exitDone {
		t.Errorf("exit code %d", code)
	}
	if n := w.count(t, bson.D{{Key: "status", Value: "pending"}, {Key: "lease", Value: nil}}); n != 3 {
		t.Errorf("%d documents are as they were, want 3", n)
	}
	if f := findings(t, exitFailed, w.env)["foreign documents"]; f["ok"] != false || f["detail"] != "4 documents have no kind; no worker touches them" {
		t.Errorf("doctor: %v", f)
	}
}

// A TTL index of somebody else, and what was changed of the schema, is told by everything that looks, and stops no
// worker.
func TestWorkerWarnsOfADangerousSchema(t *testing.T) {
	w := newWorld(t)
	expire := bson.D{{Key: "createIndexes", Value: "outbox"}, {Key: "indexes", Value: bson.A{bson.D{
		{Key: "key", Value: bson.D{{Key: "due_at", Value: 1}}}, {Key: "name", Value: "cleanup"}, {Key: "expireAfterSeconds", Value: 86_400},
		{Key: "partialFilterExpression", Value: bson.D{{Key: "kind", Value: "fax"}}}}}}}
	off := bson.D{{Key: "collMod", Value: "outbox"}, {Key: "validationAction", Value: "warn"}}
	for _, command := range []bson.D{expire, off} {
		if err := w.db.RunCommand(t.Context(), command).Err(); err != nil {
			t.Fatal(err)
		}
	}
	w.insert(t, intent("sms", "a"))
	r := start(t, w.env, "--until-empty")
	if line := r.log.await(t, "the database deletes intents", 1); !strings.Contains(line["what"].(string), `dropIndex("cleanup")`) {
		t.Errorf("logged %v", line)
	}
	if line := r.log.await(t, "the schema is not as this version needs it", 1); !strings.Contains(line["what"].(string), "collection outbox is missing or was changed") {
		t.Errorf("logged %v", line)
	}
	if code := r.end(t); code != exitDone || w.get(t, "a").Lookup("status").StringValue() != "done" {
		t.Errorf("exit code %d, %s", code, w.get(t, "a"))
	}
	found := findings(t, exitFailed, w.env)
	if f := found["deletion"]; f["ok"] != false || !strings.Contains(f["detail"].(string), "cleanup") || !strings.Contains(f["remedy"].(string), "drop") {
		t.Errorf("doctor: %v", f)
	}
	if f := found["schema"]; f["ok"] != false || f["remedy"] != "run `outboxd migrate`" {
		t.Errorf("doctor: %v", f)
	}
	for _, args := range [][]string{{"migrate", "status"}, {"migrate", "--dry-run"}, {"migrate"}} {
		if r := must(t, exitDone, w.env, args...); !strings.Contains(r.err, `outboxd: warning: the index cleanup of collection outbox`) {
			t.Errorf("%q: %s", args, r.err)
		}
	}
	if err := w.outbox().Indexes().DropOne(t.Context(), "cleanup"); err != nil {
		t.Fatal(err)
	}
	must(t, exitDone, w.env, "doctor")
}

// A worker without the claim index is not ready, and says which index that is.
func TestWorkerWithoutTheClaimIndex(t *testing.T) {
	w := newWorld(t)
	if err := w.outbox().Indexes().DropOne(t.Context(), "claim"); err != nil {
		t.Fatal(err)
	}
	r := start(t, w.env)
	if line := r.log.await(t, "the schema is not as this version needs it", 1); !strings.Contains(line["what"].(string), "create index claim") {
		t.Errorf("logged %v", line)
	}
	code, body := get(t, r.url(t, "/readyz"))
	for late := time.Now().Add(patience); code == http.StatusOK && time.Now().Before(late); code, body = get(t, r.url(t, "/readyz")) {
	}
	if code != http.StatusServiceUnavailable || !strings.Contains(body, "claim") {
		t.Errorf("/readyz: %d %s", code, body)
	}
	must(t, exitDone, w.env, "migrate")
}
