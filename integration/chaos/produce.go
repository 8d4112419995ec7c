package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"

	"github.com/outboxd/outboxd/integration/chaos/check"
	"github.com/outboxd/outboxd/integration/chaos/journal"
	"github.com/outboxd/outboxd/outbox"
)

const (
	commitPatience = 40 * time.Second // before the result of a commit stays unknown
	insertPatience = 15 * time.Second
	abortPatience  = 5 * time.Second
	farAway        = time.Hour // when what is not for this run is due
	sharedCount    = 4         // documents to which many intents write back
	contendEvery   = 30 * time.Millisecond
	largeValue     = 64 << 10 // what a reference stands for in an intent whose follow-ups are too large
	largeTimes     = 80       // so often, which is 5 MiB
)

// producers write business documents and intents in transactions until ctx ends, and a journal of what they were told.
type producers struct {
	stage   *stage
	journal *journal.Journal
	seed    uint64
	rate    float64 // transactions a second, all producers together
	begun   atomic.Int64
}

// run produces with several at once until ctx ends, and returns when the last result is in the journal.
func (p *producers) run(ctx context.Context, count int) error {
	var all sync.WaitGroup
	errs := make([]error, count)
	all.Go(func() { p.contend(ctx) })
	for n := range count {
		all.Go(func() { errs[n] = p.produce(ctx, n, float64(count)/p.rate) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// shared is the n-th document to which many intents write back.
func shared(n int) string { return fmt.Sprint("shared-", n) }

// contend has a business transaction write the shared documents again and again until ctx ends.
func (p *producers) contend(ctx context.Context) {
	tick := time.NewTicker(contendEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		within, cancel := context.WithTimeout(ctx, insertPatience)
		// What comes of it is nothing to a business that tries again: it only has to be in the way.
		_ = p.stage.inTransaction(within, true, func(ctx context.Context) error {
			_, err := p.stage.db.Collection(orders).UpdateOne(ctx, bson.D{{Key: "_id", Value: shared(n % sharedCount)}}, bson.D{{Key: "$inc", Value: bson.D{{Key: "n", Value: 1}}}})
			return err
		})
		cancel()
	}
}

// produce writes one transaction each interval, in seconds. After a time without a database it does not make up for it.
func (p *producers) produce(ctx context.Context, n int, interval float64) error {
	r := rand.New(rand.NewPCG(p.seed, uint64(1000+n)))
	tick := time.NewTicker(time.Duration(interval * float64(time.Second)))
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		d := drawer{r: r, order: fmt.Sprintf("p%d-%05d", n, i), now: time.Now()}
		if err := p.transact(context.WithoutCancel(ctx), d.transaction(), r.IntN(10) == 0); err != nil {
			return err
		}
		p.begun.Add(1)
	}
}

// transact runs one transaction. Its error is the journal's alone.
func (p *producers) transact(ctx context.Context, t transaction, abort bool) error {
	entry := check.Entry{At: time.Now(), Order: t.order, Result: check.Begun}
	for _, in := range t.intents {
		entry.Intents = append(entry.Intents, in.Intent)
	}
	if err := p.journal.Add(entry); err != nil {
		return err
	}
	result := p.attempt(ctx, t, abort)
	return p.journal.Add(check.Entry{At: time.Now(), Order: t.order, Result: result})
}

// attempt returns what the producer knows about its transaction's end. What was never committed is aborted, whatever
// went wrong before.
func (p *producers) attempt(ctx context.Context, t transaction, abort bool) string {
	session, err := p.stage.client.StartSession()
	if err != nil {
		return check.Aborted
	}
	defer session.EndSession(ctx)
	if err := session.StartTransaction(options.Transaction().SetReadConcern(readconcern.Snapshot())); err != nil {
		return check.Aborted
	}
	if err := p.insert(mongo.NewSessionContext(ctx, session), t); err != nil || abort {
		ctx, cancel := context.WithTimeout(ctx, abortPatience)
		defer cancel()
		_ = session.AbortTransaction(ctx) // the server ends what nobody commits
		return check.Aborted
	}
	ctx, cancel := context.WithTimeout(ctx, commitPatience)
	defer cancel()
	for doubt := false; ; doubt = true {
		err := session.CommitTransaction(ctx)
		labels, ok := errors.AsType[mongo.LabeledError](err)
		switch {
		case err == nil:
			return check.Committed
		case ctx.Err() != nil || !ok:
			return check.Unknown
		case labels.HasErrorLabel("UnknownTransactionCommitResult"):
		case labels.HasErrorLabel("TransientTransactionError") && !doubt:
			return check.Aborted
		default:
			return check.Unknown
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (p *producers) insert(ctx context.Context, t transaction) error {
	ctx, cancel := context.WithTimeout(ctx, insertPatience)
	defer cancel()
	if _, err := p.stage.db.Collection(orders).InsertOne(ctx, bson.D{{Key: "_id", Value: t.order}, {Key: "state", Value: "open"}}); err != nil {
		return err
	}
	docs := make([]any, len(t.intents))
	for i, in := range t.intents {
		docs[i] = in.doc
	}
	_, err := p.stage.db.Collection(collection).InsertMany(ctx, docs)
	return err
}

// transaction is a business document and its intents.
type transaction struct {
	order   string
	intents []drawn
}

// drawn is an intent as the journal has it, and as the database gets it.
type drawn struct {
	check.Intent
	doc bson.M
}

// drawer draws intents.
type drawer struct {
	r     *rand.Rand
	order string
	now   time.Time
}

func (d drawer) oneIn(n int) bool { return d.r.IntN(n) == 0 }

func (d drawer) transaction() transaction {
	t := transaction{order: d.order}
	for n := range 1 + d.r.IntN(3) {
		in := d.intent(d.order+"-"+strconv.Itoa(n), d.order+"-"+strconv.Itoa(n), 0)
		in.Due = d.due()
		if d.oneIn(20) {
			in.Expires = d.now.Add(time.Duration(2000+d.r.IntN(8000)) * time.Millisecond)
			in.doc["expires_at"] = in.Expires
		}
		in.doc["_id"], in.doc["status"], in.doc["due_at"] = in.ID, "pending", in.Due
		if n > 0 && d.oneIn(3) {
			in.Shared = shared(d.r.IntN(sharedCount))
			in.doc["write_back"] = bson.M{"collection": orders, "id": in.Shared,
				"done": bson.M{"seen." + in.ID: "done"}, "dead": bson.M{"seen." + in.ID: "dead/${dead_reason}"}}
		}
		if n == 0 && !d.oneIn(3) {
			in.WriteBack = true
			in.doc["write_back"] = bson.M{"collection": orders, "id": d.order,
				"done": bson.M{"state": "done", "receipt": "${result.id}"},
				"dead": bson.M{"state": "dead", "why": "${dead_reason}", "code": "${last_error.code}"}}
		}
		t.intents = append(t.intents, in)
	}
	return t
}

// due is mostly now by a clock that may be wrong.
func (d drawer) due() time.Time {
	switch d.r.IntN(40) {
	case 0, 1, 2, 3:
		return d.now.Add(-time.Duration(d.r.IntN(600)) * time.Second)
	case 4, 5, 6, 7:
		return d.now.Add(time.Duration(d.r.IntN(10_000)) * time.Millisecond)
	case 8:
		return d.now.Add(farAway)
	}
	return d.now
}

// intent draws one. self is how its own text can name it: a follow-up's begins with a reference to its parent.
func (d drawer) intent(id, self string, depth int) drawn {
	kind := []string{outbox.KindCharge, outbox.KindEmail, outbox.KindSMS}[d.r.IntN(3)]
	in := drawn{Intent: check.Intent{ID: id, Kind: kind, MaxAttempts: maxAttempts}, doc: bson.M{"kind": kind}}
	in.Policy = []string{string(outbox.Reconcile), string(outbox.Reconcile), string(outbox.Park), string(outbox.Retry)}[d.r.IntN(4)]
	in.doc["on_ambiguous"] = in.Policy
	if d.oneIn(10) {
		in.MaxAttempts = 2 + d.r.IntN(3)
		in.doc["max_attempts"] = in.MaxAttempts
	}
	if d.oneIn(4) {
		in.doc["priority"] = d.r.IntN(4)
	}
	in.Refused = kind != outbox.KindEmail && d.oneIn(15)
	in.doc["payload"] = payload(kind, id, self, in.Refused)
	if depth == 0 && d.oneIn(60) {
		in.Oversized = true
		in.doc["metadata"] = bson.M{"a": strings.Repeat("x", largeValue)}
		in.doc["on_done"] = bson.A{bson.M{"kind": outbox.KindEmail, "payload": bson.M{"from": "shop@example.com", "to": "large@example.org", "subject": "Large",
			"text": strings.Repeat("${metadata.a}", largeTimes)}}}
		return in
	}
	if depth < 2 && d.oneIn(3) {
		in.OnDone = d.followUps(in, "on_done", ":done:", 1+d.r.IntN(2), depth)
	}
	if depth < 2 && d.oneIn(4) {
		in.OnDead = d.followUps(in, "on_dead", ":dead:", 1, depth)
	}
	return in
}

func (d drawer) followUps(parent drawn, field, word string, count, depth int) []check.Intent {
	var list []check.Intent
	var docs bson.A
	for n := range count {
		suffix := word + strconv.Itoa(n)
		in := d.intent(parent.ID+suffix, "${_id}"+suffix, depth+1)
		if d.oneIn(5) {
			in.doc["delay_seconds"] = 1 + d.r.IntN(3)
		}
		list, docs = append(list, in.Intent), append(docs, in.doc)
	}
	parent.doc[field] = docs
	return list
}

// payload is a kind's. A text message is known by its body, since Twilio keeps no id of ours.
func payload(kind, id, self string, refused bool) bson.M {
	switch kind {
	case outbox.KindCharge:
		method := "pm_card_visa"
		if refused {
			method = "pm_card_chargeDeclined"
		}
		return bson.M{"amount": int32(1999), "currency": "eur", "customer": "cus_" + id, "payment_method": method}
	case outbox.KindEmail:
		return bson.M{"from": "shop@example.com", "to": phone(id)[1:] + "@example.org", "subject": "Order", "text": check.TextPrefix + self}
	default:
		to := phone(id)
		if refused {
			to = "+15005550001" // Twilio's test number that is not valid
		}
		return bson.M{"from": "+15550100", "to": to, "body": check.TextPrefix + self}
	}
}

// phone returns a number of an intent's own, by which look-ups find its message.
func phone(id string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // a hash takes everything
	return fmt.Sprintf("+49151%09d", h.Sum64()%1_000_000_000)
}
