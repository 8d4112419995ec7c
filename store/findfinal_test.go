package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
)

// finished inserts n intents of a status, the newest last. Each is kept until so long after its end.
func (h *harness) finished(prefix, kind string, status outbox.Status, n int, kept time.Duration, ended func(i int) time.Time) {
	h.t.Helper()
	docs := make([]bson.D, n)
	for i := range docs {
		docs[i] = bson.D{{Key: "_id", Value: fmt.Sprintf("%s-%05d", prefix, i)}, {Key: "kind", Value: kind}, {Key: "status", Value: status},
			{Key: "payload", Value: bson.D{}}, {Key: string(status) + "_at", Value: ended(i)}, {Key: "purge_at", Value: ended(i).Add(kept)}}
	}
	if _, err := h.outbox().InsertMany(h.t.Context(), docs, options.InsertMany().SetBypassDocumentValidation(true)); err != nil {
		h.t.Fatal(err)
	}
}

// examined returns how many index entries and documents the searches looked at that the store sent.
func (h *harness) examined() (keys, docs int64) {
	for _, c := range h.commands.take() {
		if c.name == "find" {
			p := h.explain(c)
			keys, docs = keys+p.keys, docs+p.docs
		}
	}
	return keys, docs
}

// follow reads all pages of a search, which may be short, and returns what was found and how many pages it took. No
// page may look at more than it is allowed.
func (h *harness) follow(s outbox.Search, mostKeys, mostDocs int64) (found []string, pages int) {
	h.t.Helper()
	d := h.store.Desk()
	for pages = 1; pages < 200; pages++ {
		h.commands.take()
		page, err := d.Find(h.t.Context(), s)
		if err != nil {
			h.t.Fatal(err)
		}
		if keys, docs := h.examined(); keys > mostKeys || docs > mostDocs {
			h.t.Errorf("page %d of %+v looked at %d keys and %d documents, want at most %d and %d", pages, s, keys, docs, mostKeys, mostDocs)
		}
		for _, in := range page.Items {
			found = append(found, in.Name)
		}
		if s.After = page.Next; s.After == "" {
			return found, pages
		}
	}
	h.t.Fatal("the pages have no end")
	return nil, 0
}

func TestFindCancelledReadsNothingElse(t *testing.T) {
	t.Parallel()
	h := newHarness(t).patient()
	base := h.store.Now().Truncate(time.Second)
	h.finished("done", "sms", outbox.StatusDone, 3000, time.Hour, func(int) time.Time { return base })
	h.finished("a", "sms", outbox.StatusCancelled, 60, time.Hour, func(i int) time.Time { return base.Add(time.Duration(i/7) * time.Second) })
	h.finished("b", "email", outbox.StatusCancelled, 40, time.Hour, func(i int) time.Time { return base.Add(time.Duration(i/7) * time.Second) })
	if _, err := h.outbox().UpdateOne(t.Context(), bson.D{{Key: "_id", Value: "a-00000"}}, bson.D{{Key: "$unset", Value: bson.D{{Key: "cancelled_at", Value: ""}, {Key: "purge_at", Value: ""}}}},
		options.UpdateOne().SetBypassDocumentValidation(true)); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int{1, 7, 10, 50} {
		most := 2*int64(limit+2) + 8 // of two kinds, and the seeks that find these
		got, _ := h.follow(outbox.Search{Stage: outbox.StageCancelled, Limit: limit}, most, most)
		if len(got) != 100 || got[99] != "a-00000" || len(slices.Compact(slices.Sorted(slices.Values(got)))) != 100 {
			t.Errorf("all by %d: %v", limit, got)
		}
		got, _ = h.follow(outbox.Search{Stage: outbox.StageCancelled, Kind: "email", Limit: limit}, int64(limit+3), int64(limit+3))
		if len(got) != 40 || got[0] != "b-00039" || got[39] != "b-00000" {
			t.Errorf("a kind by %d: %v", limit, got)
		}
	}
	if got, _ := h.follow(outbox.Search{Stage: outbox.StageCancelled, Kind: "email", Since: base.Add(5 * time.Second)}, 52, 52); len(got) != 5 {
		t.Errorf("since: %v", got)
	}
	if got, _ := h.follow(outbox.Search{Stage: outbox.StageCancelled, Kind: "fax"}, 1, 0); len(got) != 0 {
		t.Errorf("a kind that was never cancelled: %v", got)
	}
}

