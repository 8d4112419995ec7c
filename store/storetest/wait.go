package storetest

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

func waitTests() []test {
	return []test{
		{"an outcome is recorded where its consequences cannot be written", waitRecords},
		{"a recorded outcome is written when it can be", waitEnds},
		{"a recorded dead letter is written when it can be", waitEndsDead},
		{"recording may be repeated", waitRepeated},
		{"a zombie records nothing", waitFenced},
		{"what waits takes nothing from the others", waitAlone},
		{"an intent that somebody holds is busy", waitBusy},
		{"recorded outcomes are claimed when due, of whatever lane", waitClaimed},
		{"a claim passes what somebody holds", waitClaimPasses},
	}
}

// waiting returns the fields of an intent with a follow-up and a write_back to the order of the id.
func waiting(id string) fields {
	more := back(id, map[string]any{"state": "paid", "ref": "${result.id}"})
	more["on_done"], more["on_dead"] = list(then(nil)), list(then(nil))
	return more
}

// held claims an intent whose order is held.
func (e *env) held(id string) (in *outbox.Intent, release func()) {
	e.Helper()
	e.h.InsertBusiness(Orders, map[string]any{"_id": "order of " + id, "state": "open"})
	in = e.insertAndClaim(id, waiting("order of "+id))
	return in, e.h.Hold(Orders, "order of "+id)
}

// records settles what has to wait.
func (e *env) records(s outbox.Settlement) outbox.Settled {
	e.Helper()
	answer := e.settle(s)[0]
	if answer.Lost || answer.Busy != "" || answer.Waiting == "" || len(answer.Notes) > 0 {
		e.Fatalf("answered %+v, want it waiting", answer)
	}
	return answer
}

// toSettle claims what needs no call.
func (e *env) toSettle() []*outbox.Intent {
	e.Helper()
	claimed, err := e.s.ClaimToSettle(e.ctx(), outbox.ClaimOrder{Limit: 10, Lease: lease, Owner: owner})
	if err != nil {
		e.Fatalf("ClaimToSettle: %v", err)
	}
	return claimed
}

// recorded claims the recorded outcome of an intent and decides by it.
func (e *env) recorded(id any) outbox.Settlement {
	e.Helper()
	e.lapse(id)
	claimed := e.toSettle()
	if len(claimed) != 1 {
		e.Fatalf("claimed %v, want %v", ids(claimed), id)
	}
	action, verdict := outbox.Next(claimed[0], policy, e.s.Now())
	if action != outbox.Settle || verdict.Event != outbox.Recorded {
		e.Fatalf("what is next is %v, %v, want to settle what is recorded", action, verdict)
	}
	return e.decide(claimed[0], verdict)
}

// recordedAll makes everything due and claims what was recorded, to be settled again.
func (e *env) recordedAll() []outbox.Settlement {
	e.Helper()
	for number := range 100 {
		if id := fmt.Sprintf("%02d", number); e.h.Get(id) != nil && e.get(id)["status"] == "pending" {
			e.lapse(id)
		}
	}
	claimed, err := e.s.ClaimToSettle(e.ctx(), outbox.ClaimOrder{Limit: 100, Lease: lease, Owner: owner})
	if err != nil {
		e.Fatalf("ClaimToSettle: %v", err)
	}
	batch := make([]outbox.Settlement, 0, len(claimed))
	for _, in := range claimed {
		_, verdict := outbox.Next(in, policy, e.s.Now())
		batch = append(batch, e.decide(in, verdict))
	}
	return batch
}

func waitRecords(e *env) {
	in, release := e.held("a")
	answer := e.records(e.decide(in, delivered()))
	doc := e.get("a")
	e.want(doc, fields{"status": "pending", "attempts": int64(1), "lease": nil, "result": nil, "done_at": nil, "purge_at": nil,
		"first_attempt_at": in.FirstAttemptAt,
		"history":          []any{map[string]any{"what": "attempt", "attempt": int64(1), "at": in.Lease.At, "ms": int64(250), "outcome": "done", "ref": "SM1", "worker": owner}}})
	outcome := doc["outcome"].(map[string]any)
	e.want(outcome, fields{"event": "delivered", "class": "done", "attempts": int64(1), "tries": int64(1), "why": answer.Waiting, "reason": nil, "failure": nil,
		"receipt": map[string]any{"provider": "twilio", "id": "SM1", "status": "queued"}})
	e.wantSoon(outcome, "at", 0)
	if due := doc["due_at"].(time.Time).Sub(outcome["at"].(time.Time)); due < 0 || due > time.Second || answer.Again > time.Second {
		e.Errorf("it is due after %v, as the answer says after %v, want soon", due, answer.Again)
	}
	if e.h.Get("a:done:0") != nil {
		e.Error("a part of the consequences was written")
	}

	since := outcome["at"]
	for tries := int64(2); tries < 5; tries++ {
		e.records(e.recorded("a"))
		doc := e.get("a")
		e.want(doc, fields{"status": "pending", "attempts": int64(1), "lease": nil})
		e.want(doc["outcome"].(map[string]any), fields{"tries": tries, "at": since, "event": "delivered", "attempts": int64(1)})
		if history := doc["history"].([]any); len(history) != 1 {
			e.Errorf("history is %v, want the one attempt", history)
		}
	}
	e.h.Change("a", map[string]any{"outcome": map[string]any{"event": "delivered", "attempts": int64(1), "at": e.ago(time.Hour), "tries": int64(300),
		"receipt": map[string]any{"provider": "twilio", "id": "SM1", "status": "queued"}}})
	if answer := e.records(e.recorded("a")); answer.Again < 10*time.Second || answer.Again > 30*time.Second {
		e.Errorf("after an hour it is tried again in %v, want about 30s", answer.Again)
	}
	release()
}

