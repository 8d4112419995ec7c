package bench

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/internal/timing"
)

const (
	idlePause    = 200 * time.Millisecond // between two inserts on average, so that the worker is idle in between
	halfLoadTick = 10 * time.Millisecond  // between two inserts of some intents at half load
	halfLoadFor  = 15 * time.Second
)

// latency measures how soon the provider is called after an insert was acknowledged.
func (r *run) latency(ctx context.Context) error {
	n, during := 300, halfLoadFor
	if r.Quick {
		n, during = 50, halfLoadFor/5
	}
	l := &Latency{}
	waits, err := r.timed(ctx, func(c *mongo.Collection) (map[string]time.Time, error) {
		inserted, took, err := insertSingly(ctx, c, n)
		l.Insert = percentiles(slices.Values(took))
		return inserted, err
	})
	if err != nil {
		return err
	}
	l.Idle = percentiles(maps.Values(waits))
	r.say("latency: idle: p50 %.1f ms, p99 %.1f ms; the inserts themselves p50 %.1f ms, p99 %.1f ms", l.Idle.P50, l.Idle.P99, l.Insert.P50, l.Insert.P99)
	full, err := r.fullLoad(ctx)
	if err != nil {
		return err
	}
	l.HalfRate = full / 2
	all := make(map[string]time.Duration)
	var p99 []float64
	for range r.rounds {
		var stolen float64
		waits, err := r.timed(ctx, func(c *mongo.Collection) (map[string]time.Time, error) {
			lost := beginLoss()
			defer func() { stolen = lost.share() }()
			return insertSteadily(ctx, c, l.HalfRate, during)
		})
		if err != nil {
			return err
		}
		round := percentiles(maps.Values(waits))
		r.say("latency: at %.0f intents/s: p50 %.1f ms, p99 %.1f ms; other machines had %.1f %% of the processors' time", l.HalfRate, round.P50, round.P99, 100*stolen)
		maps.Copy(all, waits)
		p99, l.Stolen = append(p99, round.P99), append(l.Stolen, stolen)
	}
	l.HalfLoad, l.HalfP99 = percentiles(maps.Values(all)), spread(p99)
	r.report.Latency = l
	return nil
}

// fullLoad returns what one process can do, from the part before or measured now.
func (r *run) fullLoad(ctx context.Context) (float64, error) {
	if w := r.report.Worker; w != nil {
		return w.Crews[0].Rate.Median, nil
	}
	result, err := r.fresh(ctx, 1)
	return result.rate, err
}

// timed lets one worker process serve a collection while intents are inserted, and returns how long it took from the
// acknowledgement of each to its call.
func (r *run) timed(ctx context.Context, insert func(*mongo.Collection) (map[string]time.Time, error)) (map[string]time.Duration, error) {
	var waits map[string]time.Duration
	err := r.within(ctx, func(c *mongo.Collection) (err error) {
		crew, err := r.recruit(ctx, 1, c.Name(), []string{"--slots", strconv.Itoa(r.Slots), "--trace"})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, crew.dismiss()) }()
		if err := crew.tell(wordGo); err != nil {
			return err
		}
		if err := crew.served(ctx); err != nil {
			return err
		}
		if err := timing.Sleep(ctx, 3*time.Second); err != nil { // a worker that has just started listens after a second
			return err
		}
		if err := r.checkpoint(ctx); err != nil {
			return err
		}
		inserted, err := insert(c)
		if err != nil {
			return err
		}
		if err := crew.settle(ctx, len(inserted)); err != nil {
			return err
		}
		if err := crew.dismiss(); err != nil {
			return err
		}
		waits = make(map[string]time.Duration, len(inserted))
		for id, acknowledged := range inserted {
			called, ok := crew.calls[id]
			if !ok {
				return errors.New("an intent was settled without a call")
			}
			waits[id] = max(0, time.Duration(called-acknowledged.UnixNano())) // the call may come before the insert is heard of
		}
		return nil
	})
	return waits, err
}

// insertSingly inserts n intents one by one at random intervals, and returns when each was acknowledged, and after
// how long.
func insertSingly(ctx context.Context, c *mongo.Collection, n int) (acknowledged map[string]time.Time, took []time.Duration, _ error) {
	acknowledged = make(map[string]time.Time, n)
	for range n {
		if err := timing.Sleep(ctx, rand.N(2*idlePause)); err != nil {
			return nil, nil, err
		}
		id, began := bson.NewObjectID(), time.Now()
		if _, err := c.InsertOne(ctx, intent(id, began)); err != nil {
			return nil, nil, err
		}
		now := time.Now()
		acknowledged[id.Hex()], took = now, append(took, now.Sub(began))
	}
	return acknowledged, took, nil
}

// insertSteadily inserts intents at a rate for a while, some at a time as busy producers do together.
func insertSteadily(ctx context.Context, c *mongo.Collection, rate float64, during time.Duration) (map[string]time.Time, error) {
	acknowledged := make(map[string]time.Time)
	var mu sync.Mutex
	var failed error
	var inserting sync.WaitGroup
	tick := time.NewTicker(halfLoadTick)
	defer tick.Stop()
	slots := make(chan struct{}, loadParallel)
	began, sent := time.Now(), 0
	for since := time.Duration(0); since < during && ctx.Err() == nil; since = time.Since(began) {
		<-tick.C
		some := int(rate*time.Since(began).Seconds()) - sent
		if some <= 0 {
			continue
		}
		sent += some
		slots <- struct{}{}
		inserting.Go(func() {
			defer func() { <-slots }()
			docs, ids := make([]bson.D, some), make([]bson.ObjectID, some)
			for i := range docs {
				ids[i] = bson.NewObjectID()
				docs[i] = intent(ids[i], time.Now())
			}
			_, err := c.InsertMany(ctx, docs, options.InsertMany().SetOrdered(false))
			now := time.Now()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
			}
			for _, id := range ids {
				acknowledged[id.Hex()] = now
			}
		})
	}
	inserting.Wait()
	return acknowledged, errors.Join(failed, context.Cause(ctx))
}
