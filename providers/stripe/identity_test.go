package stripe

import (
	"fmt"
	"slices"
	"testing"
	"time"

	stripe "github.com/stripe/stripe-go/v76"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/simulator"
)

// fresh is a rig's next intent: what was saved belongs to the one before.
func (r *rig) fresh(change func(*outbox.Intent)) *outbox.Intent {
	r.saves = nil
	in := newIntent(nil)
	change(in)
	return in
}

func charge(in *outbox.Intent) *outbox.Charge { return in.Payload.(*outbox.Charge) }

// status asks the simulator for a PaymentIntent.
func (r *rig) status(t *testing.T, id string) stripe.PaymentIntentStatus {
	t.Helper()
	pi, err := r.intents.Get(id, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pi.Status
}

// stored is the PaymentIntent that an intent's progress names.
func storedIn(in *outbox.Intent) string { id, _ := in.Progress["payment_intent"].(string); return id }

// TestEqualIDsAreDifferentCharges charges by pairs of intents that were one charge under keys of their id alone.
func TestEqualIDsAreDifferentCharges(t *testing.T) {
	object := outbox.NewObjectID([12]byte{0x65, 0xf0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	uuid := outbox.NewUUID([16]byte{1, 2, 3})
	text := func(id string) func(*outbox.Intent) {
		return func(in *outbox.Intent) { in.ID = outbox.NewStringID(id) }
	}
	generation := func(id string, n int) func(*outbox.Intent) {
		return func(in *outbox.Intent) { in.ID, in.Generation = outbox.NewStringID(id), n }
	}
	for name, pair := range map[string][2]func(*outbox.Intent){
		"two outboxes":                {func(in *outbox.Intent) { in.Namespace = "aaaaaaaaaa" }, func(in *outbox.Intent) { in.Namespace = "bbbbbbbbbb" }},
		"an ObjectId and its hex":     {func(in *outbox.Intent) { in.ID = object }, text(object.String())},
		"a UUID and its text":         {func(in *outbox.Intent) { in.ID = uuid }, text(uuid.String())},
		"a generation and its suffix": {generation("x", 1), text("x:g1")},
		"a step as an id":             {text("x"), text("x:create")},
		"two generations":             {text("x"), generation("x", 1)},
		"a key as an id":              {text("x"), text("test/s0/create/x")},
	} {
		for _, differ := range []bool{false, true} {
			for _, lost := range []bool{false, true} { // the look-up tells them apart as well
				sim, r := simulate(t)
				if lost {
					for range 2 {
						if err := sim.AddFaults(simulator.Fault{Provider: simulator.ProviderStripe, Route: "confirm", When: simulator.After, Do: simulator.DoDrop}); err != nil {
							t.Fatal(err)
						}
					}
				}
				for n, change := range pair {
					in := r.fresh(change)
					if differ {
						charge(in).Amount += int64(n)
					}
					receipt, f := r.deliver(t, in)
					if lost {
						receipt, f = r.deliver(t, in)
					}
					if f != nil || receipt.Status != "succeeded" {
						t.Errorf("%s, other amount %v, lost %v: %+v, %v", name, differ, lost, receipt, f)
					}
				}
				if n := len(sim.Effects()); n != 2 {
					t.Errorf("%s, other amount %v, lost %v: %d effects, want 2", name, differ, lost, n)
				}
			}
		}
	}
}

// TestStepsHaveKeysOfTheirOwn compares the keys of all steps of an intent and of its next generations.
func TestStepsHaveKeysOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, id := range []string{"x", "2", "create", "create.2", "x ü"} {
		for generation := range 12 {
			in := newIntent(nil)
			in.ID, in.Generation = outbox.NewStringID(id), generation
			p := load(in)
			for n := range int64(12) {
				for _, step := range []string{"create", "confirm", "cancel", "retire"} {
					key := p.key(step, n+1)
					if seen[key] {
						t.Errorf("the key %s stands for two steps", key)
					}
					seen[key] = true
				}
			}
		}
	}
}

// TestProgressOfOlderCodeGoesOn lets a charge that older code began be ended by this one: under the old keys, and with
// a PaymentIntent that is labelled by its outbox_id alone.
func TestProgressOfOlderCodeGoesOn(t *testing.T) {
	for name, generation := range map[string]int{"order-17": 0, "order-17:g2": 2} {
		for _, lost := range []bool{false, true} {
			sim, r := simulate(t)
			in := newIntent(nil)
			in.Generation = generation
			old := createParams(t.Context(), in, charge(in), name+":create")
			old.Metadata = map[string]string{"outbox_id": "order-17"}
			pi, err := r.intents.New(old)
			if err != nil {
				t.Fatal(err)
			}
			if lost { // older code confirmed it
				if _, err := r.intents.Confirm(pi.ID, confirmParams(t.Context(), charge(in), name+":confirm")); err != nil {
					t.Fatal(err)
				}
			}
			in.Progress = outbox.Progress{"key": name, "payment_intent": pi.ID, "create": int64(1), "confirm": int64(1), "confirm_at": in.Lease.At}
			receipt, f := r.deliver(t, in)
			if f != nil || receipt.ID != pi.ID {
				t.Fatalf("%s, lost %v: %+v, %v", name, lost, receipt, f)
			}
			if effects := sim.Effects(); len(effects) != 1 || effects[0].Key != name+":confirm" {
				t.Errorf("%s, lost %v: %+v", name, lost, effects)
			}
		}
	}
}

// TestNothingStoredIsBelieved gives a charge progress that names a PaymentIntent of another intent.
func TestNothingStoredIsBelieved(t *testing.T) {
	for name, whose := range map[string]func(*outbox.Intent){
		"of another intent":       func(in *outbox.Intent) { in.ID = outbox.NewStringID("cheap") },
		"of another outbox":       func(in *outbox.Intent) { in.Namespace = "another" },
		"of an id of other type":  func(in *outbox.Intent) { in.ID = outbox.NewObjectID([12]byte{1}) },
		"of no intent":            func(in *outbox.Intent) { in.ID, in.Namespace = outbox.ID{}, "" },
		"of a later generation":   func(in *outbox.Intent) { in.Generation = 3 },
		"of an earlier, pretends": func(in *outbox.Intent) { in.Generation = 0 },
	} {
		for _, confirmed := range []bool{false, true} {
			for _, lookUp := range []bool{false, true} {
				sim, r := simulate(t)
				other := newIntent(nil)
				whose(other)
				pi, err := r.intents.New(createParams(t.Context(), other, charge(other), ""))
				if err != nil {
					t.Fatal(err)
				}
				if confirmed {
					if pi, err = r.intents.Confirm(pi.ID, confirmParams(t.Context(), charge(other), "")); err != nil {
						t.Fatal(err)
					}
				}
				in := r.fresh(func(in *outbox.Intent) { in.Generation = 2 })
				in.Progress = outbox.Progress{"key": in.Key(""), "payment_intent": pi.ID, "create": int64(1), "confirm": int64(1)}
				var f *outbox.Failure
				if lookUp {
					answer, err := r.LookUp(t.Context(), in)
					if f, _ = err.(*outbox.Failure); answer.Found || answer.Certain {
						t.Errorf("%s: %+v", name, answer)
					}
				} else {
					_, f = r.deliver(t, in)
				}
				if f == nil || f.Class != outbox.Permanent || f.Code != outbox.CodeMismatch {
					t.Errorf("%s, confirmed %v, look-up %v: %v", name, confirmed, lookUp, f)
				}
				if now := r.status(t, pi.ID); now != pi.Status {
					t.Errorf("%s, confirmed %v, look-up %v: it was %s and is %s", name, confirmed, lookUp, pi.Status, now)
				}
				if n := len(sim.Effects()); n != map[bool]int{true: 1}[confirmed] {
					t.Errorf("%s, confirmed %v, look-up %v: %d effects", name, confirmed, lookUp, n)
				}
			}
		}
	}
}

// TestAnotherIntentsPaymentIsNotTouched retries such a dead letter in a new generation: it makes a payment of its own.
func TestAnotherIntentsPaymentIsNotTouched(t *testing.T) {
	sim, r := simulate(t)
	other := r.fresh(func(in *outbox.Intent) { in.ID = outbox.NewStringID("other") })
	pi, err := r.intents.New(createParams(t.Context(), other, charge(other), ""))
	if err != nil {
		t.Fatal(err)
	}
	in := r.fresh(func(in *outbox.Intent) { in.Generation = 1 })
	in.Progress = outbox.Progress{"key": "test/s0//order-17", "payment_intent": pi.ID, "create": int64(1), "confirm": int64(1)}
	if receipt, f := r.deliver(t, in); f != nil || receipt.ID == pi.ID {
		t.Errorf("%+v, %v", receipt, f)
	}
	if now := r.status(t, pi.ID); now != stripe.PaymentIntentStatusRequiresConfirmation {
		t.Errorf("the other intent's payment is %s", now)
	}
	simulation.WantEffects(t, sim, 1)
}

// changes are what a person may change in a payload after its PaymentIntent was made.
var changes = map[string]func(*outbox.Charge){
	"less":                   func(c *outbox.Charge) { c.Amount = 100 },
	"more":                   func(c *outbox.Charge) { c.Amount *= 10 },
	"another currency":       func(c *outbox.Charge) { c.Currency = "usd" },
	"another customer":       func(c *outbox.Charge) { c.Customer = "cus_Other" },
	"another account":        func(c *outbox.Charge) { c.Account = "acct_Other" },
	"another payment method": func(c *outbox.Charge) { c.PaymentMethod = "pm_card_visa" },
}

// TestPayloadChangedAfterItsPaymentWasMade corrects the payload of a charge whose confirmation never arrived. Nothing
// is confirmed, and a retry in a new generation charges what the payload says then, once.
func TestPayloadChangedAfterItsPaymentWasMade(t *testing.T) {
	for name, change := range changes {
		for _, when := range []string{simulator.Before, simulator.After} {
			sim, r := simulate(t, simulator.Fault{Route: "confirm", When: when, Do: simulator.DoDrop})
			in := newIntent(nil)
			if _, f := r.deliver(t, in); f == nil || f.Class != outbox.Ambiguous {
				t.Fatalf("%s: %v", name, f)
			}
			first := storedIn(in)
			change(charge(in))
			receipt, f := r.deliver(t, in)
			if when == simulator.After && name == "another payment method" { // it was charged by the one that was asked for then
				if f != nil || receipt.ID != first {
					t.Errorf("%s, charged: %+v, %v", name, receipt, f)
				}
				continue
			}
			if f == nil || f.Class != outbox.Permanent || f.Code != outbox.CodeMismatch {
				t.Fatalf("%s, %s: %+v, %v", name, when, receipt, f)
			}
			before := len(sim.Effects())
			in.Generation++
			receipt, f = r.deliver(t, in)
			if when == simulator.After { // the first one was charged, which a second one would not undo
				if f == nil || f.Code != outbox.CodeMismatch || before != 1 || len(sim.Effects()) != 1 {
					t.Errorf("%s, charged: %+v, %v; %d effects", name, receipt, f, len(sim.Effects()))
				}
				continue
			}
			if f != nil || receipt.ID == first || before != 0 {
				t.Errorf("%s, in a new generation: %+v, %v; %d effects before", name, receipt, f, before)
			}
			if status := r.status(t, first); status != stripe.PaymentIntentStatusCanceled {
				t.Errorf("%s: the first PaymentIntent is %s", name, status)
			}
			c := charge(in)
			if effects := sim.Effects(); len(effects) != 1 || effects[0].Amount != c.Amount || effects[0].Currency != c.Currency || effects[0].Customer != c.Customer {
				t.Errorf("%s: %+v", name, effects)
			}
		}
	}
}

// TestANewGenerationWaitsForTheOldOne cannot cancel what the earlier generation left, and makes nothing until it can.
func TestANewGenerationWaitsForTheOldOne(t *testing.T) {
	for _, fault := range []simulator.Fault{
		{Do: simulator.DoStatus, Status: 500}, {Do: simulator.DoStatus, Status: 500, Saved: true}, {Do: simulator.DoDrop}, {Do: simulator.DoHTML},
		{Do: simulator.DoStatus, Status: 401}, {Do: simulator.DoStatus, Status: 429}, {Do: simulator.DoStatus, Status: 400}, {Do: simulator.DoHTML, Status: 404},
	} {
		for _, route := range []string{"cancel", "retrieve"} {
			for _, when := range []string{simulator.Before, simulator.After} {
				name := fmt.Sprintf("%s %s %s %d %v", route, when, fault.Do, fault.Status, fault.Saved)
				sim, r := simulate(t, simulator.Fault{Route: "confirm", When: simulator.Before, Do: simulator.DoDrop})
				in := newIntent(nil)
				r.deliver(t, in)
				first := storedIn(in)
				in.Generation++
				fault.Provider, fault.Route, fault.When = simulator.ProviderStripe, route, when
				if err := sim.AddFaults(fault); err != nil {
					t.Fatal(err)
				}
				if _, f := r.deliver(t, in); f == nil || f.Class == outbox.Permanent {
					t.Errorf("%s: %v", name, f)
				}
				simulation.WantEffects(t, sim, 0)
				if receipt, f := r.deliver(t, in); f != nil || receipt.ID == first {
					t.Errorf("%s: %+v, %v", name, receipt, f)
				}
				if status := r.status(t, first); status != stripe.PaymentIntentStatusCanceled {
					t.Errorf("%s: the first PaymentIntent is %s", name, status)
				}
				simulation.WantEffects(t, sim, 1)
			}
		}
	}
}

// TestANewGenerationFindsTheOldOneCharged: the confirmation that was thought to be lost has arrived.
func TestANewGenerationFindsTheOldOneCharged(t *testing.T) {
	sim, r := simulate(t, simulator.Fault{Route: "confirm", When: simulator.After, Do: simulator.DoDrop})
	in := newIntent(nil)
	r.deliver(t, in)
	first := storedIn(in)
	in.Generation++
	if receipt, f := r.deliver(t, in); f != nil || receipt.ID != first {
		t.Errorf("%+v, %v", receipt, f)
	}
	simulation.WantEffects(t, sim, 1)
}

// restored is the intent as it stood in a backup: nothing of its life is known.
func restored(at time.Duration) *outbox.Intent {
	in := newIntent(nil)
	in.Lease.At = in.Lease.At.Add(at)
	in.FirstAttemptAt = in.Lease.At
	return in
}

// TestRestoredFromABackup lets a charge that was begun be begun again by a document that knows nothing of it.
func TestRestoredFromABackup(t *testing.T) {
	dropped := simulator.Fault{Route: "confirm", When: simulator.Before, Do: simulator.DoDrop}
	for name, row := range map[string]struct {
		faults   []simulator.Fault
		method   string
		change   func(*outbox.Intent) // of the restored intent
		class    outbox.Class         // of the delivery after the restore; empty: it is done
		code     string
		effects  int
		lookedUp string // what a look-up says of it: found, never, or a failure's code
	}{
		"charged":                          {effects: 1, lookedUp: "found"},
		"in processing":                    {method: "pm_usBankAccount_success", effects: 1, lookedUp: "found"},
		"declined":                         {method: "pm_card_chargeDeclined", class: outbox.Permanent, code: outbox.CodeDeclined, lookedUp: outbox.CodeDeclined},
		"unconfirmed":                      {faults: []simulator.Fault{dropped}, effects: 1, lookedUp: "never"},
		"charged, answer lost":             {faults: []simulator.Fault{{Route: "confirm", When: simulator.After, Do: simulator.DoDrop}}, effects: 1, lookedUp: "found"},
		"only asked to be created":         {faults: []simulator.Fault{{Route: "create", When: simulator.Before, Do: simulator.DoDrop}}, effects: 1, lookedUp: "never"},
		"created, answer lost":             {faults: []simulator.Fault{{Route: "create", When: simulator.After, Do: simulator.DoDrop}}, effects: 1, lookedUp: "never"},
		"charged, payload changed":         {change: func(in *outbox.Intent) { charge(in).Amount = 4200 }, class: outbox.Permanent, code: outbox.CodeMismatch, effects: 1, lookedUp: outbox.CodeMismatch},
		"of another outbox":                {change: func(in *outbox.Intent) { in.Namespace = "another" }, effects: 2, lookedUp: "never"},
		"of another id":                    {change: func(in *outbox.Intent) { in.ID = outbox.NewStringID("order-18") }, effects: 2, lookedUp: "never"},
		"charged in the generation before": {change: func(in *outbox.Intent) { in.Generation = 1 }, class: outbox.Ambiguous, code: outbox.CodeCannotTell, effects: 1, lookedUp: outbox.CodeCannotTell},
	} {
		for _, after := range []time.Duration{25 * time.Hour, 40 * 24 * time.Hour} {
			sim, r := simulate(t, slices.Clone(row.faults)...)
			in := newIntent(nil)
			if row.method != "" {
				charge(in).PaymentMethod = row.method
			}
			r.deliver(t, in)
			sim.Advance(after)
			for _, lookUp := range []bool{true, false} { // the look-up first: it must leave nothing behind that charges
				r.saves = nil
				again := restored(after)
				charge(again).PaymentMethod = charge(in).PaymentMethod
				if row.change != nil {
					row.change(again)
				}
				if lookUp {
					if row.effects == 1 && row.lookedUp == "never" {
						continue // it would cancel what the delivery shall go on with
					}
					answer, err := r.LookUp(t.Context(), again)
					got := map[bool]string{true: "found"}[answer.Found]
					if answer.Certain {
						got = "never"
					}
					if f, ok := err.(*outbox.Failure); ok {
						got = f.Code
					}
					if got != row.lookedUp {
						t.Errorf("%s, after %v: a look-up says %q, want %q", name, after, got, row.lookedUp)
					}
					continue
				}
				receipt, f := r.deliver(t, again)
				if row.class == "" && (f != nil || receipt.ID == "") || row.class != "" && (f == nil || f.Class != row.class || f.Code != row.code) {
					t.Errorf("%s, after %v: %+v, %v", name, after, receipt, f)
				}
				if n := len(sim.Effects()); n != row.effects {
					t.Errorf("%s, after %v: %d effects, want %d", name, after, n, row.effects)
				}
			}
		}
	}
}

// TestRestoredWithinTheWindow is replayed by Stripe under the same keys, without a list.
func TestRestoredWithinTheWindow(t *testing.T) {
	sim, r := simulate(t)
	first, f := r.deliver(t, newIntent(nil))
	if f != nil {
		t.Fatal(f)
	}
	r.saves = nil
	sim.Advance(22 * time.Hour)
	if again, f := r.deliver(t, restored(22*time.Hour)); f != nil || again.ID != first.ID {
		t.Errorf("%+v, %v", again, f)
	}
	simulation.WantEffects(t, sim, 1)
	if n := listed(sim); n != 0 {
		t.Errorf("the list was asked %d times", n)
	}
}

// TestRestoredAndChangedWithinTheWindow meets its own key with another payload.
func TestRestoredAndChangedWithinTheWindow(t *testing.T) {
	sim, r := simulate(t)
	if _, f := r.deliver(t, newIntent(nil)); f != nil {
		t.Fatal(f)
	}
	r.saves = nil
	again := restored(time.Hour)
	charge(again).Amount = 100
	if _, f := r.deliver(t, again); f == nil || f.Class != outbox.Permanent || f.Code != outbox.CodeMismatch {
		t.Errorf("%v", f)
	}
	simulation.WantEffects(t, sim, 1)
}

func listed(sim *simulator.Sim) int {
	n := 0
	for _, c := range sim.Requests() {
		if c.Provider == simulator.ProviderStripe && c.Route == "list" {
			n += c.Count
		}
	}
	return n
}

// TestRestoredAmongMany goes through the pages of a customer who pays often, and gives up where there are too many.
func TestRestoredAmongMany(t *testing.T) {
	sim, r := simulate(t)
	if _, f := r.deliver(t, newIntent(nil)); f != nil {
		t.Fatal(f)
	}
	sim.Advance(24 * time.Hour)
	others := 0
	for _, want := range []int{150, maxPages*pageSize - 1, maxPages * pageSize} {
		conclusive := want < maxPages*pageSize
		for ; others < want; others++ {
			other := newIntent(nil)
			other.ID = outbox.NewStringID(fmt.Sprint("other ", others))
			if _, err := r.intents.New(createParams(t.Context(), other, charge(other), "")); err != nil {
				t.Fatal(err)
			}
		}
		r.saves = nil
		receipt, f := r.deliver(t, restored(25*time.Hour))
		if conclusive && (f != nil || receipt.ID == "") || !conclusive && (f == nil || f.Class != outbox.Ambiguous || f.Code != outbox.CodeCannotTell) {
			t.Errorf("among %d: %+v, %v", others, receipt, f)
		}
		if _, err := r.LookUp(t.Context(), restored(25*time.Hour)); (err == nil) != conclusive {
			t.Errorf("among %d, a look-up: %v", others, err)
		}
		simulation.WantEffects(t, sim, 1)
	}
}

// TestRestoredWhileTheListFails makes nothing before the list has said that it may.
func TestRestoredWhileTheListFails(t *testing.T) {
	for _, fault := range []simulator.Fault{
		{Do: simulator.DoStatus, Status: 500}, {Do: simulator.DoDrop}, {Do: simulator.DoHTML}, {Do: simulator.DoEmpty}, {Do: simulator.DoGarbage},
		{Do: simulator.DoStatus, Status: 200, Body: `{}`}, {Do: simulator.DoStatus, Status: 200, Body: `{"object":"list","data":null}`},
		{Do: simulator.DoStatus, Status: 200, Body: `{"object":"list","data":[null]}`}, {Do: simulator.DoStatus, Status: 401},
		{Do: simulator.DoStatus, Status: 403}, {Do: simulator.DoStatus, Status: 429}, {Do: simulator.DoStatus, Status: 400}, {Do: simulator.DoTruncate},
	} {
		sim, r := simulate(t)
		if _, f := r.deliver(t, newIntent(nil)); f != nil {
			t.Fatal(f)
		}
		sim.Advance(25 * time.Hour)
		fault.Provider, fault.Route, fault.When = simulator.ProviderStripe, "list", simulator.After
		if err := sim.AddFaults(fault); err != nil {
			t.Fatal(err)
		}
		r.saves = nil
		if receipt, f := r.deliver(t, restored(25*time.Hour)); f == nil || f.Class == outbox.Permanent {
			t.Errorf("%s %d %s: %+v, %v", fault.Do, fault.Status, fault.Body, receipt, f)
		}
		if receipt, f := r.deliver(t, restored(25*time.Hour)); f != nil || receipt.ID == "" {
			t.Errorf("%s %d, then: %+v, %v", fault.Do, fault.Status, receipt, f)
		}
		simulation.WantEffects(t, sim, 1)
	}
}

// TestWhosePaymentItIs reads the labels.
func TestWhosePaymentItIs(t *testing.T) {
	object := outbox.NewObjectID([12]byte{0x65, 0xf0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	label := func(id, ns, key string) map[string]string {
		return map[string]string{"outbox_id": id, "outbox_ns": ns, "outbox_key": key}
	}
	for name, row := range map[string]struct {
		labels map[string]string
		legacy bool
		want   kin
	}{
		"ours":                           {label(object.String(), "ns1", "o2"), false, own},
		"ours, in older code's progress": {label(object.String(), "ns1", "o2"), true, own},
		"an earlier generation":          {label(object.String(), "ns1", "o1"), false, earlier},
		"a later generation":             {label(object.String(), "ns1", "o10"), false, later},
		"the string of the same hex":     {label(object.String(), "ns1", "s2"), false, stranger},
		"that string, earlier":           {label(object.String(), "ns1", "s0"), false, stranger},
		"that string, later":             {label(object.String(), "ns1", "s3"), false, stranger},
		"another outbox":                 {label(object.String(), "ns2", "o2"), false, stranger},
		"another id":                     {label("x", "ns1", "o2"), false, stranger},
		"no outbox":                      {label(object.String(), "", "o2"), true, stranger},
		"no type":                        {label(object.String(), "ns1", ""), true, stranger},
		"a type that is none":            {label(object.String(), "ns1", "o"), false, stranger},
		"a type that is no number":       {label(object.String(), "ns1", "ox"), false, stranger},
		"of older code":                  {label(object.String(), "", ""), false, unlabelled},
		"of older code, in its progress": {label(object.String(), "", ""), true, own},
		"of older code, another id":      {label("x", "", ""), true, stranger},
		"no labels":                      {nil, true, stranger},
	} {
		in := &outbox.Intent{ID: object, Namespace: "ns1", Generation: 2}
		if got := kinship(in, &stripe.PaymentIntent{Metadata: row.labels}, row.legacy); got != row.want {
			t.Errorf("%s: %d, want %d", name, got, row.want)
		}
	}
}

// TestWhenTheKeysMayBeForgotten says from which age on an intent may have had an earlier life beyond the keys.
func TestWhenTheKeysMayBeForgotten(t *testing.T) {
	claim := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	object := func(at time.Time) outbox.ID {
		n := uint32(at.Unix())
		return outbox.NewObjectID([12]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 1})
	}
	for name, row := range map[string]struct {
		id   outbox.ID
		due  time.Duration // before the claim; 0: unknown
		want bool
	}{
		"due now":                         {outbox.NewStringID("x"), time.Second, false},
		"due 23 hours ago":                {outbox.NewStringID("x"), keyWindow, true},
		"due just within":                 {outbox.NewStringID("x"), keyWindow - time.Second, false},
		"unknown":                         {outbox.NewStringID("x"), 0, true},
		"inserted now, due long ago":      {object(claim), 48 * time.Hour, false},
		"inserted long ago, due now":      {object(claim.Add(-48 * time.Hour)), time.Second, false},
		"inserted and due long ago":       {object(claim.Add(-48 * time.Hour)), 47 * time.Hour, true},
		"inserted long ago, unknown when": {object(claim.Add(-48 * time.Hour)), 0, true},
	} {
		in := &outbox.Intent{ID: row.id, Lease: outbox.Lease{At: claim}}
		if row.due != 0 {
			in.FirstDueAt = claim.Add(-row.due)
		}
		if got := mayOutliveKeys(in); got != row.want {
			t.Errorf("%s: %v, want %v", name, got, row.want)
		}
	}
}
