package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

// deadGroups inserts n dead letters of many groups, some without a code or a provider's code, one a second. It returns
// their ids newest first, by kind.
func (h *harness) deadGroups(n int) (byKind map[string][]string, groups int) {
	h.t.Helper()
	died := h.store.Now().Add(-24 * time.Hour).Truncate(time.Second)
	var docs []bson.D
	byKind = make(map[string][]string)
	seen := make(map[string]bool)
	codes, providers := []any{"declined", "no_answer", nil}, []any{nil, "21211", int64(503)}
	for i := range n {
		kind, reason, code, provider := []string{"email", "sms"}[i%2], []string{"permanent", "exhausted", "ambiguous"}[i/2%3], codes[i/6%3], providers[i/18%3]
		failure := map[string]any{"class": "permanent", "at": died}
		if code != nil {
			failure["code"] = code
		}
		if provider != nil {
			failure["provider_code"] = provider
		}
		id := fmt.Sprintf("g-%06d", i)
		doc := h.intent(id, map[string]any{"kind": kind, "status": "dead", "dead_reason": reason, "dead_at": died.Add(time.Duration(i) * time.Second), "last_error": failure})
		delete(doc, "due_at")
		docs = append(docs, store.Encode(doc))
		byKind[kind] = append(byKind[kind], id)
		seen[fmt.Sprint(kind, reason, code, provider)] = true
	}
	if _, err := h.outbox().InsertMany(h.t.Context(), docs, options.InsertMany().SetBypassDocumentValidation(true)); err != nil {
		h.t.Fatalf("insert: %v", err)
	}
	for _, ids := range byKind {
		slices.Reverse(ids)
	}
	return byKind, len(seen)
}

// A view of the groups costs no document, however many letters there are and whatever codes they lack.
func TestGroupsReadTheIndexAlone(t *testing.T) {
	t.Parallel()
	h := newHarness(t).patient()
	const n = 540
	_, want := h.deadGroups(n)
	h.commands.take()
	groups, err := h.store.Desk().Groups(t.Context(), "")
	if err != nil || len(groups) != want {
		t.Fatalf("Groups: %d groups, %v, want %d", len(groups), err, want)
	}
	sent := h.commands.take()
	if len(sent) != 3*want+1 { // a seek, the oldest and a count of each; a seek that finds no more
		t.Errorf("%d groups took %d commands, want %d", want, len(sent), 3*want+1)
	}
	keys := int64(0)
	for _, c := range sent {
		p := h.explain(c)
		p.wantIndex(t, c.name, "dead_groups", true)
		keys += p.keys
	}
	if most := int64(n + 6*want); keys > most {
		t.Errorf("%d groups of %d letters took %d keys, want at most %d", want, n, keys, most)
	}
}

// What a group tells is what its letters are.
func TestGroupsTellTheirLetters(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	const n = 180
	_, want := h.deadGroups(n)
	groups, err := h.store.Desk().Groups(t.Context(), "sms")
	if err != nil || len(groups) != want/2 {
		t.Fatalf("Groups: %d groups, %v, want %d", len(groups), err, want/2)
	}
	type what struct{ reason, code, providerCode string }
	letters := make(map[what][]map[string]any) // the oldest first
	text := func(v any) string {
		switch v := v.(type) {
		case nil:
			return ""
		case string:
			return v
		default:
			return fmt.Sprintf(`{"$numberInt":"%v"}`, v)
		}
	}
	for _, doc := range h.find(h.outbox(), bson.D{{Key: "kind", Value: "sms"}}) {
		failure := doc["last_error"].(map[string]any)
		key := what{text(doc["dead_reason"]), text(failure["code"]), text(failure["provider_code"])}
		letters[key] = append(letters[key], doc)
	}
	for _, g := range groups {
		of := letters[what{string(g.Reason), g.Code, g.ProviderCode}]
		if len(of) == 0 {
			t.Errorf("no letter is of the group %+v", g)
			continue
		}
		slices.SortFunc(of, func(a, b map[string]any) int { return a["dead_at"].(time.Time).Compare(b["dead_at"].(time.Time)) })
		oldest, newest := of[0], of[len(of)-1]
		if g.Kind != "sms" || g.Count != (outbox.Count{N: int64(len(of))}) || !g.First.Equal(oldest["dead_at"].(time.Time)) || !g.Last.Equal(newest["dead_at"].(time.Time)) ||
			g.Example.String() != fmt.Sprint(newest["_id"]) {
			t.Errorf("%+v has %d letters from %v to %v, the newest is %v", g, len(of), oldest["dead_at"], newest["dead_at"], newest["_id"])
		}
	}
}

// A page of some groups costs its documents alone: where they are is read from the index.
func TestDeadPageReadsItsDocumentsAlone(t *testing.T) {
	t.Parallel()
	h := newHarness(t).patient()
	byKind, groups := h.deadGroups(540)
	const limit = 10
	search := outbox.Search{Stage: outbox.StageDead, Kind: "sms", Limit: limit}
	for from := 0; from < 3*limit; from += limit {
		h.commands.take()
		page, err := h.store.Desk().Find(t.Context(), search)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, in := range page.Items {
			ids = append(ids, in.Name)
		}
		if want := byKind["sms"][from : from+limit]; !slices.Equal(ids, want) {
			t.Errorf("the page from %d has %v, want %v", from, ids, want)
		}
		sent := h.commands.take()
		if want := groups + 2; len(sent) != want { // a seek and a read of each of the kind's groups, a seek that finds no more, the documents
			t.Errorf("a page took %d commands, want %d", len(sent), want)
		}
		for _, c := range sent[:len(sent)-1] {
			h.explain(c).wantIndex(t, "where letters are", "dead_groups", true)
		}
		p := h.explain(sent[len(sent)-1])
		p.wantIndex(t, "the letters", "_id_", false)
		if p.docs > limit+1 { // one more tells whether there is a next page
			t.Errorf("a page of %d looked at %d documents", limit, p.docs)
		}
		search.After = page.Next
	}
}

// Letters that stop being dead between the index and their documents leave no hole, and do not end the pages.
func TestDeadPagesAreFullBesideChanges(t *testing.T) {
	t.Parallel()
	h := newHarness(t).patient()
	byKind, _ := h.deadGroups(120)
	var want []string
	for i, id := range byKind["sms"] {
		if i < 25 || i%3 == 0 {
			h.Change(id, map[string]any{"status": "pending"}) // dead_at stays: the index still has it, its document is no dead letter
		} else {
			want = append(want, id)
		}
	}
	for _, limit := range []int{1, 7, 10, 50} {
		if got := h.all(h.store.Desk(), outbox.Search{Stage: outbox.StageDead, Kind: "sms", Limit: limit}); !slices.Equal(got, want) {
			t.Errorf("by %d: %v, want %v", limit, got, want)
		}
	}
}

func TestDeadOfAnInterval(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	byKind, _ := h.deadGroups(60)
	at := func(i int) time.Time { return h.Get(byKind["sms"][i])["dead_at"].(time.Time) }
	search := outbox.Search{Stage: outbox.StageDead, Kind: "sms", Since: at(20), Until: at(5), Limit: 4}
	if got := h.all(h.store.Desk(), search); !slices.Equal(got, byKind["sms"][5:21]) {
		t.Errorf("from the 20th to the 5th: %v", got)
	}
	search.Since, search.Until = search.Until, search.Since
	if got := h.all(h.store.Desk(), search); len(got) != 0 {
		t.Errorf("of an interval that ends before it begins: %v", got)
	}
}
