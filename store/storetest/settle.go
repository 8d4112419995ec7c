package storetest

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

func settleTests() []test {
	return []test{
		{"settle writes done", settleDone},
		{"settle writes a retry", settleRetry},
		{"settle gives an attempt back", settleGivesBack},
		{"settle writes a dead letter", settleDead},
		{"settle keeps, sets and clears the ambiguous mark", settleMark},
		{"settle records abandoned attempts", settleAbandoned},
		{"settle keeps the last 20 attempts", settleHistory},
		{"settle folds look-ups that learn the same", settleLookUps},
		{"settle leaves what others wrote into history", settleForeignHistory},
		{"settle gives back with what has happened", settleGivesBackTraces},
		{"settle writes texts literally and within bounds", settleTexts},
		{"settle writes each row its own", settleTable},
		{"settle takes batches of any size", settleSizes},
		{"settle clears what an earlier end left", settleLeftovers},
		{"progress is stored whole", progressStored},
	}
}

func settleDone(e *env) {
	in := e.insertAndClaim("a", fields{"kept": map[string]any{"x": int64(1)}, "priority": int64(0), "last_error": map[string]any{"class": "transient", "code": "not_sent", "at": e.ago(time.Hour)}})
	before := e.get("a")
	e.settled(e.decide(in, delivered()))
	doc := e.get("a")
	e.want(doc, fields{
		"status": "done", "attempts": int64(1), "due_at": nil, "lease": nil, "ambiguous_at": nil, "dead_at": nil,
		"result":     map[string]any{"provider": "twilio", "id": "SM1", "status": "queued"},
		"last_error": before["last_error"], "kept": before["kept"], "payload": before["payload"], "first_attempt_at": before["first_attempt_at"],
		"history": []any{map[string]any{"what": "attempt", "attempt": int64(1), "at": in.Lease.At, "ms": int64(250), "outcome": "done", "ref": "SM1", "worker": owner}},
	})
	e.wantSoon(doc, "done_at", 0)
	e.wantSoon(doc, "purge_at", Retention)
}

func settleRetry(e *env) {
	in := e.insertAndClaim("a", nil)
	s := e.decide(in, fails(outbox.Transient, outbox.CodeUnavailable))
	s.Decision.Delay = 10 * time.Minute
	e.settled(s)
	doc := e.get("a")
	e.want(doc, fields{
		"status": "pending", "attempts": int64(1), "lease": nil, "done_at": nil, "purge_at": nil, "first_attempt_at": in.FirstAttemptAt,
		"history": []any{map[string]any{"what": "attempt", "attempt": int64(1), "at": in.Lease.At, "ms": int64(250), "outcome": "transient", "code": "unavailable",
			"provider_code": "30001", "http_status": int64(503), "request_id": "RQ1", "worker": owner}},
	})
	e.wantSoon(doc, "due_at", 10*time.Minute)
	last := doc["last_error"].(map[string]any)
	e.wantSoon(last, "at", 0)
	delete(last, "at")
	e.want(doc, fields{"last_error": map[string]any{"class": "transient", "code": "unavailable", "message": "the provider said so", "provider": "twilio",
		"provider_code": "30001", "http_status": int64(503), "request_id": "RQ1"}})
}

func settleGivesBack(e *env) {
	in := e.insertAndClaim("a", nil)
	e.settled(e.decide(in, unsent()))
	doc := e.get("a")
	e.want(doc, fields{"status": "pending", "attempts": int64(0), "lease": nil, "first_attempt_at": nil, "history": nil, "last_error": nil})
	e.wantSoon(doc, "due_at", 0)

	e.lapse("a")
	in = e.claimOne()
	e.settled(e.decide(in, fails(outbox.Transient, outbox.CodeConflict)))
	e.lapse("a")
	e.settled(e.decide(e.claimOne(), fails(outbox.RateLimited, outbox.CodeRateLimited)))
	e.want(e.get("a"), fields{"attempts": int64(1), "first_attempt_at": in.FirstAttemptAt})
}

