package store_test

import (
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
)

// plan is what explain tells of one command.
type plan struct {
	stages               []string
	index                []string
	keys, docs, returned int64
}

// explain asks the server how it ran a command that the store sent.
func (h *harness) explain(c command) plan {
	h.t.Helper()
	var inner bson.D
	if err := bson.Unmarshal(c.body, &inner); err != nil {
		h.t.Fatal(err)
	}
	inner = slices.DeleteFunc(inner, func(e bson.E) bool {
		return slices.Contains([]string{"lsid", "$db", "$clusterTime", "$readPreference", "txnNumber", "readConcern", "writeConcern", "maxTimeMS"}, e.Key)
	})
	raw := h.run(bson.D{{Key: "explain", Value: inner}, {Key: "verbosity", Value: "executionStats"}})
	if inner, ok := raw.Lookup("stages", "0", "$cursor").DocumentOK(); ok { // of an aggregation
		raw = inner
	}
	var answer struct {
		Planner struct {
			Plan bson.Raw `bson:"winningPlan"`
		} `bson:"queryPlanner"`
		Stats struct {
			Keys     int64 `bson:"totalKeysExamined"`
			Docs     int64 `bson:"totalDocsExamined"`
			Returned int64 `bson:"nReturned"`
		} `bson:"executionStats"`
	}
	if err := bson.Unmarshal(raw, &answer); err != nil {
		h.t.Fatal(err)
	}
	p := plan{keys: answer.Stats.Keys, docs: answer.Stats.Docs, returned: answer.Stats.Returned}
	p.walk(answer.Planner.Plan)
	return p
}

// walk collects the stages of a plan, whatever shape the server's version gives it.
func (p *plan) walk(node bson.Raw) {
	elements, err := node.Elements()
	if err != nil {
		return
	}
	for _, e := range elements {
		switch v := e.Value(); {
		case e.Key() == "stage":
			p.stages = append(p.stages, v.StringValue())
		case e.Key() == "indexName":
			p.index = append(p.index, v.StringValue())
		case v.Type == bson.TypeEmbeddedDocument:
			p.walk(v.Document())
		case v.Type == bson.TypeArray:
			p.walk(bson.Raw(v.Array()))
		}
	}
}

// wantIndex checks that a plan reads one index and nothing in an order of its own.
func (p plan) wantIndex(t *testing.T, what, index string, covered bool) {
	t.Helper()
	if !slices.Contains(p.index, index) || slices.ContainsFunc(p.index, func(i string) bool { return i != index }) {
		t.Errorf("%s reads the indexes %v, want %s", what, p.index, index)
	}
	for _, bad := range []string{"COLLSCAN", "SORT"} {
		if slices.Contains(p.stages, bad) {
			t.Errorf("%s has the stage %s: %v", what, bad, p.stages)
		}
	}
	if covered && (slices.Contains(p.stages, "FETCH") || p.docs > 0) {
		t.Errorf("%s fetches %d documents: %v", what, p.docs, p.stages)
	}
}

// crowd fills the outbox with what a claim must not read: documents that are not due yet, leased, final, of other
// kinds.
func (h *harness) crowd(n int) {
	h.t.Helper()
	later := h.store.Now().Add(time.Hour)
	lease := map[string]any{"token": "x", "owner": "x", "at": h.store.Now(), "reclaimed": false}
	h.insertMany("later", n, map[string]any{"due_at": later, "expires_at": later})
	h.insertMany("later, first", n, map[string]any{"due_at": later, "priority": int64(0)})
	h.insertMany("leased", n, map[string]any{"due_at": later, "status": "leased", "lease": lease, "expires_at": later})
	h.insertMany("done", n, map[string]any{"status": "done", "due_at": nil, "expires_at": h.store.Now().Add(-time.Hour)})
	h.insertMany("email", n, map[string]any{"kind": "email"})
	if _, err := h.outbox().UpdateMany(h.t.Context(), bson.D{{Key: "status", Value: "done"}}, bson.D{{Key: "$unset", Value: bson.D{{Key: "due_at", Value: ""}}}}); err != nil {
		h.t.Fatal(err)
	}
}