func TestFindDoneOfARareKindIsBounded(t *testing.T) {
	t.Parallel()
	h := newHarness(t).patient()
	base := h.store.Now().Truncate(time.Second)
	const many = 12_000
	at := func(i int) time.Time { return base.Add(time.Duration(i) * time.Millisecond) }
	h.finished("x", "sms", outbox.StatusDone, many, time.Hour, at)
	h.finished("rare", "email", outbox.StatusDone, 12, time.Hour, func(i int) time.Time { return at(1000 * i) })
	// One command by hand may give many the same instant: more than one page reads.
	const tied = 5200
	h.finished("tied", "sms", outbox.StatusDone, tied, time.Hour, func(int) time.Time { return base.Add(-time.Minute) })
	h.finished("old", "email", outbox.StatusDone, 3, time.Hour, func(int) time.Time { return base.Add(-time.Hour) })

	for _, limit := range []int{1, 5, 50} {
		got, pages := h.follow(outbox.Search{Stage: outbox.StageDone, Kind: "email", Limit: limit}, 2*(5000+tied)+600, 5000+tied)
		want := append(slices.Collect(h.countdown("rare", 12)), "old-00000", "old-00001", "old-00002")
		slices.Sort(got[min(12, len(got)):])
		if !slices.Equal(got, want) || pages < 3 {
			t.Errorf("by %d, in %d pages: %v", limit, pages, got)
		}
	}
	h.commands.take()
	page, err := h.store.Desk().Find(t.Context(), outbox.Search{Stage: outbox.StageDone, Kind: "fax"})
	if keys, docs := h.examined(); err != nil || page.Next == "" || len(page.Items) != 0 || docs > 5000 || keys > 10_100 {
		t.Errorf("a kind that is not there: %d rows, Next %q, %d keys, %d documents, %v", len(page.Items), page.Next, keys, docs, err)
	}
	page, err = h.store.Desk().Find(t.Context(), outbox.Search{Stage: outbox.StageDone})
	if keys, docs := h.examined(); err != nil || len(page.Items) != 50 || docs > 51 || keys > 560 {
		t.Errorf("what is done: %d rows, %d keys, %d documents, %v", len(page.Items), keys, docs, err)
	}
}

// countdown names what finished inserted, the newest first.
func (h *harness) countdown(prefix string, n int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i := n - 1; i >= 0 && yield(fmt.Sprintf("%s-%05d", prefix, i)); i-- {
		}
	}
}

func TestRatesByStepSendFewDocuments(t *testing.T) {
	t.Parallel()
	h := newHarness(t).patient()
	const minutes, step = 600, 2 * time.Hour
	from := time.Now().UTC().Truncate(step).Add(-minutes * time.Minute)
	want := map[string]outbox.RateCounters{}
	key := func(m outbox.RateMinute) string { return m.Minute.Format(time.RFC3339) + m.Kind }
	var all []outbox.RateMinute
	for i := range minutes {
		for k, kind := range []string{"charge", "email", "sms"} {
			m := outbox.RateMinute{Minute: from.Add(time.Duration(i) * time.Minute), Kind: kind}
			m.Done, m.Dead, m.LookUps, m.LeaseLost = int64(i+1), int64(k), 3, int64(i%2)
			m.Took[0], m.Took[1], m.Took[10], m.Took[11] = 1, 2, int64(i), 4
			all = append(all, m)
			bucket := m
			bucket.Minute = from.Add(m.Minute.Sub(from).Truncate(step))
			sum := want[key(bucket)]
			sum.Add(m.RateCounters)
			want[key(bucket)] = sum
		}
	}
	if err := h.store.AddRates(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	for kind, of := range map[string]int{"": 3, "email": 1} {
		h.commands.take()
		got, err := h.store.RatesBy(t.Context(), kind, from, from.Add(minutes*time.Minute), step)
		if err != nil || len(got) != of*minutes/120 {
			t.Fatalf("%q: %d buckets, %v", kind, len(got), err)
		}
		for _, m := range got {
			if m.RateCounters != want[key(m)] {
				t.Errorf("%s %s: %+v, want %+v", m.Kind, m.Minute, m.RateCounters, want[key(m)])
			}
		}
		sent := h.commands.take()
		if !slices.Equal(names(sent), []string{"aggregate"}) {
			t.Fatalf("sent %v", names(sent))
		}
		if docs := h.aggregated(sent[0]); docs != int64(of*minutes) {
			t.Errorf("%q: looked at %d documents, want %d", kind, docs, of*minutes)
		}
	}
}

// aggregated returns how many documents the server reads for an aggregation, wherever its version tells it.
func (h *harness) aggregated(c command) (docs int64) {
	h.t.Helper()
	var inner bson.D
	if err := bson.Unmarshal(c.body, &inner); err != nil {
		h.t.Fatal(err)
	}
	inner = slices.DeleteFunc(inner, func(e bson.E) bool {
		return !slices.Contains([]string{"aggregate", "pipeline", "cursor", "hint"}, e.Key)
	})
	var walk func(bson.Raw)
	walk = func(node bson.Raw) {
		elements, _ := node.Elements()
		for _, e := range elements {
			if n, ok := e.Value().AsInt64OK(); ok && e.Key() == "totalDocsExamined" {
				docs += n
			} else if v := e.Value(); v.Type == bson.TypeEmbeddedDocument || v.Type == bson.TypeArray {
				walk(v.Value)
			}
		}
	}
	walk(h.run(bson.D{{Key: "explain", Value: inner}, {Key: "verbosity", Value: "executionStats"}}))
	return docs
}
