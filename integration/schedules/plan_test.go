package schedules

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/simulator"
)

// plan is a schedule as it is drawn, before anything runs.
type plan struct {
	seed    uint64
	intents []*wanted
	lanes   map[string]dispatcher.Lane // by kind, without their providers
	faults  []simulator.Fault
	slots   [][]life // machines that run one after another, in each of one or two slots

	latency   time.Duration // of each request
	logsDelay time.Duration // until SendGrid's log shows an e-mail
	skew      time.Duration // by which the providers' clocks are ahead
}

// wanted is an intent that the plan inserts, or that settling one of these will insert.
type wanted struct {
	id     string
	parent *wanted // of a follow-up
	onDone bool    // which of its parent's ends brings it
	kind   string
	doc    map[string]any
	due    time.Duration // after the beginning
	// refused says that the provider's final answer to it is no.
	refused   bool
	expires   time.Duration // after the beginning; 0: never
	policy    outbox.Ambiguity
	attempts  int // at most
	children  []*wanted
	writeBack bool
}

// life is what one machine goes through.
type life struct {
	pause     time.Duration // after the end of the one before
	incidents []incident
	refused   []int // dials, counted from 1, that find nobody
}

// The kinds of incidents.
const (
	dies   = "dies"
	stops  = "is stopped"
	stalls = "stalls"
	outage = "database away"
)

// incident befalls a machine at one of its operations.
type incident struct {
	at    int // the operation, counted from 1
	what  string
	after bool          // the operation had its effect before
	lasts time.Duration // of a stall, an outage and a drain
}

type drawing struct {
	*rand.Rand
	plan
}

func draw(seed uint64) plan {
	d := &drawing{Rand: rand.New(rand.NewPCG(seed, 0x6f7574626f7864)), plan: plan{seed: seed, lanes: make(map[string]dispatcher.Lane)}}
	kinds := [][]string{{"charge"}, {"email"}, {"sms"}, {"charge", "email"}, {"charge", "sms"}, {"email", "sms"}, {"charge", "email", "sms"}}[d.IntN(7)]
	long := d.chance(2) // policies as they are deployed
	for _, kind := range kinds {
		d.lanes[kind] = d.lane(kind, long)
	}
	for n := range 1 + d.IntN(4) {
		w := d.intent("i"+strconv.Itoa(n), kinds[d.IntN(len(kinds))], kinds, nil, 1)
		w.due = d.upTo(2 * time.Second)
		if d.chance(15) {
			w.expires = w.due + d.upTo(20*time.Second)
		}
		d.intents = append(d.intents, w)
	}
	d.network()
	d.fates()
	return d.plan
}

// chance is true in that many of a hundred cases.
func (d *drawing) chance(percent int) bool { return d.IntN(100) < percent }

// upTo is a time in whole milliseconds, which is what the database keeps.
func (d *drawing) upTo(most time.Duration) time.Duration {
	return time.Duration(d.Int64N(int64(most/time.Millisecond)+1)) * time.Millisecond
}

func (d *drawing) between(least, most time.Duration) time.Duration { return least + d.upTo(most-least) }

func (d *drawing) lane(kind string, long bool) dispatcher.Lane {
	l := dispatcher.Lane{Kind: kind, Concurrency: 1 + d.IntN(4)}
	if d.chance(10) {
		l.Rate = float64(1 + d.IntN(10))
	}
	l.Policy.AsksFirst = kind == outbox.KindCharge
	l.Policy.OnAmbiguous = d.ambiguity()
	if long {
		l.Timeout, l.Lease = 10*time.Second, 45*time.Second
		l.Policy.Retry = outbox.RetryPolicy{MaxAttempts: 12, Base: 2 * time.Second, Max: 15 * time.Minute}
		l.Policy.Reconcile = outbox.ReconcilePolicy{Wait: 30 * time.Second, Interval: 30 * time.Second, AbsentAfter: 2 * time.Minute, GiveUp: 15 * time.Minute}
		l.Breaker = dispatcher.Breaker{Window: 2 * time.Minute, Buckets: 12, MinRequests: 10, FailureRatio: 0.5, Consecutive: 5, OpenFor: 30 * time.Second, Probes: 2}
		return l
	}
	l.Timeout = d.between(500*time.Millisecond, 4*time.Second)
	l.Lease = l.Timeout + d.between(5*time.Second, 10*time.Second)
	base := d.between(50*time.Millisecond, time.Second)
	l.Policy.Retry = outbox.RetryPolicy{MaxAttempts: []int{1, 2, 3, 5, 12, 40}[d.IntN(6)], Base: base, Max: base + d.upTo(10*time.Second)}
	wait := d.upTo(3 * time.Second)
	absent := wait + d.between(time.Second, 15*time.Second)
	l.Policy.Reconcile = outbox.ReconcilePolicy{Wait: wait, Interval: d.between(time.Second, 4*time.Second), AbsentAfter: absent, GiveUp: absent + d.upTo(time.Minute)}
	l.Breaker = dispatcher.Breaker{
		Window: 20 * time.Second, Buckets: 4, MinRequests: 2 + d.IntN(5), FailureRatio: 0.5, Consecutive: 1 + d.IntN(5),
		OpenFor: d.between(500*time.Millisecond, 5*time.Second), Probes: 1 + d.IntN(2),
	}
	return l
}

func (d *drawing) ambiguity() outbox.Ambiguity {
	return []outbox.Ambiguity{outbox.Retry, outbox.Reconcile, outbox.Park}[d.IntN(3)]
}

