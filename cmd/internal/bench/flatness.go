package bench

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// flatness measures the throughput beside more and more ballast, each right after the throughput beside none.
func (r *run) flatness(ctx context.Context) error {
	sizes := []int{10_000, 100_000, 1_000_000}
	switch {
	case r.Quick:
		sizes = sizes[1:2]
	case r.Deep:
		sizes = append(sizes, 10_000_000)
	}
	f := &Flatness{}
	for _, size := range sizes {
		step, err := r.beside(ctx, size)
		if err != nil {
			return err
		}
		r.say("flatness: beside %d waiting, %d not due and %d finished: %.0f intents/s, %.2f of beside none; a claim %.1f ms; server CPU/1000: %.3f s, beside none %.3f s",
			step.Waiting, step.NotDue, step.Finished, step.Rate.Median, step.OfNone.Median, step.ClaimP50, step.CPU, step.CPUNone)
		f.Steps = append(f.Steps, step)
	}
	r.report.Flatness = f
	return nil
}

// beside measures with so many intents waiting, as many that are not due yet, and as many that are finished.
func (r *run) beside(ctx context.Context, size int) (FlatStep, error) {
	step := FlatStep{Waiting: size, NotDue: size, Finished: size}
	var rates, shares []float64
	var claims []float64
	var late, cpu, cpuNone []float64
	err := r.within(ctx, func(c *mongo.Collection) error {
		r.say("flatness: loading 3 × %d intents", size)
		if err := ballast(ctx, c, size); err != nil {
			return err
		}
		for range r.rounds {
			none, err := r.besideNone(ctx)
			if err != nil {
				return err
			}
			if _, err := loadDue(ctx, c, r.Intents); err != nil { // as many as will be taken from the head
				return err
			}
			with, err := r.drive(ctx, c, 1, r.Intents)
			if err != nil {
				return err
			}
			rates, shares = append(rates, with.rate), append(shares, with.rate/none.rate)
			per := func(x round) float64 { return x.server.cpu() / float64(r.Intents) * 1000 }
			cpu, cpuNone = append(cpu, per(with)), append(cpuNone, per(none))
			claims, late = append(claims, at(with.claims, .5)), append(late, at(with.claims, .99))
		}
		return nil
	})
	if err != nil {
		return step, err
	}
	step.Rate, step.OfNone = spread(rates), spread(shares)
	step.CPU, step.CPUNone = spread(cpu).Median, spread(cpuNone).Median
	step.ClaimP50, step.ClaimP99 = spread(claims).Median, spread(late).Median
	return step, nil
}

// besideNone measures with nothing else than what is carried out, and as much again as is under way at the end: beside
// ballast, too, the worker is still claiming when the last of the round is done.
func (r *run) besideNone(ctx context.Context) (result round, err error) {
	err = r.within(ctx, func(c *mongo.Collection) error {
		if _, err := loadDue(ctx, c, r.Intents+8*r.Slots); err != nil {
			return err
		}
		result, err = r.drive(ctx, c, 1, r.Intents)
		return err
	})
	return result, err
}

func ballast(ctx context.Context, c *mongo.Collection, size int) error {
	if _, err := loadDue(ctx, c, size); err != nil {
		return err
	}
	later := time.Now().Add(time.Hour)
	if _, err := load(ctx, c, size, func(i int, id bson.ObjectID) bson.D { return intent(id, later.Add(time.Duration(i)*time.Millisecond)) }); err != nil {
		return err
	}
	earlier := time.Now().Add(-time.Hour)
	_, err := load(ctx, c, size, func(_ int, id bson.ObjectID) bson.D { return finished(id, earlier) })
	return err
}
