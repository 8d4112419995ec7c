package integration

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/internal/timing"
	"github.com/outboxd/outboxd/providers/simulator"
)

// lockedFor is how long locks are held on what a settlement writes.
var lockedFor = flag.Duration("locked", 10*time.Second, "how `long` a test holds locks on what is written when an intent is settled")

// passedOver is for how long claims may leave an intent alone that somebody held.
const passedOver = 20 * time.Second

// write is a write_back that leaves a mark of the intent in the document.
func write(doc bson.M, order, id string) bson.M {
	return with(doc, bson.M{"write_back": bson.M{"collection": "orders", "id": order, "done": bson.M{"seen." + id: "done"}, "dead": bson.M{"seen." + id: "dead"}}})
}

// Business transactions and other settlements write the same document all the time: no write_back is lost.
func TestEveryWriteBackToAContendedDocumentArrives(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		count   int
		workers int
		bulk    bool // all at once, not one by one
		make    func(id string) bson.M
		ends    string
	}{
		{"text messages one by one", 300, 1, false, sms, "done"},
		{"e-mails all at once, two workers", 100, 2, true, email, "done"},
		{"charges with steps of their own", 60, 2, true, charge, "done"},
		{"declined charges", 60, 1, true, func(id string) bson.M { return paying(charge(id), bson.M{"payment_method": "pm_card_chargeDeclined"}) }, "dead"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, brief)
			w.business(bson.M{"_id": "shared", "n": 0})
			stop := w.contend("shared")
			for range c.workers {
				w.worker()
			}
			var docs []bson.M
			for i := range c.count {
				id := fmt.Sprint("x", i)
				docs = append(docs, write(c.make(id), "shared", id))
			}
			if c.bulk {
				w.insert(docs...)
			} else {
				for _, d := range docs {
					w.insert(d)
				}
			}
			w.waitFor("all are settled", c.count, bson.D{{Key: "status", Value: c.ends}})
			business := stop()
			doc := w.order("shared")
			seen, _ := doc["seen"].(bson.D)
			if len(seen) != c.count {
				t.Errorf("%d of %d write_backs are lost", c.count-len(seen), c.count)
			}
			for _, e := range seen {
				if e.Value != c.ends {
					t.Errorf("the write_back of %s says %v, want %s", e.Key, e.Value, c.ends)
				}
			}
			if business == 0 || doc["n"] != int32(business) {
				t.Errorf("%d business transactions were committed, and the document counts %v", business, doc["n"])
			}
			if n := w.count(bson.D{{Key: "last_error.code", Value: "write_back_missed"}}); n > 0 {
				t.Errorf("%d intents say that their write_back was missed", n)
			}
			w.once(c.count, c.ends == "done")
		})
	}
}

// contend has a business transaction write a document every 30 ms, until the function that it returns is called. That
// returns how many were committed.
func (w *world) contend(id string) (stop func() int) {
	ctx, cancel := context.WithCancel(w.Context())
	var running sync.WaitGroup
	committed := 0
	running.Go(func() {
		tick := time.NewTicker(30 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			session, err := w.db.Client().StartSession()
			if err != nil {
				return
			}
			_, err = session.WithTransaction(ctx, func(ctx context.Context) (any, error) {
				_, err := w.db.Collection("orders").UpdateOne(ctx, bson.D{{Key: "_id", Value: id}}, bson.D{{Key: "$inc", Value: bson.D{{Key: "n", Value: 1}}}})
				return nil, cmp.Or(err, timing.Sleep(ctx, 5*time.Millisecond)) // what a business transaction does beside that
			})
			session.EndSession(context.Background())
			if err == nil {
				committed++
			}
		}
	})
	stop = sync.OnceValue(func() int { cancel(); running.Wait(); return committed })
	w.Cleanup(func() { stop() })
	return stop
}

// once checks that so many intents had exactly one effect, or none of them any.
func (w *world) once(count int, any bool) {
	w.Helper()
	effects := w.sim.tally()
	if !any {
		count = 0
	}
	if len(effects) != count {
		w.Errorf("%d intents had effects, want %d", len(effects), count)
	}
	for id, n := range effects {
		if n != 1 {
			w.Errorf("%s had %d effects", id, n)
		}
	}
}