func waitEnds(e *env) {
	in, release := e.held("a")
	e.records(e.decide(in, delivered()))
	release()
	e.settled(e.recorded("a"))
	e.want(e.get("a"), fields{"status": "done", "attempts": int64(1), "outcome": nil, "due_at": nil, "lease": nil,
		"result":  map[string]any{"provider": "twilio", "id": "SM1", "status": "queued"},
		"history": []any{map[string]any{"what": "attempt", "attempt": int64(1), "at": in.Lease.At, "ms": int64(250), "outcome": "done", "ref": "SM1", "worker": owner}}})
	e.want(e.h.Business(Orders, "order of a"), fields{"state": "paid", "ref": "SM1"})
	e.want(e.get("a:done:0"), fields{"status": "pending"})
}

func waitEndsDead(e *env) {
	in, release := e.held("a")
	e.records(e.decide(in, fails(outbox.Permanent, outbox.CodeDeclined)))
	doc := e.get("a")
	e.want(doc, fields{"status": "pending", "dead_at": nil, "dead_reason": nil})
	if last, _ := doc["last_error"].(map[string]any); last["code"] != "declined" {
		e.Errorf("last_error is %v, want what the provider said", last)
	}
	release()
	e.settled(e.recorded("a"))
	e.want(e.get("a"), fields{"status": "dead", "dead_reason": "permanent", "attempts": int64(1), "outcome": nil})
	last := e.get("a")["last_error"].(map[string]any)
	e.want(last, fields{"code": "declined", "class": "permanent", "provider_code": "30001", "http_status": int64(503), "request_id": "RQ1", "message": "the provider said so"})
	e.want(e.h.Business(Orders, "order of a"), fields{"state": "failed", "why": "declined", "reason": "permanent"})
	e.get("a:dead:0")
}

func waitRepeated(e *env) {
	for name, v := range map[string]outbox.Verdict{
		"counted": delivered(), "dead": fails(outbox.Permanent, outbox.CodeRejected), "expired": {Event: outbox.Lapsed},
		"found": {Event: outbox.Found, Receipt: outbox.Receipt{Provider: "twilio", ID: "SM9"}},
	} {
		in, release := e.held(name)
		s := e.decide(in, v)
		e.records(s)
		before := e.get(name)
		e.records(s) // as after an answer that got lost
		e.unchanged(before)

		again := e.recorded(name)
		before = e.get(name)
		e.records(s) // somebody else has it now
		e.unchanged(before)

		e.records(again)
		before = e.get(name)
		e.records(again)
		e.unchanged(before)

		release()
		last := e.recorded(name)
		e.settled(last)
		before = e.get(name)
		e.settled(last)
		e.settled(s)
		e.unchanged(before)
		for _, id := range []string{name + ":done:0", name + ":dead:0"} {
			if e.h.Get(id) != nil {
				e.h.Change(id, map[string]any{"kind": "out of the way"})
			}
		}
	}
}

func waitFenced(e *env) {
	in, release := e.held("a")
	defer release()
	e.lapse("a")
	current := e.claimOne()
	before := e.get("a")
	if answers := e.settle(e.decide(in, delivered())); !answers[0].Lost {
		e.Errorf("answered %+v, want lost", answers[0])
	}
	e.unchanged(before)
	e.records(e.decide(current, delivered()))
	before = e.get("a")
	if answers := e.settle(e.decide(in, delivered())); !answers[0].Lost {
		e.Errorf("answered %+v, want lost", answers[0])
	}
	e.unchanged(before)
}

