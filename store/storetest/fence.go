package storetest

import (
	"errors"
	"slices"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

func fenceTests() []test {
	return []test{
		{"a zombie changes nothing", zombieChangesNothing},
		{"a settle may be repeated", settleRepeated},
		{"a settle may be repeated after another claim", settleRepeatedLater},
		{"one _id under two tokens in a batch", settleTwoTokens},
		{"a lost row takes nothing from the others", settleMixed},
		{"what was deleted is lost", settleDeleted},
		{"a lease that ran out holds until it is claimed", settleLate},
	}
}

// verdicts are such as lead to every shape of a decision.
func verdicts() map[string]outbox.Verdict {
	return map[string]outbox.Verdict{
		"done": delivered(), "retry": fails(outbox.Transient, outbox.CodeConflict), "dead": fails(outbox.Permanent, outbox.CodeRejected),
		"unsent": unsent(), "rate limited": fails(outbox.RateLimited, outbox.CodeRateLimited), "ambiguous": fails(outbox.Ambiguous, outbox.CodeNoAnswer),
		"expired": {Event: outbox.Lapsed}, "malformed": {Event: outbox.Malformed}, "spent": {Event: outbox.Spent}, "absent": {Event: outbox.Absent},
		"found": {Event: outbox.Found, Receipt: outbox.Receipt{Provider: "twilio", ID: "SM9"}},
	}
}

func zombieChangesNothing(e *env) {
	for name, v := range verdicts() {
		for _, after := range []string{"leased", "given back", "retried", "settled alike"} {
			id := name + " after " + after
			e.insert(id, nil)
			old := e.claimAs(zombie, 1)[0]
			e.lapse(id)
			again := e.claimOne()
			switch after {
			case "given back":
				e.settled(e.decide(again, unsent()))
			case "retried":
				e.settled(e.decide(again, fails(outbox.Transient, outbox.CodeConflict)))
			case "settled alike":
				e.settled(e.decide(again, v))
			}
			before := e.get(id)
			if answers := e.settle(e.decide(old, v)); !answers[0].Lost {
				e.Errorf("%s: the zombie's settle was answered by %+v, want lost", id, answers[0])
			}
			if err := e.s.SaveProgress(e.ctx(), old, outbox.Progress{"x": "y"}); !errors.Is(err, outbox.ErrLeaseLost) {
				e.Errorf("%s: the zombie's SaveProgress: %v, want ErrLeaseLost", id, err)
			}
			e.unchanged(before)
			e.h.Change(id, map[string]any{"kind": "out of the way"})
		}
	}
}

func settleRepeated(e *env) {
	for name, v := range verdicts() {
		in := e.insertAndClaim(name, nil)
		s := e.decide(in, v)
		s.Decision.Delay = max(s.Decision.Delay, time.Minute)
		e.settled(s)
		before := e.get(name)
		e.settled(s) // as after an answer that got lost
		e.unchanged(before)
		if err := e.s.SaveProgress(e.ctx(), in, outbox.Progress{"x": "y"}); !errors.Is(err, outbox.ErrLeaseLost) {
			e.Errorf("%s: SaveProgress after the settle: %v, want ErrLeaseLost", name, err)
		}
		e.unchanged(before)
		e.h.Change(name, map[string]any{"kind": "out of the way"})
	}
}

// settleRepeatedLater: between the try whose answer got lost and its repetition another worker has claimed the intent.
func settleRepeatedLater(e *env) {
	for name, v := range verdicts() {
		s := e.decide(e.insertAndClaim(name, nil), v)
		e.settled(s)
		if s.Decision.Status == outbox.StatusPending {
			e.lapse(name)
			e.claimOne()
		}
		before := e.get(name)
		e.settled(s)
		e.unchanged(before)
		e.h.Change(name, map[string]any{"kind": "out of the way"})
	}
}

func settleTwoTokens(e *env) {
	old := e.insertAndClaim("a", nil)
	e.insert("b", nil)
	other := e.claimOne()
	e.lapse("a")
	current := e.claimOne()
	dead := fails(outbox.Permanent, outbox.CodeRejected)
	batch := []outbox.Settlement{e.decide(old, dead), e.decide(other, dead), e.decide(current, delivered()), e.decide(old, dead)}
	answers := e.settle(batch...)
	var lost []bool
	for _, a := range answers {
		lost = append(lost, a.Lost)
	}
	if want := []bool{true, false, false, true}; !slices.Equal(lost, want) {
		e.Errorf("lost: %v, want %v", lost, want)
	}
	e.want(e.get("a"), fields{"status": "done"})
	e.want(e.get("b"), fields{"status": "dead"})
}

func settleMixed(e *env) {
	var old []*outbox.Intent
	for _, id := range []string{"a", "b", "c"} {
		old = append(old, e.insertAndClaim(id, nil))
	}
	e.lapse("b")
	current := e.claimOne()
	answers := e.settle(e.decide(old[0], delivered()), e.decide(old[1], delivered()), e.decide(old[2], unsent()))
	if answers[0].Lost || !answers[1].Lost || answers[2].Lost {
		e.Errorf("answered %+v, want the second lost", answers)
	}
	if doc := e.get("b"); doc["lease"].(map[string]any)["token"] != current.Lease.Token {
		e.Errorf("b is %v, want it under its new lease", doc)
	}
}

func settleDeleted(e *env) {
	in := e.insertAndClaim("a", nil)
	in.Document["_id"] = "somebody else"
	gone := *in
	gone.ID = outbox.NewStringID("somebody else")
	if answers := e.settle(e.decide(&gone, delivered())); !answers[0].Lost {
		e.Errorf("answered %+v, want lost", answers[0])
	}
	if err := e.s.SaveProgress(e.ctx(), &gone, outbox.Progress{"x": "y"}); !errors.Is(err, outbox.ErrLeaseLost) {
		e.Errorf("SaveProgress: %v, want ErrLeaseLost", err)
	}
}

// settleLate: what the provider did must not be forgotten because a lease ran out, unless somebody else took over.
func settleLate(e *env) {
	in := e.insertAndClaim("a", nil)
	e.lapse("a")
	if err := e.s.SaveProgress(e.ctx(), in, outbox.Progress{"x": "y"}); err != nil {
		e.Errorf("SaveProgress: %v", err)
	}
	e.settled(e.decide(in, delivered()))
	e.want(e.get("a"), fields{"status": "done", "progress": map[string]any{"x": "y"}})
}