func TestPlans(t *testing.T) {
	t.Parallel()
	h := newHarness(t).patient()
	h.crowd(500)
	h.insertMany("due", 100, nil)
	h.insertMany("due, first", 100, map[string]any{"priority": int64(2)})
	h.insertMany("expired", 20, map[string]any{"expires_at": h.store.Now().Add(-time.Second), "due_at": h.store.Now().Add(time.Hour)})
	for _, status := range []string{"odd", "pending"} {
		h.insertMany(status, 5, map[string]any{"status": status, "priority": int64(7)})
	}
	const limit = 20

	h.commands.take()
	h.claim(1) // warms the clock
	h.commands.take()
	claimed := h.claim(limit)
	sent := h.commands.take()
	if got := names(sent); !slices.Equal(got, []string{"find", "find", "find", "update", "find"}) {
		t.Fatalf("a claim sent %v, want three searches, an update and a read", got)
	}
	found := int64(0)
	for _, search := range sent[:3] {
		p := h.explain(search)
		p.wantIndex(t, "a claim's search", "claim", true)
		// Four priorities are four seeks, each of which looks at one entry more.
		if p.keys > limit+8 {
			t.Errorf("a claim's search for %d looked at %d keys and found %d", limit, p.keys, p.returned)
		}
		found += p.returned
	}
	if found != 2*limit { // without a priority, and of priority 2; nothing of the others
		t.Errorf("a claim's searches found %d", found)
	}
	h.explain(sent[3]).wantIndex(t, "a claim's update", "_id_", false)
	if p := h.explain(sent[4]); p.docs > limit {
		t.Errorf("a claim's read looked at %d documents", p.docs)
	}
	h.explain(sent[4]).wantIndex(t, "a claim's read", "_id_", false)

	h.settle(done(claimed))
	sent = h.commands.take()
	if got := names(sent); !slices.Equal(got, []string{"update"}) {
		t.Fatalf("a settle of %d sent %v, want one update", len(claimed), got)
	}
	p := h.explain(sent[0])
	p.wantIndex(t, "a settle", "_id_", false)
	if p.docs > limit+1 {
		t.Errorf("a settle of %d looked at %d documents", limit, p.docs)
	}

	if expired, err := h.store.ClaimToSettle(t.Context(), outbox.ClaimOrder{Limit: limit, Lease: time.Minute, Owner: "w"}); err != nil || len(expired) != limit {
		t.Fatalf("ClaimToSettle: %d, %v", len(expired), err)
	}
	sent = h.commands.take()
	if got := names(sent); !slices.Equal(got, []string{"find", "find", "update", "find"}) {
		t.Fatalf("a claim of what needs no call sent %v, want two searches, an update and a read", got)
	}
	h.explain(sent[0]).wantIndex(t, "the search for recorded outcomes", "recorded", true)
	search := sent[1]
	if p := h.explain(search); p.keys > 2*limit {
		t.Errorf("the search for what expired looked at %d keys for %d", p.keys, limit)
	}
	h.explain(search).wantIndex(t, "the search for what expired", "expires", false)

	if n, err := h.store.Sweep(t.Context()); err != nil || n != 10 {
		t.Fatalf("Sweep: %d, %v, want 10", n, err)
	}
	p = h.explain(h.commands.take()[0])
	p.wantIndex(t, "a sweep", "unclaimable", false)
	if p.keys > 11 {
		t.Errorf("a sweep looked at %d keys", p.keys)
	}
}

// An empty search costs the same however much waits: the whole point of the claim index.
func TestIdleClaimReadsNothing(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.crowd(1000)
	h.claim(1)
	h.commands.take()
	if claimed := h.claim(100); len(claimed) != 0 {
		t.Fatalf("claimed %d", len(claimed))
	}
	sent := h.commands.take()
	if len(sent) != 2 {
		t.Errorf("an idle claim sent %v, want two searches", names(sent))
	}
	for _, search := range sent {
		if p := h.explain(search); p.keys > 8 || p.docs > 0 {
			t.Errorf("an idle search looked at %d keys and %d documents", p.keys, p.docs)
		}
	}
}

// Few round trips do for a large batch: what is written by several commands at once counts once for each.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	h := newHarness(t).patient()
	h.insertMany("a", 1, nil)
	h.settle(done(h.claim(1)))
	for _, n := range []int{1, 200} {
		h.insertMany("b", n, nil)
		h.commands.take()
		claimed := h.claim(n)
		if got := names(h.commands.take()); len(claimed) != n || len(got) > 4+n/100 {
			t.Errorf("claiming %d of %d sent %v, want at most %d commands", len(claimed), n, got, 4+n/100)
		}
		h.settle(done(claimed))
		if got := names(h.commands.take()); len(got) != 1 {
			t.Errorf("settling %d sent %v, want 1 command", n, got)
		}
		if _, err := h.outbox().DeleteMany(t.Context(), bson.D{}); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever the connection string says, each write waits for a majority and its journal.
func TestEveryWriteIsDurable(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.insertMany("a", 3, map[string]any{"on_done": []any{map[string]any{"kind": "sms", "payload": map[string]any{"to": "+4915112345678", "from": "x", "body": "b"}}}})
	h.insertMany("b", 1, map[string]any{"priority": int64(9)})
	h.commands.take()
	claimed := h.claim(3)
	if err := h.store.SaveProgress(t.Context(), claimed[0], outbox.Progress{"x": "y"}); err != nil {
		t.Fatal(err)
	}
	h.settle(done(claimed))
	if _, err := h.store.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.store.Pause(t.Context(), "sms", "w", "b"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.Heartbeat(t.Context(), outbox.Worker{Name: "w"}); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, c := range h.commands.take() {
		var body struct {
			WriteConcern struct {
				W any
				J bool
			} `bson:"writeConcern"`
			Transaction bson.RawValue `bson:"autocommit"`
		}
		if err := bson.Unmarshal(c.body, &body); err != nil {
			t.Fatal(err)
		}
		within := body.Transaction.Type == bson.TypeBoolean && c.name != "commitTransaction"
		switch c.name {
		case "update", "insert", "delete", "commitTransaction":
			if checked++; !within && (body.WriteConcern.W != "majority" || !body.WriteConcern.J) {
				t.Errorf("%s asks for the write concern %+v, want majority and journal", c.name, body.WriteConcern)
			}
		}
	}
	if checked < 7 {
		t.Errorf("only %d writes were seen", checked)
	}
}
