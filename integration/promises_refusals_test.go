package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/providers/simulator"
)

// refusing is a configuration under which what is refused is given up within seconds.
const refusing = `
lanes:
  charge: {rate: 10000/s, timeout: 2s, lease: 7s, retry: {max_attempts: 4, base: 100ms, max: 300ms}, reconcile: {wait: 100ms, interval: 1s, absent_after: 2s, give_up: 3s}}
  email: {timeout: 2s, lease: 7s, retry: {max_attempts: 4, base: 100ms, max: 300ms}, reconcile: {wait: 100ms, interval: 1s, absent_after: 2s, give_up: 3s}}
  sms: {timeout: 2s, lease: 7s, retry: {max_attempts: 4, base: 100ms, max: 300ms}, reconcile: {wait: 100ms, interval: 1s, absent_after: 2s, give_up: 3s}}
`

// The providers' own words for a refusal of this account, and where each kind is sent.
var refusals = map[string]struct{ provider, route, body string }{
	"charge": {"stripe", "create", `{"error":{"type":"invalid_request_error","code":"account_invalid","message":"The provided key does not have access to this account."}}`},
	"email":  {"sendgrid", "send", `{"errors":[{"message":"authorization required","field":null,"help":null}]}`},
	"sms":    {"twilio", "send", `{"code":20003,"message":"Authenticate","more_info":"https://www.twilio.com/docs/errors/20003","status":%d}`},
}

var makers = map[string]func(id string) bson.M{"charge": charge, "email": email, "sms": sms}

// refusal is the fault that refuses requests of a kind; id names one intent, and may be empty for all.
func refusal(kind, id string, status, times int) simulator.Fault {
	r := refusals[kind]
	match := simulator.Match{OutboxID: id, Times: times}
	if kind == "sms" && id != "" {
		match = simulator.Match{To: phone(id), Times: times}
	}
	body := r.body
	if strings.Contains(body, "%d") {
		body = fmt.Sprintf(body, status)
	}
	return simulator.Fault{Provider: r.provider, Route: r.route, Do: simulator.DoStatus, Status: status, Body: body, Match: match}
}

// lanesAre waits until every lane of a worker is in the state, as its metrics tell it.
func (w *world) lanesAre(worker *process, state string) {
	w.Helper()
	eventually(w, "every lane is "+state, func() bool {
		page := w.scrape(worker, "/metrics")
		for kind := range makers {
			if !strings.Contains(page, fmt.Sprintf("outboxd_lane_state{kind=%q,state=%q} 1", kind, state)) {
				return false
			}
		}
		return true
	})
}

// One intent that the provider always refuses for its own sake harms none of its neighbours, though it goes first,
// and ends as a dead letter of its own.
func TestARefusedIntentStopsNoNeighbour(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 403} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, refusing)
			for kind, of := range makers {
				w.sim.fail(refusal(kind, "poison-"+kind, status, -1))
				w.insert(with(of("poison-"+kind), bson.M{"priority": int32(0)}))
			}
			worker := w.worker()
			var near []func() []time.Duration
			for _, of := range makers {
				near = append(near, w.neighbours(60*time.Millisecond, of))
			}
			for kind := range makers {
				in := w.settled("poison-" + kind)
				if in.outcome() != "dead/permanent" || in.LastError.Code != "refused" && in.LastError.Code != "forbidden" {
					t.Errorf("the refused %s is %s with %+v, want dead/permanent with the code refused", kind, in.outcome(), in.LastError)
				}
			}
			for _, stop := range near {
				w.undisturbed(stop())
			}
			w.lanesAre(worker, "open")
		})
	}
}

// Several of them look like a refusal of the account. Probes with others show that it is none.
func TestSeveralRefusedIntentsDoNotStarveTheirLane(t *testing.T) {
	t.Parallel()
	w := newWorld(t, refusing)
	const poisons = 3
	for kind, of := range makers {
		for n := range poisons {
			id := fmt.Sprint("poison-", kind, "-", n)
			w.sim.fail(refusal(kind, id, 403, -1))
			w.insert(with(of(id), bson.M{"priority": int32(0)}))
		}
	}
	w.worker()
	var near []func() []time.Duration
	for _, of := range makers {
		near = append(near, w.neighbours(60*time.Millisecond, of))
	}
	for kind := range makers {
		for n := range poisons {
			if in := w.settled(fmt.Sprint("poison-", kind, "-", n)); in.outcome() != "dead/permanent" {
				t.Errorf("a refused %s is %s with %+v, want dead/permanent", kind, in.outcome(), in.LastError)
			}
		}
	}
	for _, stop := range near {
		if took := stop(); took[len(took)-1] > 10*time.Second {
			t.Errorf("a neighbour waited %v", took[len(took)-1])
		}
	}
}