func settleDead(e *env) {
	in := e.insertAndClaim("a", nil)
	e.settled(e.decide(in, fails(outbox.Permanent, outbox.CodeBadRecipient)))
	doc := e.get("a")
	e.want(doc, fields{"status": "dead", "dead_reason": "permanent", "due_at": nil, "lease": nil, "purge_at": nil, "result": nil})
	e.wantSoon(doc, "dead_at", 0)
}

func settleMark(e *env) {
	in := e.insertAndClaim("a", nil)
	e.settled(e.decide(in, fails(outbox.Ambiguous, outbox.CodeNoAnswer)))
	doc := e.get("a")
	e.wantSoon(doc, "ambiguous_at", 0)

	since := e.ago(time.Minute)
	e.h.Change("a", map[string]any{"ambiguous_at": since})
	e.lapse("a")
	e.settled(e.decide(e.claimOne(), fails(outbox.Ambiguous, outbox.CodeNoAnswer)))
	e.want(e.get("a"), fields{"ambiguous_at": since}) // it is since the first one that nobody knows

	e.lapse("a")
	e.settled(e.decide(e.claimOne(), unsent()))
	e.want(e.get("a"), fields{"ambiguous_at": since})

	e.lapse("a")
	e.settled(e.decide(e.claimOne(), outbox.Verdict{Event: outbox.Found, Receipt: outbox.Receipt{Provider: "twilio", ID: "SM2"}}))
	e.want(e.get("a"), fields{"status": "done", "ambiguous_at": nil, "result": map[string]any{"provider": "twilio", "id": "SM2"}})
}

func settleAbandoned(e *env) {
	e.insert("a", nil)
	e.claim(1)
	e.lapse("a")
	e.claim(1)
	e.lapse("a")
	in := e.claimOne()
	e.settled(e.decide(in, delivered()))
	lost := func(n int64) map[string]any {
		return map[string]any{"what": "attempt", "attempt": n, "outcome": "ambiguous", "code": "lease_expired"}
	}
	e.want(e.get("a"), fields{"attempts": int64(3), "history": []any{lost(1), lost(2),
		map[string]any{"what": "attempt", "attempt": int64(3), "at": in.Lease.At, "ms": int64(250), "outcome": "done", "ref": "SM1", "worker": owner}}})
}

func settleHistory(e *env) {
	e.insert("a", fields{"max_attempts": int64(100)})
	for range 25 {
		s := e.decide(e.claimOne(), fails(outbox.Transient, outbox.CodeConflict))
		s.Decision.Delay = 0
		e.settled(s)
		e.lapse("a")
	}
	history := e.get("a")["history"].([]any)
	first, last := history[0].(map[string]any), history[len(history)-1].(map[string]any)
	if len(history) != 20 || first["attempt"] != int64(6) || last["attempt"] != int64(25) {
		e.Errorf("history has %d entries from %v to %v, want 20 from 6 to 25", len(history), first["attempt"], last["attempt"])
	}
	e.want(e.get("a"), fields{"dropped": int64(5)})
}

// settleLookUps: look-ups that learn the same are one record, and they push no attempt out of history.
func settleLookUps(e *env) {
	e.insert("a", nil)
	first := e.claimOne()
	e.settled(e.decide(first, fails(outbox.Ambiguous, outbox.CodeNoAnswer)))
	look := func(v outbox.Verdict) *outbox.Intent {
		e.lapse("a")
		in := e.claimOne()
		e.settled(e.decide(in, v))
		return in
	}
	absent := outbox.Verdict{Event: outbox.Absent}
	one, _, three := look(absent), look(absent), look(absent)
	blind := look(outbox.Verdict{Event: outbox.LookUpFailed, Failure: &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodeCannotTell, HTTPStatus: 500}})
	again := look(absent)
	found := look(outbox.Verdict{Event: outbox.Found, Receipt: outbox.Receipt{Provider: "twilio", ID: "SM7", RequestID: "RQ7", HTTPStatus: 200}})
	entry := func(in *outbox.Intent, outcome string, more map[string]any) map[string]any {
		doc := map[string]any{"what": "lookup", "at": in.Lease.At, "ms": int64(250), "outcome": outcome, "worker": owner}
		maps.Copy(doc, more)
		return doc
	}
	e.want(e.get("a"), fields{"dropped": nil, "history": []any{
		map[string]any{"what": "attempt", "attempt": int64(1), "at": first.Lease.At, "ms": int64(250), "outcome": "ambiguous", "code": "no_answer",
			"provider_code": "30001", "http_status": int64(503), "request_id": "RQ1", "worker": owner},
		entry(three, "absent", map[string]any{"first": one.Lease.At, "last": three.Lease.At, "n": int64(3)}),
		entry(blind, "ambiguous", map[string]any{"code": "cannot_tell", "http_status": int64(500)}),
		entry(again, "absent", nil),
		entry(found, "done", map[string]any{"http_status": int64(200), "request_id": "RQ7", "ref": "SM7"}),
	}})
}

