package storetest

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

func consequenceTests() []test {
	return []test{
		{"follow-ups are inserted with the outcome", followUpsInserted},
		{"follow-ups belong to their outcome", followUpsByOutcome},
		{"follow-ups exist once", followUpsOnce},
		{"a stranger under a follow-up's _id swallows nothing", followUpsOfStrangers},
		{"each death brings its follow-ups", followUpsOfEachDeath},
		{"a follow-up whose dedup_key exists is skipped", followUpDeduplicated},
		{"a follow-up that breaks the contract is a dead letter", followUpMalformed},
		{"a follow-up that the database refuses is a dead letter", followUpRefused},
		{"write_back updates the business document", writeBackUpdates},
		{"write_back is literal", writeBackLiteral},
		{"a missing write_back target is noted", writeBackMissed},
		{"a missing write_back target keeps the intent's own failure", writeBackMissedDead},
		{"a write_back that is not allowed is noted", writeBackForbidden},
		{"consequences are fenced", consequencesFenced},
		{"consequences of a repeated settle happen once", consequencesRepeated},
		{"consequences of many intents", consequencesMany},
	}
}

// then returns a follow-up that texts the parent's recipient.
func then(more fields) map[string]any {
	doc := map[string]any{"kind": kind, "payload": map[string]any{"to": "${payload.to}", "from": "+15550001111", "body": "About ${_id}"}}
	maps.Copy(doc, more)
	return doc
}

func list(docs ...map[string]any) []any {
	items := make([]any, len(docs))
	for i, doc := range docs {
		items[i] = doc
	}
	return items
}

func followUpsInserted(e *env) {
	id := outbox.NewObjectID([12]byte{11: 1})
	in := e.insertAndClaim(id, fields{"on_done": list(then(nil), then(fields{"delay_seconds": int64(3600), "priority": int64(2), "on_dead": list(then(nil))}))})
	if len(in.Problems) > 0 {
		e.Fatalf("the intent has problems: %v", in.Problems)
	}
	e.settled(e.decide(in, delivered()))
	e.want(e.get(id), fields{"status": "done", "last_error": nil})
	first, second := e.get(id.String()+":done:0"), e.get(id.String()+":done:1")
	body := map[string]any{"to": "+4915112345678", "from": "+15550001111", "body": "About " + id.String()}
	e.want(first, fields{"kind": kind, "status": "pending", "payload": body, "attempts": nil})
	e.wantSoon(first, "due_at", 0)
	e.want(second, fields{"status": "pending", "payload": body, "priority": int64(2), "delay_seconds": nil, "on_dead": list(then(nil))})
	e.wantSoon(second, "due_at", time.Hour)
	e.lapse(id.String() + ":done:0")
	if next := e.claimOne(); next.ID.String() != id.String()+":done:0" || len(next.Problems) > 0 {
		e.Errorf("claimed %v with the problems %v", next.ID, next.Problems)
	}
}

func followUpsByOutcome(e *env) {
	both := fields{"on_done": list(then(nil)), "on_dead": list(then(nil))}
	e.settled(e.decide(e.insertAndClaim("retried", both), fails(outbox.Transient, outbox.CodeConflict)))
	e.h.Change("retried", map[string]any{"kind": "out of the way"})
	e.settled(e.decide(e.insertAndClaim("dead", both), fails(outbox.Permanent, outbox.CodeRejected)))
	e.h.Change("dead:dead:0", map[string]any{"kind": "out of the way"})
	e.settled(e.decide(e.insertAndClaim("done", both), delivered()))
	e.get("done:done:0")
	if all := e.h.All(); len(all) != 5 {
		e.Errorf("there are %d intents, want 3 and two follow-ups", len(all))
	}
}

// followUpsOnce: the follow-up of what is done exists once, even if a person makes its parent pending afterwards.
func followUpsOnce(e *env) {
	in := e.insertAndClaim("a", fields{"on_done": list(then(nil), then(nil))})
	e.settled(e.decide(in, delivered()))
	before := e.get("a:done:0")
	for _, id := range []string{"a:done:0", "a:done:1"} {
		e.h.Change(id, map[string]any{"due_at": e.s.Now().Add(time.Hour)})
	}
	e.h.Change("a", map[string]any{"status": "pending", "due_at": e.ago(time.Second), "done_at": nil, "purge_at": nil, "result": nil})
	e.settled(e.decide(e.claimOne(), delivered()))
	if all := e.h.All(); len(all) != 3 {
		e.Errorf("there are %d intents, want 1 and two follow-ups", len(all))
	}
	e.want(e.get("a:done:0"), fields{"payload": before["payload"]})
}