// Another transaction holds what a settlement has to write, and one holds an intent that is due. The provider is called
// once, the neighbours notice nothing, and everything is written as soon as the locks are gone.
func TestWhatIsLockedIsWrittenWhenItIsFree(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	w.business(bson.M{"_id": "target"}, bson.M{"_id": "other"})
	follow := func(more bson.M) bson.A {
		return bson.A{with(bson.M{"kind": "email", "payload": email("follow")["payload"]}, more)}
	}
	later := bson.M{"due_at": time.Now().Add(time.Hour)}
	w.insert(sms("due"))
	free := w.transaction(func(ctx context.Context) error {
		orders := w.db.Collection("orders")
		if _, err := orders.UpdateMany(ctx, bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "note", Value: "the customer wrote"}}}}); err != nil {
			return err
		}
		if _, err := w.outbox.UpdateOne(ctx, bson.D{{Key: "_id", Value: "due"}}, cancel()); err != nil {
			return err
		}
		_, err := w.outbox.InsertMany(ctx, []any{with(sms("follow:done:0"), later), with(with(sms("stranger"), later), bson.M{"dedup_key": "taken"})})
		return err
	})
	worker := w.worker()
	locked := []string{"target", "dead", "follow", "dedup"}
	w.insert(
		write(sms("target"), "target", "target"),
		write(paying(charge("dead"), bson.M{"payment_method": "pm_card_chargeDeclined"}), "other", "dead"),
		with(sms("follow"), bson.M{"on_done": follow(nil)}),
		with(charge("dedup"), bson.M{"on_done": follow(bson.M{"dedup_key": "taken"})}),
	)
	near := []func() []time.Duration{w.neighbours(40*time.Millisecond, sms), w.neighbours(40*time.Millisecond, charge), w.neighbours(40*time.Millisecond, email)}
	eventually(t, "the outcomes of all that is locked are recorded", func() bool {
		return w.count(bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: locked}}}, {Key: "status", Value: "pending"}, {Key: "outcome.event", Value: bson.D{{Key: "$exists", Value: true}}}}) == len(locked)
	})
	lasts(t, *lockedFor)
	for _, id := range locked {
		if in := w.get(id); in.Status != "pending" && in.Status != "leased" { // leased for a moment, at each try
			t.Errorf("%s is %s while what it writes is locked", id, in.outcome())
		}
	}
	before := w.order("target")
	freed := time.Now()
	free(false)
	for _, id := range append(locked, "due") {
		in := w.settled(id)
		most := w.patient(atOnce)
		if id == "due" { // it was never claimed, and claims pass over what somebody holds for a while
			most = passedOver
		}
		if took := time.Since(freed); took > most {
			t.Errorf("%s was settled %v after the lock was gone, want %v", id, took, most)
		}
		if in.LastError.Code == "write_back_missed" || in.LastError.Code == "follow_up_refused" {
			t.Errorf("%s: %+v", id, in.LastError)
		}
	}
	if _, seen := before["seen"]; seen {
		t.Error("the document was written while it was locked")
	}
	for order, want := range map[string]bson.D{"target": {{Key: "target", Value: "done"}}, "other": {{Key: "dead", Value: "dead"}}} {
		if got, _ := w.order(order)["seen"].(bson.D); len(got) != 1 || got[0] != want[0] {
			t.Errorf("the document %s says %v, want %v", order, got, want)
		}
	}
	for _, id := range []string{"follow:done:0", "dedup:done:0"} {
		w.settled(id)
	}
	for _, stop := range near {
		w.undisturbed(stop())
	}
	effects := w.sim.tally()
	for id, want := range map[string]int{"target": 1, "dead": 0, "follow": 1, "dedup": 1, "due": 1, "follow:done:0": 1, "dedup:done:0": 1} {
		if effects.of(id) != want {
			t.Errorf("%s had %d effects, want %d", id, effects.of(id), want)
		}
	}
	worker.stop()
}

// cancel is the documented update by which anyone cancels an intent.
func cancel() bson.D {
	now := time.Now()
	return bson.D{
		{Key: "$set", Value: bson.D{{Key: "status", Value: "cancelled"}, {Key: "cancelled_at", Value: now}, {Key: "purge_at", Value: now.Add(7 * 24 * time.Hour)}}},
		{Key: "$unset", Value: bson.D{{Key: "due_at", Value: ""}}},
	}
}

// patient returns the time that something may take under this build.
func (w *world) patient(d time.Duration) time.Duration {
	if raceEnabled {
		return 3 * d
	}
	return d
}