// settleForeignHistory: what a person wrote into history stays, and what is no history is left alone.
func settleForeignHistory(e *env) {
	retry := map[string]any{"what": "retry", "at": e.ago(time.Minute), "by": "ann", "why": "asked by phone", "job": "j1"}
	in := e.insertAndClaim("a", fields{"attempts": int64(1), "first_attempt_at": e.ago(time.Hour), "dropped": int64(7),
		"history": []any{map[string]any{"attempt": int64(1), "outcome": "transient", "code": "not_sent"}, retry}})
	e.settled(e.decide(in, delivered()))
	history := e.get("a")["history"].([]any)
	if len(history) != 3 || !reflect.DeepEqual(history[1], retry) {
		e.Errorf("history is %v, want the retry by hand in it", history)
	}
	e.want(e.get("a"), fields{"dropped": int64(7)})
	e.h.Change("a", map[string]any{"history": history[:1]}) // the invariants know no retry
	in = e.insertAndClaim("b", fields{"attempts": int64(1), "first_attempt_at": e.ago(time.Hour), "history": "long"})
	e.settled(e.decide(in, outbox.Verdict{Event: outbox.Malformed}))
	e.want(e.get("b"), fields{"history": "long"})
}

// settleGivesBackTraces: what was given back looks like a producer's insert only if nothing happened to it.
func settleGivesBackTraces(e *env) {
	for name, more := range map[string]fields{
		"error": {"last_error": map[string]any{"class": "hold", "code": "forbidden", "at": e.ago(time.Hour)}}, "generation": {"generation": int64(1)},
		"progress": {"progress": map[string]any{"key": "x"}}, "mark": {"ambiguous_at": e.ago(time.Minute)},
	} {
		more["first_attempt_at"] = e.ago(time.Hour)
		in := e.insertAndClaim(name, more)
		e.settled(e.decide(in, unsent()))
		e.want(e.get(name), fields{"attempts": int64(0), "first_attempt_at": more["first_attempt_at"]})
		e.h.Change(name, map[string]any{"kind": "out of the way"})
	}
	in := e.insertAndClaim("saved since", nil)
	if err := e.s.SaveProgress(e.ctx(), in, outbox.Progress{"key": "x"}); err != nil {
		e.Fatal(err)
	}
	e.settled(e.decide(in, unsent()))
	e.want(e.get("saved since"), fields{"first_attempt_at": in.Lease.At})
	e.h.Change("saved since", map[string]any{"kind": "out of the way"})
	e.settled(e.decide(e.insertAndClaim("held", nil), fails(outbox.Hold, outbox.CodeForbidden)))
	if e.get("held")["first_attempt_at"] == nil {
		e.Error("an intent with a last_error has no first_attempt_at")
	}
}

