package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
	"github.com/outboxd/outboxd/store/storetest"
)

// parked is a dead letter of which nobody knows whether it was sent.
func (h *harness) parked(id any, more map[string]any) {
	h.t.Helper()
	at := h.store.Now().Add(-time.Hour).Truncate(time.Millisecond)
	doc := h.intent(id, map[string]any{
		"status": "dead", "dead_reason": "ambiguous", "dead_at": at, "ambiguous_at": at, "attempts": int64(1), "first_attempt_at": at,
		"last_error": map[string]any{"class": "ambiguous", "code": "no_answer", "at": at},
		"history":    []any{map[string]any{"attempt": int64(1), "at": at, "ms": int64(5), "outcome": "ambiguous", "code": "no_answer", "worker": "w"}},
	})
	delete(doc, "due_at")
	for k, v := range more {
		if doc[k] = v; v == nil {
			delete(doc, k)
		}
	}
	h.Insert(doc)
}

func (h *harness) read(id string) (bson.Raw, *outbox.Intent) {
	h.t.Helper()
	raw, err := h.store.Get(h.t.Context(), id)
	if err != nil {
		h.t.Fatalf("Get(%q): %v", id, err)
	}
	in, err := h.store.Intent(raw)
	if err != nil {
		h.t.Fatal(err)
	}
	return raw, in
}

func (h *harness) soon(at any) bool {
	t, ok := at.(time.Time)
	return ok && h.store.Now().Sub(t).Abs() < time.Minute
}

func TestRetryDeadNotesWhoAskedAndKeepsWhatStands(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for n := int64(1); n <= 2; n++ {
		if n == 1 {
			h.parked("a", map[string]any{"progress": map[string]any{"key": "a"}, "dropped": int64(3)})
		} else {
			h.Change("a", map[string]any{"status": "dead", "dead_reason": "exhausted", "dead_at": h.store.Now(), "due_at": nil})
		}
		raw, _ := h.read("a")
		if err := h.store.RetryDead(t.Context(), raw, outbox.DeadRetry{MaxAttempts: 13, Generation: int(n), Doubt: true}, "ada", "$why"); err != nil {
			t.Fatal(err)
		}
		doc := h.Get("a")
		retried, _ := doc["retried"].(map[string]any)
		if retried["by"] != "ada" || retried["why"] != "$why" || retried["n"] != n || !h.soon(retried["at"]) {
			t.Errorf("retried %d times: %v", n, retried)
		}
		records := doc["history"].([]any)
		last := records[len(records)-1].(map[string]any)
		if int64(len(records)) != 1+n || last["what"] != "retry" || last["by"] != "ada" || last["why"] != "$why" || !h.soon(last["at"]) {
			t.Errorf("history: %v", records)
		}
		if doc["status"] != "pending" || !h.soon(doc["due_at"]) || doc["generation"] != n || doc["max_attempts"] != int64(13) || doc["dropped"] != int64(3) {
			t.Errorf("retried: %v", doc)
		}
		for _, kept := range []string{"progress", "first_attempt_at", "last_error", "ambiguous_at"} {
			if doc[kept] == nil {
				t.Errorf("a retry took %s away", kept)
			}
		}
		for _, gone := range []string{"dead_at", "dead_reason"} {
			if doc[gone] != nil {
				t.Errorf("a retry left %s", gone)
			}
		}
	}
	if _, in := h.read("a"); len(in.Problems) > 0 || in.RetriedAt.IsZero() {
		t.Errorf("read back: %v", in.Problems)
	}
}

// A doubt that left no mark gets one, so that the delivery asks before it sends.
func TestRetryDeadMarksADoubt(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.parked("a", map[string]any{"ambiguous_at": nil})
	raw, _ := h.read("a")
	if err := h.store.RetryDead(t.Context(), raw, outbox.DeadRetry{MaxAttempts: 13, Doubt: true}, "ada", ""); err != nil {
		t.Fatal(err)
	}
	doc := h.Get("a")
	if !h.soon(doc["ambiguous_at"]) || doc["generation"] != nil {
		t.Errorf("retried: %v", doc)
	}
	if retried := doc["retried"].(map[string]any); retried["why"] != nil {
		t.Errorf("a why that nobody gave: %v", retried)
	}
}