// followUpsOfStrangers: a document that somebody put under a follow-up's _id does not swallow it.
func followUpsOfStrangers(e *env) {
	later := e.s.Now().Add(time.Hour)
	for id, more := range map[string]fields{
		"a:done:0":   {"due_at": later, "payload": map[string]any{"to": "+4915112345678", "from": "+15550001111", "body": "something else"}},
		"a:done:1":   {"due_at": later, "kind": outbox.KindEmail},
		"a:done:1:2": {"due_at": later},
		"b:dead:0":   {"due_at": later},
	} {
		e.insert(id, more)
	}
	strangers := []map[string]any{e.get("a:done:0"), e.get("a:done:1"), e.get("a:done:1:2"), e.get("b:dead:0")}
	e.settled(e.decide(e.insertAndClaim("a", fields{"on_done": list(then(nil), then(nil))}), delivered()))
	for _, id := range []string{"a:done:0:2", "a:done:1:3"} {
		e.want(e.get(id), fields{"status": "pending", "_id": id})
		e.h.Change(id, map[string]any{"due_at": later})
	}
	e.settled(e.decide(e.insertAndClaim("b", fields{"on_dead": list(then(nil))}), fails(outbox.Permanent, outbox.CodeRejected)))
	e.want(e.get("b:dead:0:2"), fields{"status": "pending"})
	for _, doc := range strangers {
		e.unchanged(doc)
	}
}

// followUpsOfEachDeath: what dies again, brings its follow-ups again, under numbers of their own.
func followUpsOfEachDeath(e *env) {
	later := e.s.Now().Add(time.Hour)
	e.insert("a", fields{"on_dead": list(then(nil), then(nil))})
	for death, change := range []map[string]any{
		{"retried": map[string]any{"by": "ann", "at": e.ago(0), "n": int64(1)}},
		{"retried": map[string]any{"by": "ann", "at": e.ago(0), "n": int64(2)}},
		{}, // by somebody who counts nothing
		{},
	} {
		e.settled(e.decide(e.claimOne(), fails(outbox.Permanent, outbox.CodeRejected)))
		for n := range 2 {
			id := fmt.Sprint("a:dead:", n)
			if death > 0 {
				id = fmt.Sprint(id, ":", death+1)
			}
			e.want(e.get(id), fields{"status": "pending"})
			e.h.Change(id, map[string]any{"due_at": later})
		}
		maps.Copy(change, map[string]any{"status": "pending", "due_at": e.ago(time.Second), "dead_at": nil, "dead_reason": nil})
		e.h.Change("a", change)
	}
	if all := e.h.All(); len(all) != 9 {
		e.Errorf("there are %d intents, want 1 and two follow-ups of each of four deaths", len(all))
	}
}

func followUpDeduplicated(e *env) {
	e.insert("x", fields{"dedup_key": "k1", "kind": "other"})
	in := e.insertAndClaim("a", fields{"on_done": list(then(fields{"dedup_key": "k1"}), then(fields{"dedup_key": "k2"}), then(fields{"dedup_key": "k2"}), then(nil))})
	e.settled(e.decide(in, delivered()))
	e.want(e.get("a"), fields{"status": "done", "last_error": nil})
	for n, there := range []bool{false, true, false, true} {
		if doc := e.h.Get(fmt.Sprint("a:done:", n)); (doc != nil) != there {
			e.Errorf("follow-up %d is %v, want it there: %v", n, doc, there)
		}
	}
}

func followUpMalformed(e *env) {
	bad := then(nil)
	bad["payload"] = map[string]any{"to": "${result.id}", "from": "+15550001111", "body": "b"} // which is no number
	in := e.insertAndClaim("a", fields{"on_done": list(bad, then(nil))})
	if len(in.Problems) > 0 {
		e.Fatalf("the intent has problems: %v", in.Problems)
	}
	e.settled(e.decide(in, delivered()))
	e.want(e.get("a"), fields{"status": "done", "last_error": nil})
	letter := e.get("a:done:0")
	e.want(letter, fields{"status": "dead", "dead_reason": "invalid", "due_at": nil, "payload": map[string]any{"to": "SM1", "from": "+15550001111", "body": "b"}})
	e.wantSoon(letter, "dead_at", 0)
	last := letter["last_error"].(map[string]any)
	if last["code"] != outbox.CodeInvalid || !strings.Contains(last["message"].(string), "payload.to") {
		e.Errorf("last_error is %v, want it to name payload.to", last)
	}
	e.want(e.get("a:done:1"), fields{"status": "pending"})
}