// A look-up that is refused or limited holds nobody who sends, and give_up ends it.
func TestARefusedLookUpHoldsNobody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, route string
		status      int
		headers     map[string]string
	}{
		{"email", "logs", 401, nil}, {"email", "logs", 429, map[string]string{"X-RateLimit-Reset": "+3600", "Retry-After": "3600"}}, {"sms", "list", 403, nil},
		{"sms", "list", 429, map[string]string{"Retry-After": "3600"}},
	} {
		t.Run(fmt.Sprint(c.route, " ", c.status), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, refusing)
			lost := refusal(c.kind, "doubtful", 502, 1)
			lost.When, lost.Do = simulator.After, simulator.DoDrop
			asked := refusal(c.kind, "", c.status, -1)
			asked.Route, asked.Headers = c.route, c.headers
			w.sim.fail(lost, asked)
			w.insert(with(makers[c.kind]("doubtful"), bson.M{"on_ambiguous": "reconcile"}))
			w.worker()
			w.waitFor("it is in doubt", 1, bson.D{{Key: "ambiguous_at", Value: bson.D{{Key: "$exists", Value: true}}}})
			stop := w.neighbours(60*time.Millisecond, makers[c.kind])
			if in := w.settled("doubtful"); in.outcome() != "dead/ambiguous" {
				t.Errorf("the doubtful one is %s, want dead/ambiguous", in.outcome())
			}
			w.undisturbed(stop())
		})
	}
}

// A refusal of the account itself holds every intent, costs none an attempt, and everything runs once it is over: by
// itself after the next probe, and at once after lane resume.
func TestARefusalOfTheAccountHoldsTheLaneAndCostsNothing(t *testing.T) {
	t.Parallel()
	for _, resume := range []bool{false, true} {
		t.Run(fmt.Sprint("lane resume ", resume), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, refusing)
			const each = 8
			for kind, of := range makers {
				w.sim.fail(refusal(kind, "", 401, -1))
				for n := range each {
					w.insert(of(fmt.Sprint(kind, "-", n)))
				}
			}
			w.lanesAre(w.worker(), "held")
			if n := w.count(bson.D{{Key: "status", Value: bson.D{{Key: "$in", Value: bson.A{"done", "dead"}}}}}); n > 0 {
				t.Errorf("%d intents ended while the account is refused", n)
			}
			w.mend()
			if resume {
				for kind := range makers {
					runProgram(t, w.environment(), "outboxd", "lane", "resume", kind)
				}
			}
			began := time.Now()
			w.waitFor("all are done", each*len(makers), bson.D{{Key: "status", Value: "done"}})
			most := 15 * time.Second // a probe that had just been refused, and the next one
			if resume {
				most = w.patient(atOnce)
			}
			if took := time.Since(began); took > most {
				t.Errorf("it took %v from the end of the refusal until all were done, want %v", took, most)
			}
			if n := w.count(bson.D{{Key: "attempts", Value: bson.D{{Key: "$gt", Value: 1}}}}); n > 0 {
				t.Errorf("the hold cost %d intents an attempt", n)
			}
			w.once(each*len(makers), true)
		})
	}
}

// A limit of one sender or one object delays the intents that name it, and not the lane.
func TestALimitOfOneSenderDelaysOnlyIts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, refusing)
	limits := map[string]simulator.Fault{}
	limit := func(kind, id, body string, headers map[string]string) {
		fault := refusal(kind, id, 429, -1)
		fault.Body, fault.Headers = body, headers
		limits[id] = fault
		w.sim.fail(fault)
		w.insert(with(makers[kind](id), bson.M{"priority": int32(0)}))
	}
	hour := map[string]string{"Retry-After": "3600"}
	limit("sms", "a-full-queue", `{"code":21611,"message":"This From number has exceeded the maximum number of queued messages","status":429}`, hour)
	limit("sms", "a-limit-of-the-sender", `{"code":14107,"message":"Message rate for this sender exceeded","status":429}`, hour)
	limit("charge", "a-busy-object", `{"error":{"type":"invalid_request_error","code":"lock_timeout","message":"This object cannot be accessed right now because another API request or Stripe process is currently accessing it."}}`, hour)
	limit("charge", "a-limit-of-the-customer", `{"error":{"type":"rate_limit_error","code":"rate_limit","message":"Too many requests for this resource."}}`, map[string]string{"Retry-After": "3600", "Stripe-Rate-Limited-Reason": "resource-specific"})
	w.worker()
	w.waitFor("all have met their limit", len(limits), bson.D{{Key: "last_error.class", Value: bson.D{{Key: "$in", Value: bson.A{"rate_limited", "transient"}}}}})
	near := []func() []time.Duration{w.neighbours(60*time.Millisecond, sms), w.neighbours(60*time.Millisecond, charge)}
	eventually(t, "a hundred neighbours are done", func() bool { return w.count(bson.D{{Key: "status", Value: "done"}}) >= 100 })
	for _, stop := range near {
		w.undisturbed(stop())
	}
	for id := range limits {
		if in := w.get(id); in.Status == "done" {
			t.Errorf("%s is done, though it is limited", id)
		}
	}
}

// A gate that somebody wrote wrongly, or that another worker shortens, is shortened.
func TestAGateThatIsShortenedOpens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, refusing)
	year := time.Now().Add(365 * 24 * time.Hour)
	for kind := range makers {
		w.lane(kind, bson.M{"gate_until": year})
	}
	w.lanesAre(w.worker(), "gated")
	for kind, of := range makers {
		w.insert(of("behind-" + kind))
	}
	w.lane("sms", bson.M{"gate_until": time.Now()})
	w.lane("email", bson.M{"gate_until": nil})
	w.lane("charge", bson.M{"gate_until": time.Now().Add(500 * time.Millisecond)})
	began := time.Now()
	for kind := range makers {
		w.settled("behind-" + kind)
	}
	if took := time.Since(began); took > w.patient(5*time.Second) {
		t.Errorf("it took %v until what waited behind the gates was done", took)
	}
}
