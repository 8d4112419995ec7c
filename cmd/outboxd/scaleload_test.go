//go:build scale

package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

const (
	scaleSpan     = 8 * 24 * time.Hour  // over which the intents are spread
	scaleKept     = 30 * 24 * time.Hour // so that the database deletes none of them meanwhile
	scaleBatch    = 1000                // intents in one insert
	scaleParallel = 4                   // inserts at once
	scaleActs     = 20_000              // records of the audit
)

// scaleGroup is what a dead letter died of.
type scaleGroup struct{ kind, reason, code, providerCode string }

// scaleGroups returns the groups of dead letters. Within a kind the first ones are the largest.
func scaleGroups() map[string][]scaleGroup {
	all := map[string][]scaleGroup{}
	add := func(kind, reason string, codes ...string) {
		for _, both := range codes {
			code, providerCode, _ := strings.Cut(both, "/")
			all[kind] = append(all[kind], scaleGroup{kind, reason, code, providerCode})
		}
	}
	add("charge", "permanent", "declined/insufficient_funds", "declined/do_not_honor", "declined/expired_card", "declined/lost_card", "declined/incorrect_cvc",
		"declined/processing_error", "action_required/authentication_required", "rejected/parameter_invalid_integer", "canceled")
	add("email", "permanent", "bad_recipient", "rejected/400", "rejected/413", "forbidden", "opted_out")
	add("sms", "permanent", "bad_recipient/21211", "bad_recipient/21614", "bad_recipient/30003", "bad_recipient/30005", "bad_recipient/30006", "opted_out/21610", "rejected/21617")
	for kind := range all {
		add(kind, "exhausted", "unavailable/503", "server_error/500", "no_answer", "not_sent", "attempts_used")
		add(kind, "ambiguous", "no_answer", "cannot_tell", "bad_answer", "lease_expired")
		add(kind, "expired", "expired")
		add(kind, "invalid", "invalid")
	}
	return all
}

// scaleIntents makes the intents of the outbox: intent i of n is the same in each run, but for its instants.
type scaleIntents struct {
	n      int
	now    time.Time
	groups map[string][]scaleGroup
}

// mix is a number that looks like chance, the same for the same i.
func mix(i int, salt uint64) int {
	x := (uint64(i)+1)*0x9e3779b97f4a7c15 + salt*0xbf58476d1ce4e5b9
	x ^= x >> 31
	x *= 0x94d049bb133111eb
	return int((x ^ x>>29) >> 2)
}

func (s scaleIntents) kind(i int) string {
	return []string{"charge", "charge", "email", "email", "email", "email", "email", "sms", "sms", "sms"}[mix(i, 1)%10]
}

func (s scaleIntents) id(i int) string { return fmt.Sprintf("order-%08d:%s", i, s.kind(i)) }

// stage is what became of an intent: one in ten is dead, a few wait, and the rest is done.
func (s scaleIntents) stage(i int) outbox.Stage {
	switch {
	case i%2500 == 1:
		return outbox.StageWaiting
	case i%10_000 == 2:
		return outbox.StageInDoubt
	case i%1000 == 3:
		return outbox.StageCancelled
	case mix(i, 2)%10 == 0:
		return outbox.StageDead
	default:
		return outbox.StageDone
	}
}

// pick returns the mth intent from a place that chance chooses which is at a stage.
func (s scaleIntents) pick(m int, stage outbox.Stage) string {
	for i := mix(m, 3) % s.n; ; i = (i + 1) % s.n {
		if s.stage(i) == stage {
			return s.id(i)
		}
	}
}

func scalePayload(kind string, i int) bson.D {
	switch kind {
	case "charge":
		return bson.D{{Key: "amount", Value: int32(100 + mix(i, 4)%20_000)}, {Key: "currency", Value: "eur"}, {Key: "customer", Value: fmt.Sprintf("cus_%08d", mix(i, 5)%1_000_000)},
			{Key: "payment_method", Value: "pm_card_visa"}, {Key: "description", Value: fmt.Sprintf("Order %d, delivered by parcel", i)}}
	case "email":
		return bson.D{{Key: "from", Value: "shop@example.com"}, {Key: "to", Value: fmt.Sprintf("customer-%d@example.com", mix(i, 5)%1_000_000)},
			{Key: "subject", Value: fmt.Sprintf("Your order %d", i)}, {Key: "text", Value: strings.Repeat("It has left our warehouse. ", 5)}}
	default:
		return bson.D{{Key: "from", Value: "+15005550006"}, {Key: "to", Value: fmt.Sprintf("+49151%08d", mix(i, 5)%100_000_000)},
			{Key: "body", Value: fmt.Sprintf("Order %d is on its way. Your parcel comes tomorrow between 9 and 12.", i)}}
	}
}