func followUpRefused(e *env) {
	in := e.insertAndClaim("a", fields{"on_done": list(then(nil), then(fields{"kind": "refused"}), then(fields{"kind": "refused"}))})
	e.h.RefuseKind("refused")
	e.settled(e.decide(in, delivered()))
	e.want(e.get("a"), fields{"status": "done", "last_error": nil})
	e.want(e.get("a:done:0"), fields{"status": "pending"})
	for _, id := range []string{"a:done:1", "a:done:2"} {
		letter := e.get(id)
		e.want(letter, fields{"status": "dead", "dead_reason": "invalid", "kind": "refused"})
		if last := letter["last_error"].(map[string]any); last["code"] != outbox.CodeFollowUpRefused || last["class"] != "invalid" {
			e.Errorf("last_error is %v", last)
		}
	}
}

// back returns a write_back to the order of the given id.
func back(id any, set map[string]any) fields {
	return fields{"write_back": map[string]any{"collection": Orders, "id": id, "done": set, "dead": map[string]any{"state": "failed", "why": "${last_error.code}", "reason": "${dead_reason}"}}}
}

func writeBackUpdates(e *env) {
	order := outbox.NewObjectID([12]byte{9})
	e.h.InsertBusiness(Orders, map[string]any{"_id": order, "state": "open", "payment": map[string]any{"kept": true}})
	e.h.InsertBusiness(Orders, map[string]any{"_id": "o2", "state": "open"})
	e.settled(e.decide(e.insertAndClaim("a", back(order, map[string]any{"state": "paid", "payment.id": "${result.id}", "by": "${_id}"})), delivered()))
	e.want(e.h.Business(Orders, order), fields{"state": "paid", "by": "a", "payment": map[string]any{"kept": true, "id": "SM1"}})

	in := e.insertAndClaim("b", back("o2", nil))
	delete(in.Document["write_back"].(map[string]any), "done")
	e.settled(e.decide(in, fails(outbox.Permanent, outbox.CodeDeclined)))
	e.want(e.h.Business(Orders, "o2"), fields{"state": "failed", "why": "declined", "reason": "permanent"})
}

func writeBackLiteral(e *env) {
	e.h.InsertBusiness(Orders, map[string]any{"_id": "o1", "state": "open"})
	more := back("o1", map[string]any{"state": "$_id", "code": "${payload.code}", "list": []any{"$$NOW", map[string]any{"$inc": int64(1)}}})
	more["kind"], more["payload"] = "custom", map[string]any{"code": map[string]any{"$set": "x"}, "ref": map[string]any{"$gt": ""}}
	in := e.claimCustom("a", more)
	e.settled(e.decide(in, delivered()))
	e.want(e.h.Business(Orders, "o1"), fields{"state": "$_id", "code": map[string]any{"$set": "x"}, "list": []any{"$$NOW", map[string]any{"$inc": int64(1)}}})

	more = back("${payload.ref}", map[string]any{"state": "taken over"})
	more["kind"], more["payload"] = "custom", map[string]any{"ref": map[string]any{"$gt": ""}}
	if answers := e.settle(e.decide(e.claimCustom("b", more), delivered())); answers[0].Lost || len(answers[0].Notes) != 1 {
		e.Errorf("answered %+v, want one note", answers[0])
	}
	e.want(e.get("b"), fields{"status": "done"})
	e.want(e.h.Business(Orders, "o1"), fields{"state": "$_id"})
}

// claimCustom inserts and claims an intent of a kind whose payload is free.
func (e *env) claimCustom(id any, more fields) *outbox.Intent {
	e.Helper()
	e.insert(id, more)
	claimed, err := e.s.Claim(e.ctx(), outbox.ClaimOrder{Kind: "custom", Limit: 1, Lease: lease, Owner: owner})
	if err != nil || len(claimed) != 1 {
		e.Fatalf("Claim: %v, %v", claimed, err)
	}
	return claimed[0]
}

func writeBackMissed(e *env) {
	more := back("no such order", map[string]any{"state": "paid"})
	more["on_done"] = list(then(nil))
	answers := e.settle(e.decide(e.insertAndClaim("a", more), delivered()))
	if answers[0].Lost || len(answers[0].Notes) != 1 {
		e.Errorf("answered %+v, want one note", answers[0])
	}
	doc := e.get("a")
	e.want(doc, fields{"status": "done"})
	if last := doc["last_error"].(map[string]any); last["code"] != outbox.CodeWriteBackMissed || last["class"] != "done" {
		e.Errorf("last_error is %v", last)
	}
	e.get("a:done:0")
}