// waitAlone: of many in one batch some meet what is held: the first, one in the middle, the last, and several with one
// target.
func waitAlone(e *env) {
	const n = 40
	holds := map[int]bool{0: true, 17: true, 18: true, 19: true, n - 1: true}
	e.h.InsertBusiness(Orders, map[string]any{"_id": "shared"})
	for i := range n {
		order := fmt.Sprint("o", i)
		if i >= 17 && i <= 19 {
			order = "shared"
		} else {
			e.h.InsertBusiness(Orders, map[string]any{"_id": order})
		}
		e.insert(fmt.Sprintf("%02d", i), waiting(order))
	}
	var batch []outbox.Settlement
	for _, in := range e.claim(n) {
		batch = append(batch, e.decide(in, delivered()))
	}
	for _, order := range []string{"o0", "shared", fmt.Sprint("o", n-1)} {
		defer e.h.Hold(Orders, order)()
	}
	// Culprits are looked for during a bounded time. On a slow machine some neighbours are therefore recorded with
	// them, and the next try goes on with fewer: a few tries have to be enough.
	const rounds = 5
	for round := 1; ; round++ {
		var neighbours []string
		for i, answer := range e.settle(batch...) {
			id := batch[i].Intent.ID.String()
			number, _ := strconv.Atoi(id)
			written := answer.Waiting == ""
			if answer.Lost || answer.Busy != "" || len(answer.Notes) > 0 || written && holds[number] {
				e.Errorf("%s was answered by %+v, want it waiting: %v", id, answer, holds[number])
			} else if status := e.get(id)["status"]; (status == "done") != written {
				e.Errorf("%s is %v after the answer %+v", id, status, answer)
			}
			if !written && !holds[number] {
				neighbours = append(neighbours, id)
			}
		}
		if len(neighbours) == 0 {
			return
		}
		if round == rounds {
			e.Errorf("%v wait with what somebody else holds, after %d tries", neighbours, rounds)
			return
		}
		batch = e.recordedAll()
	}
}

func waitBusy(e *env) {
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		e.insert(id, nil)
	}
	e.h.InsertBusiness(Orders, map[string]any{"_id": "o"})
	e.h.Change("d", waiting("o"))
	e.h.Change("e", waiting("o"))
	var batch []outbox.Settlement
	byID := make(map[string]int)
	for i, in := range e.claim(10) {
		byID[in.ID.String()] = i
		batch = append(batch, e.decide(in, delivered()))
	}
	release := []func(){e.h.HoldIntent("b"), e.h.HoldIntent("d")}
	letGo := sync.OnceFunc(func() {
		for _, f := range release {
			f()
		}
	})
	defer letGo()
	answers := e.settle(batch...)
	for id, i := range byID {
		if busy := id == "b" || id == "d"; (answers[i].Busy != "") != busy || answers[i].Waiting != "" || answers[i].Lost {
			e.Errorf("%s was answered by %+v, want it busy: %v", id, answers[i], busy)
		}
	}
	letGo()
	e.settled(batch[byID["b"]], batch[byID["d"]])
	for id := range byID {
		e.want(e.get(id), fields{"status": "done"})
	}
}

func waitClaimed(e *env) {
	in, release := e.held("a")
	defer release()
	e.records(e.decide(in, delivered()))
	e.h.Change("a", map[string]any{"due_at": e.s.Now().Add(time.Hour)})
	if claimed := e.toSettle(); len(claimed) > 0 {
		e.Errorf("claimed %v before it was due", ids(claimed))
	}
	e.h.Change("a", map[string]any{"kind": "a lane that nobody serves", "ambiguous_at": e.ago(time.Minute)})
	e.lapse("a")
	if claimed := e.toSettle(); len(claimed) != 1 || claimed[0].Outcome == nil {
		e.Fatalf("claimed %v, want a", ids(claimed))
	}
	if claimed := e.toSettle(); len(claimed) > 0 {
		e.Errorf("claimed %v again", ids(claimed))
	}
	e.lapse("a") // whoever claimed it died
	claimed := e.toSettle()
	if len(claimed) != 1 {
		e.Fatalf("claimed %v, want a", ids(claimed))
	}
	if action, verdict := outbox.Next(claimed[0], policy, e.s.Now()); action != outbox.Settle || verdict.Event != outbox.Recorded {
		e.Errorf("what is next is %v, %v, want to settle what is recorded", action, verdict)
	}
}

func waitClaimPasses(e *env) {
	for i := range 20 {
		e.insert(fmt.Sprintf("passed %02d", i), nil)
	}
	release := []func(){e.h.HoldIntent("passed 00"), e.h.HoldIntent("passed 07"), e.h.HoldIntent("passed 19")}
	claimed := make(map[string]bool)
	for _, in := range append(e.claim(20), e.claim(20)...) {
		claimed[in.ID.String()] = true
		if in.Lease.Reclaimed || in.Attempts != 1 {
			e.Errorf("%v was claimed as attempt %d, reclaimed %v", in.ID, in.Attempts, in.Lease.Reclaimed)
		}
	}
	for i := range 20 {
		if id := fmt.Sprintf("passed %02d", i); claimed[id] == (i == 0 || i == 7 || i == 19) {
			e.Errorf("%s was claimed: %v", id, claimed[id])
		}
	}
	for _, f := range release {
		f()
	}
}