// A change of schema waits behind an open transaction of a producer, and everything else waits behind it. Nothing of
// what was settled meanwhile is lost.
func TestAChangeOfSchemaBehindAnOpenTransactionLosesNothing(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]bson.D{
		"collMod of the outbox":          {{Key: "collMod", Value: "outbox"}, {Key: "validationAction", Value: "error"}},
		"an index of the outbox":         {{Key: "createIndexes", Value: "outbox"}, {Key: "indexes", Value: bson.A{bson.D{{Key: "key", Value: bson.D{{Key: "metadata.x", Value: 1}}}, {Key: "name", Value: "x"}}}}},
		"collMod of business documents":  {{Key: "collMod", Value: "orders"}, {Key: "validator", Value: bson.D{}}},
		"an index of business documents": {{Key: "createIndexes", Value: "orders"}, {Key: "indexes", Value: bson.A{bson.D{{Key: "key", Value: bson.D{{Key: "n", Value: 1}}}, {Key: "name", Value: "n"}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, brief)
			const each = 4
			var docs []bson.M
			for i := range each {
				n := strconv.Itoa(i)
				for _, d := range []bson.M{sms("sms" + n), charge("charge" + n), email("email" + n), paying(charge("declined"+n), bson.M{"payment_method": "pm_card_chargeDeclined"})} {
					id := d["_id"].(string)
					w.business(bson.M{"_id": id})
					follow := bson.A{bson.M{"kind": "email", "payload": email("follow")["payload"]}, bson.M{"kind": "sms", "payload": sms(id + " follow")["payload"]}}
					docs = append(docs, with(write(d, id, id), bson.M{"on_done": follow, "on_dead": follow}))
				}
			}
			w.sim.control(http.MethodPost, "settings", map[string]string{"latency": "700ms"}, nil)
			w.insert(docs...)
			end := w.transaction(func(ctx context.Context) error {
				if _, err := w.db.Collection("orders").InsertOne(ctx, bson.M{"_id": "the producer's"}); err != nil {
					return err
				}
				_, err := w.outbox.InsertOne(ctx, sms("the producer's"))
				return err
			})
			w.worker()
			w.waitFor("all are under way", len(docs), bson.D{{Key: "status", Value: "leased"}})
			changed := make(chan error, 1)
			go func() { changed <- w.db.RunCommand(context.Background(), change).Err() }()
			w.waiting(change[0].Key)
			// A charge must store its progress before it goes on, and may have to wait for that.
			eventually(t, "the providers have answered", func() bool { return len(w.sim.effects()) >= 2*each })
			lasts(t, 3*time.Second) // the schema's change holds up everything
			end(true)
			if err := <-changed; err != nil {
				t.Fatalf("the change of schema: %v", err)
			}
			w.sim.control(http.MethodPost, "settings", map[string]string{"latency": "0s"}, nil)
			for _, d := range docs {
				id := d["_id"].(string)
				in := w.settled(id)
				if got, _ := w.order(id)["seen"].(bson.D); len(got) != 1 || got[0].Value != in.Status {
					t.Errorf("%s is %s, and its write_back left %v; last error %+v", id, in.outcome(), got, in.LastError)
				}
				for n := range 2 {
					w.settled(fmt.Sprintf("%s:%s:%d", id, in.Status, n))
				}
			}
			w.settled("the producer's")
			for id, n := range w.sim.tally() {
				if n != 1 && id != phone("follow") {
					t.Errorf("%s had %d effects", id, n)
				}
			}
		})
	}
}

// waiting waits until a command of this database waits for a lock.
func (w *world) waiting(command string) {
	w.Helper()
	eventually(w, command+" waits for a lock", func() bool {
		var answer struct {
			InProg []struct {
				Command bson.M `bson:"command"`
			} `bson:"inprog"`
		}
		err := w.db.Client().Database("admin").RunCommand(w.Context(), bson.D{{Key: "currentOp", Value: 1}, {Key: "waitingForLock", Value: true}}).Decode(&answer)
		if err != nil {
			w.Fatal(err)
		}
		for _, op := range answer.InProg {
			if op.Command[command] != nil && op.Command["$db"] == w.db.Name() {
				return true
			}
		}
		return false
	})
}

// A provider that answers late, and a lock that comes while it does: what was sent is never sent again, whoever
// writes it.
func TestARecordedOutcomeIsWrittenByWhoeverComes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	w.business(bson.M{"_id": "target"})
	ids := []string{"an-sms", "a-charge", "an-email"}
	w.insert(write(sms(ids[0]), "target", ids[0]), write(charge(ids[1]), "target", ids[1]), write(email(ids[2]), "target", ids[2]))
	free := w.transaction(func(ctx context.Context) error {
		_, err := w.db.Collection("orders").UpdateOne(ctx, bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "note", Value: "held"}}}})
		return err
	})
	first := w.worker()
	w.waitFor("the outcomes are recorded", len(ids), bson.D{{Key: "outcome.event", Value: bson.D{{Key: "$exists", Value: true}}}})
	first.kill()
	// What comes next may not send, and must write all the same: its lanes are paused, and the providers refuse
	// everything.
	for _, kind := range []string{"sms", "charge", "email"} {
		w.lane(kind, bson.M{"paused": true, "why": "a test"})
	}
	w.sim.fail(simulator.Fault{Do: simulator.DoStatus, Status: 401, Match: simulator.Match{Times: -1}})
	w.worker()
	free(true)
	for _, id := range ids {
		if in := w.settled(id); in.Status != "done" {
			t.Errorf("%s is %s, want done: its provider acted", id, in.outcome())
		}
	}
	if seen, _ := w.order("target")["seen"].(bson.D); len(seen) != len(ids) {
		t.Errorf("the business document says %v", seen)
	}
	w.once(len(ids), true)
}