// document returns an intent as a worker leaves it.
func (s scaleIntents) document(i int) bson.D {
	kind, stage := s.kind(i), s.stage(i)
	born := s.now.Add(-scaleSpan + time.Duration(float64(scaleSpan)*float64(i)/float64(s.n)))
	tried, ended := born.Add(20*time.Millisecond), born.Add(time.Duration(60+mix(i, 6)%400)*time.Millisecond)
	doc := bson.D{{Key: "_id", Value: s.id(i)}, {Key: "kind", Value: kind}, {Key: "status", Value: string(stage)}, {Key: "payload", Value: scalePayload(kind, i)},
		{Key: "metadata", Value: bson.D{{Key: "order", Value: fmt.Sprintf("o%d", i)}, {Key: "tenant", Value: fmt.Sprintf("t%d", mix(i, 7)%200)}}},
		{Key: "created_at", Value: born}, {Key: "first_due_at", Value: born}}
	attempt := func(outcome string, more ...bson.E) bson.E {
		record := bson.D{{Key: "attempt", Value: int32(1)}, {Key: "at", Value: tried}, {Key: "ms", Value: int64(40)}, {Key: "outcome", Value: outcome}, {Key: "worker", Value: "vm-1-4711"}}
		return bson.E{Key: "history", Value: bson.A{append(record, more...)}}
	}
	sent := func(more ...bson.E) bson.D {
		return append(append(doc, bson.E{Key: "attempts", Value: int32(1)}, bson.E{Key: "first_attempt_at", Value: tried}), more...)
	}
	switch stage {
	case outbox.StageWaiting:
		doc[2].Value = "pending"
		return append(doc, bson.E{Key: "due_at", Value: s.now.Add(time.Duration(6+mix(i, 8)%72) * time.Hour)})
	case outbox.StageInDoubt:
		doc[2].Value = "pending"
		return sent(attempt("ambiguous", bson.E{Key: "code", Value: "no_answer"}), bson.E{Key: "ambiguous_at", Value: s.now.Add(-time.Hour)},
			bson.E{Key: "due_at", Value: s.now.Add(6 * time.Hour)},
			bson.E{Key: "last_error", Value: bson.D{{Key: "class", Value: "ambiguous"}, {Key: "code", Value: "no_answer"}, {Key: "at", Value: tried}}})
	case outbox.StageCancelled:
		return append(doc, bson.E{Key: "cancelled_at", Value: ended}, bson.E{Key: "purge_at", Value: ended.Add(scaleKept)})
	case outbox.StageDead:
		groups := s.groups[kind]
		g := groups[min(mix(i, 9)%len(groups), mix(i, 10)%len(groups))]
		failure := bson.D{{Key: "class", Value: "permanent"}, {Key: "code", Value: g.code}, {Key: "message", Value: "the provider refused the request"},
			{Key: "provider", Value: kind}, {Key: "http_status", Value: int32(402)}, {Key: "request_id", Value: fmt.Sprintf("req_%016x", mix(i, 11))}, {Key: "at", Value: ended}}
		if g.providerCode != "" {
			failure = append(failure, bson.E{Key: "provider_code", Value: g.providerCode})
		}
		return sent(attempt("permanent", bson.E{Key: "code", Value: g.code}), bson.E{Key: "last_error", Value: failure},
			bson.E{Key: "dead_at", Value: ended}, bson.E{Key: "dead_reason", Value: g.reason})
	default:
		return sent(attempt("done"), bson.E{Key: "done_at", Value: ended}, bson.E{Key: "purge_at", Value: ended.Add(scaleKept)},
			bson.E{Key: "result", Value: bson.D{{Key: "provider", Value: kind}, {Key: "id", Value: s.providerID(i)}, {Key: "status", Value: "accepted"}}})
	}
}

