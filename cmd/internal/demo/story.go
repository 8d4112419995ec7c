package demo

import (
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/providers/simulator"
)

// act is a number of intents that meet the same thing.
type act struct {
	name   string // what they meet
	kind   string
	count  int
	card   string // of charges: Stripe's test payment method
	api    bool   // written by the reference API, not by the story's own transaction
	broken bool   // written past the validator, as an older program might have
	cancel bool   // cancelled by hand before it is due
	phone  string // of SMS: the number; else each intent has its own
	after  time.Duration
	extra  bson.D            // further fields of the intent
	faults []simulator.Fault // for each of the intents
	want   string            // how each must end
	effect int               // effects that each must have had
}

// How intents end: a status, and the reason of a dead letter.
const (
	done      = "done"
	cancelled = "cancelled"
	permanent = "dead: permanent"
	exhausted = "dead: exhausted"
	expired   = "dead: expired"
	ambiguous = "dead: ambiguous"
	invalid   = "dead: invalid"
)

const (
	goodCard     = "pm_card_visa"
	declinedCard = "pm_card_chargeDeclined"
	secureCard   = "pm_card_authenticationRequired"

	noSuchNumber = "+15005550001" // Twilio, "Test credentials"
	optedOut     = "+15005550004"
)

// story is what happens, in the order in which it is told at the end.
func story() []*act {
	fault := func(route, do, when string, times, status int) simulator.Fault {
		return simulator.Fault{Route: route, Do: do, When: when, Status: status, Match: simulator.Match{Times: times}}
	}
	limited := func(route string) []simulator.Fault {
		f := fault(route, simulator.DoStatus, simulator.Before, 1, 429)
		f.Headers = map[string]string{"Retry-After": "1"}
		return []simulator.Fault{f}
	}
	soon := time.Now().Add(time.Second)
	return []*act{
		{name: "card charged", kind: "charge", count: 66, card: goodCard, api: true, want: done, effect: 1},
		{name: "card declined", kind: "charge", count: 8, card: declinedCard, api: true, want: permanent},
		{name: "card wants 3-D Secure", kind: "charge", count: 2, card: secureCard, api: true, want: permanent},
		{name: "Stripe unavailable, twice", kind: "charge", count: 4, card: goodCard, api: true, want: done, effect: 1,
			faults: []simulator.Fault{fault("create", simulator.DoStatus, simulator.Before, 2, 503)}},
		{name: "Stripe limits the rate", kind: "charge", count: 3, card: goodCard, api: true, want: done, effect: 1, faults: limited("create")},
		{name: "answer lost, card was charged", kind: "charge", count: 5, card: goodCard, api: true, want: done, effect: 1,
			faults: []simulator.Fault{fault("confirm", simulator.DoDrop, simulator.After, 1, 0)}},
		{name: "answer lost, card was not charged", kind: "charge", count: 3, card: goodCard, api: true, want: done, effect: 1,
			faults: []simulator.Fault{fault("confirm", simulator.DoReset, simulator.Before, 1, 0)}},
		{name: "Stripe never recovers", kind: "charge", count: 2, card: goodCard, want: exhausted, extra: bson.D{{Key: "max_attempts", Value: 2}},
			faults: []simulator.Fault{fault("create", simulator.DoStatus, simulator.Before, -1, 503)}},

		{name: "e-mail sent", kind: "email", count: 30, want: done, effect: 1},
		{name: "SendGrid limits the rate", kind: "email", count: 3, want: done, effect: 1, faults: limited("send")},
		{name: "answer lost, e-mail was taken", kind: "email", count: 4, want: done, effect: 1,
			faults: []simulator.Fault{fault("send", simulator.DoReset, simulator.After, 1, 0)}},
		{name: "answer lost, e-mail was not taken", kind: "email", count: 3, want: done, effect: 1,
			faults: []simulator.Fault{fault("send", simulator.DoDrop, simulator.Before, 1, 0)}},
		{name: "e-mail refused", kind: "email", count: 2, want: permanent,
			faults: []simulator.Fault{fault("send", simulator.DoStatus, simulator.Before, 1, 400)}},
		{name: "malformed, past the validator", kind: "email", count: 2, broken: true, want: invalid},

		{name: "SMS sent", kind: "sms", count: 25, want: done, effect: 1},
		{name: "scheduled for later", kind: "sms", count: 5, after: 3 * time.Second, want: done, effect: 1},
		{name: "number does not exist", kind: "sms", count: 3, phone: noSuchNumber, want: permanent},
		{name: "customer opted out", kind: "sms", count: 2, phone: optedOut, want: permanent},
		{name: "answer lost, SMS was taken (park)", kind: "sms", count: 2, want: ambiguous, effect: 1,
			faults: []simulator.Fault{fault("send", simulator.DoDrop, simulator.After, 1, 0)}},
		{name: "answer lost, SMS was not taken (park)", kind: "sms", count: 2, want: ambiguous,
			faults: []simulator.Fault{fault("send", simulator.DoDrop, simulator.Before, 1, 0)}},
		{name: "answer lost, SMS was taken (reconcile)", kind: "sms", count: 3, want: done, effect: 1,
			extra:  bson.D{{Key: "on_ambiguous", Value: "reconcile"}},
			faults: []simulator.Fault{fault("send", simulator.DoReset, simulator.After, 1, 0)}},
		{name: "login code, too late", kind: "sms", count: 3, after: 2 * time.Second, want: expired, extra: bson.D{{Key: "expires_at", Value: soon}}},
		{name: "cancelled in time", kind: "sms", count: 3, after: time.Hour, cancel: true, want: cancelled},
	}
}

