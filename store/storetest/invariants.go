package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// fieldsOfContract are all fields that an intent's document may have, and "kept", which stands in the tests for a field
// that no version of the worker knows.
var fieldsOfContract = []string{"_id", "v", "kind", "status", "due_at", "payload", "expires_at", "priority", "dedup_key", "max_attempts",
	"on_ambiguous", "on_done", "on_dead", "write_back", "metadata", "trace", "created_at", "attempts", "lease", "first_attempt_at", "ambiguous_at",
	"generation", "progress", "last_error", "history", "result", "done_at", "dead_at", "cancelled_at", "dead_reason", "purge_at", "kept",
	"outcome", "dropped", "first_due_at", "retried"}

// checkInvariants checks every document against what the contract says of the fields that workers write.
func checkInvariants(t *testing.T, docs []map[string]any) {
	t.Helper()
	for _, doc := range docs {
		c := checker{t, doc}
		c.fields()
		c.times()
		c.lease()
		c.attempts()
		c.history()
	}
}

type checker struct {
	t   *testing.T
	doc map[string]any
}

// must reports a rule that the document breaks.
func (c checker) must(ok bool, rule string) {
	c.t.Helper()
	if !ok {
		c.t.Errorf("an intent breaks the rule %q:\n  %v", rule, c.doc)
	}
}

func (c checker) has(field string) bool   { _, ok := c.doc[field]; return ok }
func (c checker) date(field string) bool  { _, ok := c.doc[field].(time.Time); return ok }
func (c checker) is(s outbox.Status) bool { return c.doc["status"] == string(s) }
func (c checker) number(field string) int { n, _ := c.doc[field].(int64); return int(n) }
func (c checker) final() bool {
	return c.is(outbox.StatusDone) || c.is(outbox.StatusDead) || c.is(outbox.StatusCancelled)
}
func (c checker) sub(f string) map[string]any { d, _ := c.doc[f].(map[string]any); return d }

func (c checker) fields() {
	for name := range c.doc {
		c.must(slices.Contains(fieldsOfContract, name), "no field "+name)
	}
	c.must(c.final() || c.is(outbox.StatusPending) || c.is(outbox.StatusLeased), "status is one of five")
	c.must(c.is(outbox.StatusDead) == c.has("dead_reason"), "dead, and only dead, has a reason")
	c.must(!c.is(outbox.StatusDead) || len(c.sub("last_error")) > 0, "dead has a last_error")
	c.must(!c.is(outbox.StatusDone) || len(c.sub("result")) > 0, "done has a result")
	if c.has("last_error") {
		e := c.sub("last_error")
		_, dated := e["at"].(time.Time)
		c.must(e["class"] != nil && e["code"] != nil && dated, "last_error has class, code and at")
	}
}

func (c checker) times() {
	c.must(c.final() || c.date("due_at"), "what waits or is leased has a due_at")
	c.must(!c.final() || !c.has("due_at"), "what is final has no due_at")
	c.must(c.is(outbox.StatusDone) == c.date("done_at"), "done, and only done, has done_at")
	c.must(c.is(outbox.StatusDead) == c.date("dead_at"), "dead, and only dead, has dead_at")
	if c.is(outbox.StatusDone) && c.date("purge_at") && c.date("done_at") {
		kept := c.doc["purge_at"].(time.Time).Sub(c.doc["done_at"].(time.Time))
		c.must(kept == Retention, "done is kept for the retention time")
	} else {
		c.must(!c.has("purge_at"), "done has purge_at; what waits, is leased or is dead has none")
	}
	c.must(!c.is(outbox.StatusDone) || !c.has("ambiguous_at"), "done is not ambiguous")
}

func (c checker) lease() {
	c.must(c.is(outbox.StatusLeased) == c.has("lease"), "leased, and only leased, has a lease")
	if !c.is(outbox.StatusLeased) {
		return
	}
	l := c.sub("lease")
	token, _ := l["token"].(string)
	_, dated := l["at"].(time.Time)
	_, said := l["reclaimed"].(bool)
	c.must(len(token) >= 26 && l["owner"] != nil && dated && said && len(l) == 4, "a lease has token, owner, at and reclaimed")
}

func (c checker) attempts() {
	most := policy.Retry.MaxAttempts
	if own := c.number("max_attempts"); own > 0 {
		most = own
	}
	reclaimed, _ := c.sub("lease")["reclaimed"].(bool)
	c.must(c.number("attempts") <= most || c.is(outbox.StatusLeased), "only a claim counts past the maximum")
	c.must(c.number("attempts") <= most+1 || reclaimed, "only leases that run out count on past the maximum")
	c.must(!c.is(outbox.StatusLeased) || c.number("attempts") >= 1, "leased has an attempt")
	c.must(c.number("attempts") == 0 || c.date("first_attempt_at"), "what has attempts has a first one")
	if waits := c.is(outbox.StatusPending) || c.is(outbox.StatusLeased); waits && !c.has("first_attempt_at") {
		for _, field := range []string{"lease", "progress", "generation", "ambiguous_at", "outcome", "history", "result", "last_error"} {
			c.must(!c.has(field), "without a first attempt there is nothing of the worker's, as in a producer's insert: "+field)
		}
	}
	c.must(!c.has("outcome") || !c.final(), "what is final has no recorded outcome")
}

func (c checker) history() {
	entries, _ := c.doc["history"].([]any)
	attempts, last := 0, 0
	for _, item := range entries {
		entry, _ := item.(map[string]any)
		c.must(entry["outcome"] != nil, "an entry of history has an outcome")
		if what := entry["what"]; what != nil && what != "attempt" {
			c.must(what == "lookup", "only attempts and look-ups are in the history of these tests")
			continue
		}
		if entry["attempt"] == nil { // a call that was given back
			c.must(entry["what"] == "attempt", "a call without a number says what it is")
			continue
		}
		attempts++
		n, _ := entry["attempt"].(int64)
		c.must(int(n) > last, "attempts ascend in history")
		last = int(n)
	}
	c.must(attempts <= outbox.MaxHistory && len(entries)-attempts <= outbox.MaxHistory, "history has at most 20 attempts and 20 others")
	c.must(last <= c.number("attempts"), "history does not know of attempts that were not begun")
}