func (s scaleIntents) providerID(i int) string { return fmt.Sprintf("pi_%016x", mix(i, 12)) }

// fill writes all intents as fast as it can: past the validator, and without waiting for the journal.
func (s scaleIntents) fill(t *testing.T, db *mongo.Database) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	began := time.Now()
	c := db.Collection(migrations.DefaultCollection, options.Collection().SetWriteConcern(writeconcern.W1()))
	parts := make(chan int)
	var writers sync.WaitGroup
	for range scaleParallel {
		writers.Go(func() {
			for from := range parts {
				docs := make([]bson.Raw, min(scaleBatch, s.n-from))
				for k := range docs {
					raw, err := bson.Marshal(s.document(from + k))
					if err != nil {
						cancel(err)
						return
					}
					docs[k] = raw
				}
				if _, err := c.InsertMany(ctx, docs, options.InsertMany().SetOrdered(false).SetBypassDocumentValidation(true)); err != nil {
					cancel(fmt.Errorf("insert intents from %d on: %w", from, err))
					return
				}
			}
		})
	}
	tenth := max(scaleBatch, s.n/10/scaleBatch*scaleBatch)
feed:
	for from := 0; from < s.n; from += scaleBatch {
		select {
		case parts <- from:
		case <-ctx.Done():
			break feed
		}
		if from > 0 && from%tenth == 0 {
			t.Logf("%d of %d intents, %.0f a second", from, s.n, float64(from)/time.Since(began).Seconds())
		}
	}
	close(parts)
	writers.Wait()
	if err := context.Cause(ctx); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	t.Logf("%d intents inserted in %v, %.0f a second", s.n, took.Round(time.Second), float64(s.n)/took.Seconds())
}

// fillRates writes eight days of rates, as workers add to them.
func (s scaleIntents) fillRates(t *testing.T, db *mongo.Database) {
	t.Helper()
	outboxd := store.New(db, "", store.Options{})
	var minutes []outbox.RateMinute
	for ago := scaleSpan - time.Hour; ago > 0; ago -= time.Minute {
		for _, kind := range []string{"charge", "email", "sms"} {
			m := outbox.RateMinute{Minute: s.now.Add(-ago).Truncate(time.Minute), Kind: kind}
			n := int64(200 + mix(len(minutes), 13)%300)
			m.Claimed, m.Done, m.Dead, m.Retried, m.Business, m.Transport = n+20, n, n/10, 12, n/12, 15
			for place := range m.Took {
				m.Took[place] = n / 12
			}
			minutes = append(minutes, m)
		}
		if len(minutes) >= scaleBatch {
			if err := outboxd.AddRates(t.Context(), minutes); err != nil {
				t.Fatal(err)
			}
			minutes = minutes[:0]
		}
	}
	if err := outboxd.AddRates(t.Context(), minutes); err != nil {
		t.Fatal(err)
	}
}

// fillAudit writes what people did.
func (s scaleIntents) fillAudit(t *testing.T, db *mongo.Database) {
	t.Helper()
	for from := 0; from < scaleActs; from += scaleBatch {
		docs := make([]bson.D, scaleBatch)
		for k := range docs {
			i := from + k
			at := s.now.Add(-scaleSpan + time.Duration(float64(scaleSpan)*float64(i)/scaleActs))
			docs[k] = bson.D{{Key: "_id", Value: bson.NewObjectIDFromTimestamp(at)}, {Key: "at", Value: at}, {Key: "who", Value: fmt.Sprintf("person-%d", i%12)},
				{Key: "via", Value: "oidc"}, {Key: "op", Value: []string{"retry", "resolve", "reveal", "cancel"}[i%4]}, {Key: "on", Value: s.pick(i, outbox.StageDead)},
				{Key: "why", Value: "the provider's incident of this night is over"}, {Key: "before", Value: "dead"}, {Key: "after", Value: "pending"}, {Key: "outcome", Value: "done"}}
		}
		if _, err := db.Collection(migrations.DefaultCollection+"_audit").InsertMany(t.Context(), docs, options.InsertMany().SetBypassDocumentValidation(true)); err != nil {
			t.Fatal(err)
		}
	}
}