func settleTexts(e *env) {
	in := e.insertAndClaim("a", nil)
	s := e.decide(in, outbox.Verdict{Event: outbox.Failed, Failure: &outbox.Failure{
		Class: outbox.Transient, Code: outbox.CodeConflict, Message: "$status " + strings.Repeat("ü", 5000), Provider: "$$ROOT", ProviderCode: "\xff" + strings.Repeat("9", 5000), RequestID: "$_id",
	}})
	e.settled(s)
	last := e.get("a")["last_error"].(map[string]any)
	message, code := last["message"].(string), last["provider_code"].(string)
	if len(message) > 1000 || !strings.HasPrefix(message, "$status ü") || !strings.HasSuffix(message, "…") || len(code) > 200 || !strings.HasPrefix(code, "9") || last["provider"] != "$$ROOT" || last["request_id"] != "$_id" {
		e.Errorf("last_error is %v", last)
	}
	e.lapse("a")
	e.settled(e.decide(e.claimOne(), outbox.Verdict{Event: outbox.Delivered, Receipt: outbox.Receipt{Provider: "twilio", ID: "$lease", Status: "$$REMOVE"}}))
	e.want(e.get("a"), fields{"result": map[string]any{"provider": "twilio", "id": "$lease", "status": "$$REMOVE"}})
}

func settleTable(e *env) {
	verdicts := []outbox.Verdict{delivered(), fails(outbox.Transient, outbox.CodeConflict), fails(outbox.Permanent, outbox.CodeOptedOut), unsent(), fails(outbox.Ambiguous, outbox.CodeNoAnswer)}
	status := []string{"done", "pending", "dead", "pending", "pending"}
	for n := range 25 {
		e.insert(fmt.Sprintf("%02d", n), fields{"due_at": e.ago(time.Duration(100-n) * time.Second)})
	}
	claimed := append(e.claim(10), e.claim(15)...) // under two tokens
	var batch []outbox.Settlement
	for n, in := range claimed {
		v := verdicts[n%5]
		if v.Event == outbox.Delivered {
			v.Receipt.ID = "SM" + in.ID.String()
		}
		s := e.decide(in, v)
		s.Decision.Delay = time.Duration(n) * time.Hour
		batch = append(batch, s)
	}
	e.settled(batch...)
	for n, in := range claimed {
		doc := e.get(in.ID)
		e.want(doc, fields{"status": status[n%5]})
		switch {
		case n%5 == 0:
			e.want(doc, fields{"result": map[string]any{"provider": "twilio", "id": "SM" + in.ID.String(), "status": "queued"}})
		case status[n%5] == "pending":
			e.wantSoon(doc, "due_at", time.Duration(n)*time.Hour)
		}
	}
}

func settleSizes(e *env) {
	if answers := e.settle(); len(answers) != 0 {
		e.Errorf("an empty batch was answered by %v", answers)
	}
	const n = 1100
	for i := range n {
		e.insert(fmt.Sprint(i), nil)
	}
	var batch []outbox.Settlement
	for _, in := range e.claim(n) {
		batch = append(batch, e.decide(in, delivered()))
	}
	if len(batch) != n {
		e.Fatalf("claimed %d intents, want %d", len(batch), n)
	}
	e.settled(batch...)
	for _, doc := range e.h.All() {
		e.want(doc, fields{"status": "done"})
	}
}

func settleLeftovers(e *env) {
	old := e.ago(time.Hour)
	in := e.insertAndClaim("a", fields{"dead_at": old, "dead_reason": "exhausted", "purge_at": old, "done_at": old})
	e.settled(e.decide(in, fails(outbox.Transient, outbox.CodeConflict)))
	e.want(e.get("a"), fields{"dead_at": nil, "dead_reason": nil, "purge_at": nil, "done_at": nil})
}

func progressStored(e *env) {
	in := e.insertAndClaim("a", fields{"progress": map[string]any{"old": "x"}})
	at := e.ago(0)
	if err := e.s.SaveProgress(e.ctx(), in, outbox.Progress{"intent": "$_id", "n": int64(1) << 40, "at": at}); err != nil {
		e.Fatalf("SaveProgress: %v", err)
	}
	e.want(e.get("a"), fields{"progress": map[string]any{"intent": "$_id", "n": int64(1) << 40, "at": at}, "status": "leased"})
	e.lapse("a")
	again := e.claimOne()
	if again.Progress["intent"] != "$_id" || len(again.Problems) > 0 {
		e.Errorf("claimed with the progress %v, problems %v", again.Progress, again.Problems)
	}
	e.settled(e.decide(again, delivered()))
	e.want(e.get("a"), fields{"progress": map[string]any{"intent": "$_id", "n": int64(1) << 40, "at": at}})
}
