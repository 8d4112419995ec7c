package integration

import (
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/migrations"
)

// Malformed intents are refused by the database, each with the reason.
func TestMalformedIntentsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	with := func(d bson.M, path string, v any) bson.M {
		edit(d, strings.Split(path, "."), func(c bson.M, field string) { c[field] = v })
		return d
	}
	for reason, doc := range map[string]bson.M{
		"check the spelling":          with(sms("a"), "on_ambigous", "park"),
		"a plus sign":                 with(sms("b"), "payload.to", "0151 234"),
		"minor unit":                  with(charge("c"), "payload.amount", 19.99),
		"lower-case ISO 4217":         with(charge("d"), "payload.currency", "EUR"),
		"must be a BSON Date":         with(email("e"), "due_at", time.Now().Format(time.RFC3339)),
		"priority must be an integer": with(email("f"), "priority", 7),
		"ordering_key":                with(sms("g"), "ordering_key", "k"),
	} {
		_, err := w.outbox.InsertOne(t.Context(), doc)
		reasons := migrations.Reasons(err)
		said := false
		for _, r := range reasons {
			said = said || strings.Contains(r.String(), reason)
		}
		if !said {
			t.Errorf("the refusal of %v does not say %q, but %q (error %v)", doc["_id"], reason, reasons, err)
		}
	}
	if n := w.count(bson.D{}); n != 0 {
		t.Errorf("%d malformed intents were let in", n)
	}
}

// What got past the validator ends as dead/invalid with its problems, stops nothing, and has no effect. That holds for
// what a claim finds as well as for what no claim can see.
func TestMalformedIntentsEndAsDeadLetters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	now := time.Now().Add(-time.Minute) // in front of the good ones
	bad := func(id, kind string, more bson.M) bson.M {
		d := bson.M{"_id": id, "kind": kind, "status": "pending", "due_at": now, "payload": bson.M{}}
		for k, v := range more {
			if d[k] = v; v == (gone{}) {
				delete(d, k)
			}
		}
		return d
	}
	deep := bson.M{"leaf": "x"}
	for range 90 {
		deep = bson.M{"d": deep}
	}
	decimal, err := bson.ParseDecimal128("19.99")
	if err != nil {
		t.Fatal(err)
	}
	// The largest document that a database takes has 16 MiB, its other fields included.
	huge := bad("huge", "email", bson.M{"payload": bson.M{"from": "a@b.example", "to": "c@d.example", "subject": "s", "text": strings.Repeat("x", 16<<20-2000), "spam": true}})
	cases := []struct {
		doc  bson.M
		says string
	}{
		{bad("nothing", "sms", nil), "payload.to"},
		{bad("typing-error", "sms", bson.M{"payload": sms("x")["payload"], "on_ambigous": "park"}), "on_ambigous"},
		{bad("two-problems", "charge", bson.M{"payload": bson.M{"amount": "12", "currency": "EUR", "customer": "c", "payment_method": "p"}}), "payload.currency"},
		{bad("decimal", "charge", bson.M{"payload": bson.M{"amount": decimal, "currency": "eur", "customer": "c", "payment_method": "p"}}), "payload.amount"},
		{bad("text-payload", "email", bson.M{"payload": "hello"}), "payload"},
		{bad("no-payload", "email", bson.M{"payload": gone{}}), "payload"},
		{bad("deep", "email", bson.M{"payload": deep}), "payload"},
		{bad("far-reference", "sms", bson.M{"payload": sms("x")["payload"], "on_done": bson.A{bson.M{"kind": "sms", "payload": bson.M{"to": "${payload.nobody}", "from": "+15550100", "body": "b"}}}}), "payload.nobody"},
		{bad("other-collection", "sms", bson.M{"payload": sms("x")["payload"], "write_back": bson.M{"collection": "users", "id": "u", "done": bson.M{"admin": true}}}), "write_back.collection"},
		{huge, "payload.spam"},
		// No claim sees these: they are swept up when a worker starts.
		{bad("due-text", "sms", bson.M{"due_at": "tomorrow"}), "due_at"},
		{bad("due-null", "sms", bson.M{"due_at": nil}), "due_at"},
		{bad("due-nothing", "sms", bson.M{"due_at": gone{}}), "due_at"},
		{bad("due-number", "charge", bson.M{"due_at": now.UnixMilli()}), "due_at"},
		{bad("priority-7", "charge", bson.M{"payload": charge("x")["payload"], "priority": 7}), "priority"},
		{bad("priority-text", "charge", bson.M{"payload": charge("x")["payload"], "priority": "high"}), "priority"},
		{bad("status-queued", "email", bson.M{"payload": email("x")["payload"], "status": "queued"}), "status"},
		{bad("kind-number", "", bson.M{"kind": 7}), "kind"},
	}
	for _, c := range cases {
		w.smuggle(c.doc) // one by one: two of the huge kind would not fit into one message
	}
	for _, n := range []string{"1", "2", "3"} {
		w.insert(charge("charge-"+n), email("email-"+n), sms("sms-"+n))
	}
	w.drain()

	effects := w.sim.tally()
	for _, n := range []string{"1", "2", "3"} {
		for _, kind := range []string{"charge-", "email-", "sms-"} {
			w.expect(effects, kind+n, "done", 1)
		}
	}
	if all := w.sim.effects(); len(all) != 9 {
		t.Errorf("there were %d effects, want those of the 9 good intents: %+v", len(all), all)
	}
	for _, c := range cases {
		id := c.doc["_id"]
		in := w.get(id)
		if in.outcome() != "dead/invalid" || in.LastError.Code != "invalid" || !strings.Contains(in.LastError.Message, c.says) {
			t.Errorf("%v is %s, last error %+v, want the problem with %s", id, in.outcome(), in.LastError, c.says)
		}
	}
	if in := w.get("two-problems"); !strings.Contains(in.LastError.Message, "payload.amount") {
		t.Errorf("the list of problems is not whole: %s", in.LastError.Message)
	}
	// Dead letters are where a person looks for them.
	var view []bson.M
	cursor, err := w.db.Collection("outbox_dead").Find(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	if err := cursor.All(t.Context(), &view); err != nil {
		t.Fatal(err)
	}
	if len(view) != len(cases) {
		t.Errorf("the view lists %d dead letters, want %d", len(view), len(cases))
	}
}

