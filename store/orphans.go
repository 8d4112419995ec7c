package store

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// orphan is a claim that may have been made although nobody was told: its update or the read after it failed. What it
// holds was never sent. If its lease just ran out, the next worker would have to take it for ambiguous.
type orphan struct {
	ids   []bson.RawValue
	token string
	ends  time.Time // the lease's end at the latest, by the local clock: a command may begin until its time is over
	look  time.Time // when it is looked for again
}

// orphanEvery is how often it is looked for a claim. One that does not show, or not whole, may come into effect later:
// after a failover, until a majority has it, and when a server that hung carries out what it had received.
const orphanEvery = time.Second

// mostOrphans bounds what is remembered while the database is away; a lane without it claims every few seconds.
const mostOrphans = 1000

// orphans are claims to be given back. It is safe for concurrent use.
type orphans struct {
	mu   sync.Mutex
	list []orphan
}

func (o *orphans) add(ids []bson.RawValue, token string, within time.Duration) {
	if len(ids) == 0 {
		return
	}
	now := time.Now()
	o.keep(orphan{ids, token, now.Add(within), now})
}

func (o *orphans) keep(each orphan) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.list) < mostOrphans {
		o.list = append(o.list, each)
	}
}

// take returns the orphans that it is time to look for, and forgets them and those whose lease has ended.
func (o *orphans) take() []orphan {
	o.mu.Lock()
	defer o.mu.Unlock()
	list, now := o.list, time.Now()
	o.list = nil
	var due []orphan
	for _, each := range list {
		switch {
		case !now.Before(each.ends):
		case now.Before(each.look):
			o.list = append(o.list, each)
		default:
			due = append(due, each)
		}
	}
	return due
}

// adopt gives back what earlier claims hold without anybody knowing, unsent and without an attempt. They are looked for
// until their leases have ended.
func (s *Store) adopt(ctx context.Context) error {
	var failure error
	for _, each := range s.orphans.take() {
		if failure == nil {
			if failure = s.giveBack(ctx, each); failure == nil {
				each.look = time.Now().Add(orphanEvery)
			}
		}
		s.orphans.keep(each)
	}
	return failed(failure, "give back what an earlier claim holds")
}

// notLarge leaves out what can be large and is of no interest to one who gives an intent back. What is missing then
// breaks the contract, which makes no difference to giving back.
var notLarge = expr.Without("payload", "metadata", "on_done", "on_dead", "write_back")

func (s *Store) giveBack(ctx context.Context, each orphan) error {
	held, _, err := s.readBack(ctx, bson.D{
		{Key: "_id", Value: expr.In(each.ids)},
		{Key: "lease.token", Value: each.token},
	}, each.ids, notLarge, 0)
	if err != nil || len(held) == 0 {
		return err
	}
	// The policy matters only for how many attempts there may be, of which this is none.
	unlimited := outbox.Policy{Retry: outbox.RetryPolicy{MaxAttempts: 100}}
	batch := make([]outbox.Settlement, len(held))
	for i, in := range held {
		batch[i] = outbox.Settlement{Intent: in, Decision: outbox.Decide(in, outbox.Verdict{Event: outbox.Unsent}, unlimited, s.Now())}
	}
	_, err = s.Settle(ctx, batch)
	return err
}

// orphan remembers what a claim may hold beside the intents that it read, under each of its tokens.
func (s *Store) orphan(t *taking, read []*outbox.Intent) {
	for _, token := range t.tokens {
		known := slices.DeleteFunc(slices.Clone(read), func(in *outbox.Intent) bool { return in.Lease.Token != token })
		s.orphans.add(lacking(t.ids, known), token, t.order.Lease+s.operation)
	}
}

// lacking returns the ids that are of none of the intents.
func lacking(ids []bson.RawValue, intents []*outbox.Intent) []bson.RawValue {
	held := make(map[string]bool, len(intents))
	for _, in := range intents {
		if raw, err := rawOf(idOf(in)); err == nil { // it was read, so it can be written
			held[keyOf(raw)] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id bson.RawValue) bool { return held[keyOf(id)] })
}