// role is one intent of an act.
type role struct {
	*act
	number int // among all intents of the story, from 1
}

// roles returns the story's intents, mixed: the same way each time.
func roles(acts []*act) []role {
	var list []role
	for left, i := true, 0; left; i++ { // one of each act in turn, so that nothing comes in one block
		left = false
		for _, a := range acts {
			if i < a.count {
				list = append(list, role{a, len(list) + 1})
				left = true
			}
		}
	}
	return list
}

func (r role) customer() string { return fmt.Sprintf("cus_demo%04d", r.number) }
func (r role) email() string    { return fmt.Sprintf("customer%04d@example.com", r.number) }
func (r role) mobile() string {
	if r.phone != "" {
		return r.phone
	}
	return fmt.Sprintf("+4915100%05d", r.number)
}

// script returns the faults that this intent, and no other, meets.
func (r role) script() []simulator.Fault {
	list := make([]simulator.Fault, 0, len(r.faults))
	for _, f := range r.faults {
		switch r.kind {
		case "charge":
			f.Provider, f.Match.To = simulator.ProviderStripe, r.customer()
		case "email":
			f.Provider, f.Match.To = simulator.ProviderSendGrid, r.email()
		case "sms":
			f.Provider, f.Match.To = simulator.ProviderTwilio, r.mobile()
		}
		list = append(list, f)
	}
	return list
}

// intent returns the document that the story's own transaction inserts.
func (r role) intent(now time.Time) bson.D {
	var payload bson.D
	switch r.kind {
	case "charge":
		payload = bson.D{{Key: "amount", Value: 1000 + r.number}, {Key: "currency", Value: "eur"},
			{Key: "customer", Value: r.customer()}, {Key: "payment_method", Value: r.card}}
	case "email":
		payload = bson.D{{Key: "from", Value: "shop@example.com"}, {Key: "to", Value: r.email()},
			{Key: "subject", Value: fmt.Sprintf("Your order %d", r.number)}, {Key: "text", Value: "It is on its way."}}
	case "sms":
		payload = bson.D{{Key: "from", Value: sender}, {Key: "to", Value: r.mobile()},
			{Key: "body", Value: fmt.Sprintf("Your order %d is on its way.", r.number)}}
	}
	if r.broken {
		payload = append(payload, bson.E{Key: "subjekt", Value: "a typing error"})
	}
	return append(bson.D{
		{Key: "_id", Value: r.id()}, {Key: "kind", Value: r.kind}, {Key: "status", Value: "pending"},
		{Key: "due_at", Value: now.Add(r.after)}, {Key: "payload", Value: payload},
	}, r.extra...)
}

// id is the _id of an intent that the story writes itself.
func (r role) id() string { return fmt.Sprintf("order-%04d", r.number) }

const sender = "+15005550006" // Twilio, "Test credentials": the sender that every test account may use