// History keeps twenty attempts and twenty other events; a person's act drops the oldest of the latter alone.
func TestRetryDeadKeepsHistoryShort(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var records []any
	for n := range int64(20) {
		records = append(records, map[string]any{"attempt": n + 1, "outcome": "transient"}, map[string]any{"what": "lookup", "n": n})
	}
	h.parked("a", map[string]any{"history": records, "dropped": int64(1)})
	raw, _ := h.read("a")
	if err := h.store.RetryDead(t.Context(), raw, outbox.DeadRetry{MaxAttempts: 13}, "ada", ""); err != nil {
		t.Fatal(err)
	}
	doc := h.Get("a")
	records = doc["history"].([]any)
	attempts, events := 0, 0
	for _, r := range records {
		if r.(map[string]any)["what"] == nil {
			attempts++
		} else {
			events++
		}
	}
	if attempts != 20 || events != 20 || doc["dropped"] != int64(2) || records[1].(map[string]any)["attempt"] != int64(2) {
		t.Errorf("%d attempts, %d events, dropped %v: %v", attempts, events, doc["dropped"], records[:3])
	}
}

// What was judged must still stand when it is written: a fence by dead_at alone would let a second death, or an edit,
// pass.
func TestChangesByHandAreFenced(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	at := h.store.Now().Truncate(time.Millisecond)
	changes := map[string]map[string]any{
		"retried and dead again": {"dead_at": at},
		"pending":                {"status": "pending", "due_at": at},
		"another reason":         {"dead_reason": "exhausted"},
		"the mark is gone":       {"ambiguous_at": nil},
		"another class":          {"last_error": map[string]any{"class": "permanent", "code": "opted_out"}},
		"a lease":                {"lease": map[string]any{"token": "t"}},
		"an outcome":             {"outcome": map[string]any{"event": "delivered"}},
		"an attempt more":        {"attempts": int64(2)},
		"another generation":     {"generation": int64(1)},
		"history":                {"history": []any{}},
		"no history":             {"history": nil},
		"retried":                {"retried": map[string]any{"n": int64(1)}},
		"answered":               {"resolved": map[string]any{"verdict": "not_sent"}},
		"a result":               {"result": map[string]any{"id": "SM1"}},
	}
	for name, change := range changes {
		h.parked(name, nil)
		raw, _ := h.read(name)
		h.Change(name, change)
		want := fmt.Sprint(h.Get(name))
		_, resolved := h.store.Resolve(t.Context(), raw, outbox.Resolution{Reason: outbox.ReasonExhausted})
		for what, err := range map[string]error{
			"retry":   h.store.RetryDead(t.Context(), raw, outbox.DeadRetry{MaxAttempts: 13}, "ada", ""),
			"resolve": resolved,
			"cancel":  h.store.Cancel(t.Context(), raw),
		} {
			if !errors.Is(err, store.ErrChanged) {
				t.Errorf("%s after %s: %v, want ErrChanged", what, name, err)
			}
		}
		if got := fmt.Sprint(h.Get(name)); got != want {
			t.Errorf("%s: %s was written over %s", name, got, want)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.Insert(h.intent("a", map[string]any{"on_dead": []any{map[string]any{"kind": "sms"}}}))
	raw, _ := h.read("a")
	if err := h.store.Cancel(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	doc := h.Get("a")
	purge, _ := doc["purge_at"].(time.Time)
	cancelled, _ := doc["cancelled_at"].(time.Time)
	if doc["status"] != "cancelled" || doc["due_at"] != nil || !h.soon(cancelled) || purge.Sub(cancelled) != 168*time.Hour {
		t.Errorf("cancelled: %v", doc)
	}
	if n := len(h.All()); n != 1 {
		t.Errorf("%d documents, want the cancelled one alone", n)
	}
	h.Insert(h.intent("b", nil))
	raw, _ = h.read("b")
	h.claim(1)
	if err := h.store.Cancel(t.Context(), raw); !errors.Is(err, store.ErrChanged) {
		t.Errorf("cancelled what a worker had claimed: %v", err)
	}
}

func TestResolveSent(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.InsertBusiness(storetest.Orders, map[string]any{"_id": "o", "state": "new"})
	h.parked("a", map[string]any{
		"on_done":    []any{map[string]any{"kind": "sms", "payload": map[string]any{"to": "+4915112345678", "from": "+15550001111", "body": "${result.id}"}}},
		"write_back": map[string]any{"collection": storetest.Orders, "id": "o", "done": map[string]any{"state": "sent", "ref": "${result.id}", "by": "${result.provider}"}},
	})
	raw, in := h.read("a")
	resolution, err := outbox.Resolve(in, outbox.PersonVerdict{Sent: true, Evidence: "SM$1", Why: "seen", By: "ada"}, policy, h.store.Now())
	if err != nil {
		t.Fatal(err)
	}
	if settled, err := h.store.Resolve(t.Context(), raw, resolution); err != nil || settled.Lost || settled.Waiting != "" || len(settled.Notes) > 0 {
		t.Fatalf("Resolve: %+v, %v", settled, err)
	}
	doc := h.Get("a")
	resolved, _ := doc["resolved"].(map[string]any)
	if resolved["by"] != "ada" || resolved["why"] != "seen" || resolved["verdict"] != "sent" || resolved["evidence"] != "SM$1" || !h.soon(resolved["at"]) {
		t.Errorf("resolved: %v", resolved)
	}
	result, _ := doc["result"].(map[string]any)
	if doc["status"] != "done" || result["id"] != "SM$1" || result["provider"] != "twilio" || doc["attempts"] != int64(1) || !h.soon(doc["done_at"]) {
		t.Errorf("settled: %v", doc)
	}
	for _, gone := range []string{"dead_at", "dead_reason", "ambiguous_at", "lease", "due_at"} {
		if doc[gone] != nil {
			t.Errorf("it is done, and has %s: %v", gone, doc[gone])
		}
	}
	records := doc["history"].([]any)
	if last := records[len(records)-1].(map[string]any); last["what"] != "resolve" || last["ref"] != "SM$1" || last["by"] != "ada" {
		t.Errorf("history: %v", records)
	}
	if up := h.Get("a:done:0"); up == nil || up["payload"].(map[string]any)["body"] != "SM$1" {
		t.Errorf("the follow-up: %v", up)
	}
	if order := h.Business(storetest.Orders, "o"); order["state"] != "sent" || order["ref"] != "SM$1" || order["by"] != "twilio" {
		t.Errorf("write_back: %v", order)
	}
	if _, err := h.store.Resolve(t.Context(), raw, resolution); !errors.Is(err, store.ErrChanged) {
		t.Errorf("the same answer on the old document: %v, want ErrChanged", err)
	}
}

// A process that dies between the answer and the transaction leaves an outcome under a lease, which a worker settles.
func TestResolveSentSurvivesADeath(t *testing.T) { // not parallel: it arms a failpoint
	h := newHarness(t)
	h.parked("a", nil)
	raw, in := h.read("a")
	resolution, err := outbox.Resolve(in, outbox.PersonVerdict{Sent: true, Evidence: "SM1", By: "ada"}, policy, h.store.Now())
	if err != nil {
		t.Fatal(err)
	}
	h.fail(1, []string{"find"}, bson.E{Key: "errorCode", Value: 1}) // the reading back
	if _, err := h.store.Resolve(t.Context(), raw, resolution); err == nil {
		t.Fatal("it was settled")
	}
	_, in = h.read("a")
	if action, verdict := outbox.Next(in, policy, h.store.Now()); in.Status != outbox.StatusLeased || in.DueAt.IsZero() || action != outbox.Settle || verdict.Event != outbox.Recorded {
		t.Fatalf("%s until %v; a worker would do %v, %v", in.Status, in.DueAt, action, verdict.Event)
	}
	if len(in.Problems) > 0 {
		t.Errorf("problems: %v", in.Problems)
	}
	h.Change("a", map[string]any{"due_at": h.store.Now().Add(-time.Second)}) // the lease is over
	claimed := h.claim(1)
	if len(claimed) != 1 {
		t.Fatal("no worker can claim it")
	}
	h.settle([]outbox.Settlement{{Intent: claimed[0], Decision: outbox.Decide(claimed[0], outbox.Verdict{Event: outbox.Recorded}, policy, h.store.Now())}})
	if doc := h.Get("a"); doc["status"] != "done" || doc["attempts"] != int64(1) || doc["result"].(map[string]any)["id"] != "SM1" {
		t.Errorf("settled by a worker: %v", doc)
	}
}

func TestResolveNotSent(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.parked("a", map[string]any{"lease": map[string]any{"token": "left"}})
	raw, in := h.read("a")
	answer := outbox.PersonVerdict{Why: "asked", By: "ada"}
	resolution, err := outbox.Resolve(in, answer, policy, h.store.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.Resolve(t.Context(), raw, resolution); err != nil {
		t.Fatal(err)
	}
	doc := h.Get("a")
	resolved, _ := doc["resolved"].(map[string]any)
	if doc["status"] != "dead" || doc["dead_reason"] != "exhausted" || doc["ambiguous_at"] != nil || doc["lease"] != nil || doc["dead_at"] == nil ||
		resolved["verdict"] != "not_sent" || resolved["why"] != "asked" || resolved["evidence"] != nil || !h.soon(resolved["at"]) {
		t.Errorf("resolved: %v", doc)
	}
	raw, in = h.read("a")
	if again, err := outbox.Resolve(in, answer, policy, h.store.Now()); err != nil || !again.Again {
		t.Errorf("the same answer again: %+v, %v", again, err)
	} else if _, err := h.store.Resolve(t.Context(), raw, again); err != nil {
		t.Error(err)
	}
	retry, err := outbox.RetryDead(in, policy, false, h.store.Now())
	if err != nil || retry.Doubt || retry.Generation != 0 {
		t.Errorf("after the answer: %+v, %v", retry, err)
	}
}

func TestGetTellsTypesApart(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	oid, uuid := outbox.NewObjectID([12]byte{1}), outbox.NewUUID([16]byte{2})
	quoted := `"` + oid.String() + `"`
	for _, id := range []any{oid, oid.String(), uuid, uuid.String(), quoted, int64(7), "7", "only"} {
		h.Insert(h.intent(id, nil))
	}
	for text, want := range map[string]any{
		"only": "only", `"only"`: "only",
		`{"$oid":"` + oid.String() + `"}`: oid, `{"$oid": "` + oid.String() + `"}`: oid,
		`{"$uuid":"` + uuid.String() + `"}`: uuid, `"` + uuid.String() + `"`: uuid.String(),
		`{"$numberInt":"7"}`: int64(7), `"7"`: "7",
	} {
		raw, err := h.store.Get(t.Context(), text)
		if err != nil {
			t.Errorf("Get(%s): %v", text, err)
			continue
		}
		if doc, err := store.Decode(raw); err != nil || doc["_id"] != want && fmt.Sprint(doc["_id"]) != fmt.Sprint(h.Get(want)["_id"]) {
			t.Errorf("Get(%s) is %v, want %v", text, doc["_id"], want)
		}
	}
	for text, names := range map[string][]string{
		oid.String():  {`{"$oid":"` + oid.String() + `"}`, quoted},
		uuid.String(): {`{"$uuid":"` + uuid.String() + `"}`, `"` + uuid.String() + `"`},
		"7":           {`{"$numberInt":"7"}`, `"7"`},
		quoted:        {`"\"` + oid.String() + `\""`, quoted},
	} {
		_, err := h.store.Get(t.Context(), text)
		if err == nil {
			t.Errorf("Get(%s) guesses", text)
			continue
		}
		for _, name := range names {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("Get(%s) does not name %s: %v", text, name, err)
			}
		}
	}
	if _, err := h.store.Get(t.Context(), "{"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("no JSON: %v", err)
	}
}
