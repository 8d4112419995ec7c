package bench

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/internal/timing"
)

const (
	idleSettles = 5 * time.Second // until a worker that has just started is idle
	idleFor     = time.Minute
)

// cost measures what an intent takes at full load, and what a worker takes that has nothing to do.
func (r *run) cost(ctx context.Context) error {
	full, err := r.fresh(ctx, 1)
	if err != nil {
		return err
	}
	n := float64(r.Intents)
	c := &Cost{Load: Load{
		RoundTrips: float64(full.server.trips()) / n, Commands: full.server.per(n), Writes: float64(full.server.written) / n,
		BytesIn: float64(full.server.in) / n, BytesOut: float64(full.server.out) / n,
		WorkerCPU: full.usage.CPU.Seconds() / n * 1000, ServerCPU: full.server.cpu() / n * 1000,
		Resident: full.usage.ResidentMost,
	}}
	r.say("cost: %.4f round trips an intent", c.Load.RoundTrips)
	during := idleFor
	if r.Quick {
		during /= 3
	}
	if c.Idle, err = r.idle(ctx, during); err != nil {
		return err
	}
	r.say("cost: an idle worker sends %.2f queries a second", c.Idle.Queries)
	r.report.Cost = c
	return nil
}

// idle measures a worker that serves three empty lanes, configured as by default.
func (r *run) idle(ctx context.Context, during time.Duration) (result Idle, err error) {
	err = r.within(ctx, func(c *mongo.Collection) (err error) {
		crew, err := r.recruit(ctx, 1, c.Name(), nil, "STRIPE_API_KEY=sk_test_bench", "TWILIO_ACCOUNT_SID=AC00000000000000000000000000000000", "TWILIO_AUTH_TOKEN=bench")
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
		if err := timing.Sleep(ctx, idleSettles); err != nil {
			return err
		}
		usedThen, err := crew.usage(ctx)
		if err != nil {
			return err
		}
		then, err := r.counts(ctx)
		if err != nil {
			return err
		}
		began := time.Now()
		if err := timing.Sleep(ctx, during); err != nil {
			return err
		}
		now, err := r.counts(ctx)
		if err != nil {
			return err
		}
		took := time.Since(began).Seconds()
		usedNow, err := crew.usage(ctx)
		if err != nil {
			return err
		}
		d := now.since(then)
		result = Idle{
			Seconds: took, Queries: float64(d.trips()) / took, Commands: d.per(took / 60),
			WorkerCPU: (usedNow.CPU - usedThen.CPU).Seconds() * 60 / took, ServerCPU: d.cpu() * 60 / took, Resident: usedNow.Resident,
		}
		return nil
	})
	return result, err
}