func writeBackMissedDead(e *env) {
	in := e.insertAndClaim("a", back("no such order", map[string]any{"state": "paid"}))
	answers := e.settle(e.decide(in, fails(outbox.Permanent, outbox.CodeDeclined)))
	if answers[0].Lost || len(answers[0].Notes) != 1 {
		e.Errorf("answered %+v, want one note", answers[0])
	}
	doc := e.get("a")
	e.want(doc, fields{"status": "dead", "dead_reason": "permanent"})
	last := doc["last_error"].(map[string]any)
	if last["code"] != outbox.CodeWriteBackMissed || last["class"] != "permanent" || last["request_id"] != "RQ1" || !strings.Contains(last["message"].(string), "declined") {
		e.Errorf("last_error is %v, want the decline to be readable in it", last)
	}
}

func writeBackForbidden(e *env) {
	e.h.InsertBusiness("secrets", map[string]any{"_id": "s", "x": "y"})
	more := back("s", map[string]any{"x": "z"})
	more["write_back"].(map[string]any)["collection"] = "secrets"
	in := e.insertAndClaim("a", more)
	if len(in.Problems) == 0 {
		e.Error("the intent has no problems")
	}
	answers := e.settle(e.decide(in, outbox.Verdict{Event: outbox.Malformed}))
	if answers[0].Lost || len(answers[0].Notes) > 0 {
		e.Errorf("answered %+v, want no note: the failure lists the problem", answers[0])
	}
	doc := e.get("a")
	e.want(doc, fields{"status": "dead", "dead_reason": "invalid"})
	if last := doc["last_error"].(map[string]any); last["code"] != outbox.CodeInvalid {
		e.Errorf("last_error is %v, want the code by which malformed intents are looked for", last)
	}
	e.want(e.h.Business("secrets", "s"), fields{"x": "y"})
}

func consequencesFenced(e *env) {
	e.h.InsertBusiness(Orders, map[string]any{"_id": "o1", "state": "open"})
	more := back("o1", map[string]any{"state": "paid"})
	more["on_done"] = list(then(nil))
	old := e.insertAndClaim("a", more)
	e.lapse("a")
	current := e.claimOne()
	before := e.get("a")
	if answers := e.settle(e.decide(old, delivered())); !answers[0].Lost {
		e.Errorf("answered %+v, want lost", answers[0])
	}
	e.unchanged(before)
	e.want(e.h.Business(Orders, "o1"), fields{"state": "open"})
	if doc := e.h.Get("a:done:0"); doc != nil {
		e.Errorf("a zombie inserted the follow-up %v", doc)
	}
	e.settled(e.decide(current, fails(outbox.Transient, outbox.CodeConflict)))
}

func consequencesRepeated(e *env) {
	more := back("no such order", map[string]any{"state": "paid"})
	more["on_done"] = list(then(nil))
	s := e.decide(e.insertAndClaim("a", more), delivered())
	e.settle(s)
	parent, child := e.get("a"), e.get("a:done:0")
	answers := e.settle(s)
	if answers[0].Lost || len(answers[0].Notes) != 1 {
		e.Errorf("the repetition was answered by %+v, want written, with the note", answers[0])
	}
	e.unchanged(parent)
	e.unchanged(child)
}

func consequencesMany(e *env) {
	const n = 120
	for i := range n {
		e.h.InsertBusiness(Orders, map[string]any{"_id": fmt.Sprint("o", i)})
		more := back(fmt.Sprint("o", i), map[string]any{"n": int64(i), "state": "paid"})
		more["on_done"] = list(then(nil), then(nil))
		switch i % 10 {
		case 3:
			more["write_back"] = back("no such order", map[string]any{"state": "paid"})["write_back"]
		case 5:
			more["on_done"] = nil
			more["write_back"] = nil
		}
		e.insert(fmt.Sprint(i), more)
	}
	claimed := e.claim(n)
	e.lapse("7")
	e.claimOne()
	var batch []outbox.Settlement
	for _, in := range claimed {
		batch = append(batch, e.decide(in, delivered()))
	}
	for i, answer := range e.settle(batch...) {
		id := batch[i].Intent.ID.String()
		var number int
		_, _ = fmt.Sscan(id, &number)
		if lost, noted := id == "7", number%10 == 3; answer.Lost != lost || (len(answer.Notes) > 0) != noted {
			e.Errorf("%s was answered by %+v, want lost %v, noted %v", id, answer, lost, noted)
		}
		if follow := e.h.Get(id + ":done:1"); (follow != nil) != (number != 7 && number%10 != 5) {
			e.Errorf("the follow-up of %s is %v", id, follow)
		}
		if order := e.h.Business(Orders, "o"+id); (order["state"] == "paid") != (number != 7 && number%10 != 3 && number%10 != 5) {
			e.Errorf("the order of %s is %v", id, order)
		}
	}
}