func (d *drawing) intent(id, kind string, kinds []string, parent *wanted, level int) *wanted {
	lane := d.lanes[kind]
	w := &wanted{id: id, parent: parent, kind: kind, policy: lane.Policy.OnAmbiguous, attempts: lane.Policy.Retry.MaxAttempts}
	w.doc = map[string]any{"kind": kind}
	w.doc["payload"], w.refused = d.payload(w)
	if d.chance(50) {
		w.policy = d.ambiguity()
		w.doc["on_ambiguous"] = string(w.policy)
	}
	if d.chance(30) {
		w.attempts = 1 + d.IntN(15)
		w.doc["max_attempts"] = int64(w.attempts)
	}
	if level == 1 && d.chance(25) {
		w.writeBack = true
		w.doc["write_back"] = map[string]any{
			"collection": orders, "id": w.id,
			"done": map[string]any{"state": "done", "receipt": "${result.id}"},
			"dead": map[string]any{"state": "dead", "why": "${dead_reason}", "code": "${last_error.code}"},
		}
	}
	if level == 1 && d.chance(25) {
		d.followUps(w, kinds, "on_done", ":done:")
		d.followUps(w, kinds, "on_dead", ":dead:")
	}
	return w
}

func (d *drawing) followUps(w *wanted, kinds []string, field, word string) {
	var docs []any
	for n := range d.IntN(3) {
		child := d.intent(w.id+word+strconv.Itoa(n), kinds[d.IntN(len(kinds))], kinds, w, 2)
		child.onDone = field == "on_done"
		w.children = append(w.children, child)
		docs = append(docs, child.doc)
	}
	if docs != nil {
		w.doc[field] = docs
	}
}

// payload also says whether the provider refuses it for good. Recipients differ, as do texts: Twilio cannot tell like
// texts to one number apart, which limits_test.go shows.
func (d *drawing) payload(w *wanted) (payload map[string]any, refused bool) {
	unique := strconv.Itoa(d.IntN(1_000_000_000))
	switch w.kind {
	case outbox.KindCharge:
		methods := []string{"pm_card_visa", "pm_card_visa", "pm_card_visa", "pm_usBankAccount_success", "pm_card_chargeDeclined", "pm_card_authenticationRequired"}
		method := d.IntN(len(methods))
		return map[string]any{"amount": int64(100 + d.IntN(9900)), "currency": "eur", "customer": "cus_" + unique, "payment_method": methods[method]}, method > 3
	case outbox.KindEmail:
		return map[string]any{"from": "shop@example.com", "to": "u" + unique + "@example.com", "subject": "Your order", "text": "Thank you."}, false
	default:
		to := "+4915" + unique
		for len(to) < 12 {
			to += "0"
		}
		if d.chance(10) {
			return map[string]any{"to": "+15005550004", "from": "+15550001111", "body": "Text " + w.id}, true
		}
		return map[string]any{"to": to, "from": "+15550001111", "body": "Text " + w.id}, false
	}
}

// all returns the intents and what may follow them.
func (p plan) all() []*wanted {
	var list []*wanted
	for _, w := range p.intents {
		list = append(list, w)
		list = append(list, w.children...)
	}
	return list
}

// fates draws the machines' lives. The last one in each slot does not end by itself.
func (d *drawing) fates() {
	slots := 1
	if d.chance(35) {
		slots = 2
	}
	lease := time.Duration(0)
	for _, l := range d.lanes {
		lease = max(lease, l.Lease)
	}
	for range slots {
		var slot []life
		ends := d.IntN(4)
		for n := range ends + 1 {
			l := life{pause: d.upTo(2 * lease)}
			if n > 0 && d.chance(15) { // long enough for idempotency keys to be forgotten
				l.pause = d.between(20*time.Hour, 30*time.Hour)
			}
			if d.chance(25) {
				l.incidents = append(l.incidents, d.incident(lease))
			}
			if n < ends {
				what := dies
				if d.chance(15) {
					what = stops
				}
				l.incidents = append(l.incidents, incident{at: 1 + d.IntN(8), what: what, after: d.chance(50), lasts: d.upTo(2 * time.Second)})
			}
			if d.chance(15) {
				for range 1 + d.IntN(3) {
					l.refused = append(l.refused, 1+d.IntN(4))
				}
			}
			slot = append(slot, l)
		}
		d.slots = append(d.slots, slot)
	}
}

func (d *drawing) incident(lease time.Duration) incident {
	i := incident{at: 1 + d.IntN(10), after: d.chance(50)}
	if d.chance(40) {
		i.what, i.lasts = stalls, d.between(lease/2, 3*lease)
	} else {
		i.what, i.lasts = outage, d.between(100*time.Millisecond, []time.Duration{2 * time.Second, lease, 2 * lease}[d.IntN(3)])
	}
	return i
}

// absentAfter is the shortest time in which a provider must show what it did.
func (p plan) absentAfter() time.Duration {
	shortest := time.Hour
	for _, l := range p.lanes {
		shortest = min(shortest, l.Policy.Reconcile.AbsentAfter)
	}
	return shortest
}

// touches reports whether a fault may concern the intent's own requests, or the questions about its kind.
func touches(f simulator.Fault, w *wanted) bool {
	return f.Provider == providerOf(w.kind) && slices.Contains([]string{"", w.id}, f.Match.OutboxID)
}

func providerOf(kind string) string {
	return map[string]string{
		outbox.KindCharge: simulator.ProviderStripe, outbox.KindEmail: simulator.ProviderSendGrid, outbox.KindSMS: simulator.ProviderTwilio,
	}[kind]
}