// What is too late, and what was taken back, is never sent; what nobody serves waits.
func TestExpiredAndCancelledAreNeverSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	past, soon, later := time.Now().Add(-time.Second), time.Now().Add(2*time.Second), time.Now().Add(time.Hour)
	expired := func(d bson.M, at time.Time, due time.Time) bson.M {
		d["expires_at"], d["due_at"] = at, due
		return d
	}
	fax := sms("fax")
	fax["kind"] = "fax"
	w.insert(
		expired(charge("expired-charge"), past, past), expired(email("expired-email"), past, past), expired(sms("expired-sms"), past, past),
		expired(sms("expires-before-due"), past, later), expired(sms("in-time"), later, past),
		sms("cancelled-sms"), charge("cancelled-charge"), expired(email("expires-in-a-held-lane"), soon, past), fax,
	)
	for _, id := range []string{"cancelled-sms", "cancelled-charge"} { // as the contract says
		result, err := w.outbox.UpdateOne(t.Context(), bson.D{{Key: "_id", Value: id}, {Key: "status", Value: "pending"}}, bson.D{
			{Key: "$set", Value: bson.D{{Key: "status", Value: "cancelled"}, {Key: "cancelled_at", Value: time.Now()}, {Key: "purge_at", Value: time.Now().Add(7 * 24 * time.Hour)}}},
			{Key: "$unset", Value: bson.D{{Key: "due_at", Value: ""}}}})
		if err != nil || result.ModifiedCount != 1 {
			t.Fatalf("cancel %s: %+v, %v", id, result, err)
		}
	}
	// The e-mail's lane is paused, as the contract says how; what expires in it ends all the same.
	if _, err := w.db.Collection("outbox_lanes").InsertOne(t.Context(), bson.D{{Key: "_id", Value: "email"}, {Key: "paused", Value: true}, {Key: "why", Value: "test"}}); err != nil {
		t.Fatal(err)
	}
	worker := w.worker()
	for _, id := range []string{"expired-charge", "expired-email", "expired-sms", "expires-before-due", "in-time", "expires-in-a-held-lane"} {
		w.settled(id)
	}
	worker.stop()

	effects := w.sim.tally()
	for _, id := range []string{"expired-charge", "expired-email", "expired-sms", "expires-before-due", "expires-in-a-held-lane"} {
		w.expect(effects, id, "dead/expired", 0)
	}
	w.expect(effects, "in-time", "done", 1)
	w.expect(effects, "cancelled-sms", "cancelled", 0)
	w.expect(effects, "cancelled-charge", "cancelled", 0)
	w.expect(effects, "fax", "pending", 0)
}
