package bench

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
)

// round is what one crew did with one collection.
type round struct {
	rate    float64
	claims  []time.Duration
	claimed int
	server  counts
	usage   usage
}

// drive lets a crew of n processes carry out some of the intents that wait in a collection.
func (r *run) drive(ctx context.Context, c *mongo.Collection, n, intents int) (_ round, err error) {
	crew, err := r.recruit(ctx, n, c.Name(), []string{"--slots", strconv.Itoa(r.Slots)})
	if err != nil {
		return round{}, err
	}
	defer func() { err = errors.Join(err, crew.dismiss()) }()
	if err := r.checkpoint(ctx); err != nil {
		return round{}, err
	}
	before, err := r.counts(ctx)
	if err != nil {
		return round{}, err
	}
	if err := crew.tell(wordGo); err != nil {
		return round{}, err
	}
	if err := crew.settle(ctx, intents); err != nil {
		return round{}, err
	}
	after, err := r.counts(ctx)
	if err != nil {
		return round{}, err
	}
	if err := crew.dismiss(); err != nil {
		return round{}, err
	}
	result := round{server: after.since(before)}
	first := int64(0)
	for _, m := range crew.members {
		result.claims = append(result.claims, m.done.Claims...)
		result.claimed += m.done.Claimed
		result.usage.CPU += m.done.Usage.CPU
		result.usage.ResidentMost = max(result.usage.ResidentMost, m.done.Usage.ResidentMost)
		if m.done.First > 0 && (first == 0 || m.done.First < first) {
			first = m.done.First
		}
	}
	slices.Sort(result.claims)
	result.rate = float64(intents) / time.Duration(crew.reached(intents)-first).Seconds()
	return result, nil
}

// fresh drives a crew through a collection that holds nothing else.
func (r *run) fresh(ctx context.Context, processes int) (result round, err error) {
	err = r.within(ctx, func(c *mongo.Collection) error {
		if _, err := loadDue(ctx, c, r.Intents); err != nil {
			return err
		}
		result, err = r.drive(ctx, c, processes, r.Intents)
		return err
	})
	return result, err
}

// worker measures crews of one, two and four processes, each right after the ceiling and after one process.
func (r *run) worker(ctx context.Context) error {
	best, err := r.bestCeiling(ctx)
	if err != nil {
		return err
	}
	sizes := []int{1, 2, 4}
	type figures struct{ rate, ofCeiling, ofOne, claim, size, cpu, conflicts []float64 }
	all := make([]figures, len(sizes))
	for n := range r.rounds {
		ceiling, err := r.ceilingOnce(ctx, best.Batch, best.Parallel)
		if err != nil {
			return err
		}
		order := []int{0, 1, 2}
		if n%2 == 1 { // what comes later in a run finds a server with more behind it
			slices.Reverse(order)
		}
		rates := make([]float64, len(sizes))
		for _, i := range order {
			f, n := &all[i], sizes[i]
			result, err := r.fresh(ctx, n)
			if err != nil {
				return err
			}
			rates[i] = result.rate
			r.say("worker: %d process(es): %.0f intents/s, ceiling %.0f; CPU/1000: server %.3f s, worker %.3f s; %.0f a claim, %.4f updates, %.3f conflicts an intent; claims take %.1f ms", n, result.rate, ceiling.Rate,
				result.server.cpu()/float64(r.Intents)*1000, result.usage.CPU.Seconds()/float64(r.Intents)*1000,
				float64(result.claimed)/float64(max(1, len(result.claims))), float64(result.server.commands["update"])/float64(r.Intents), float64(result.server.conflicts)/float64(r.Intents), at(result.claims, .5))
			f.conflicts = append(f.conflicts, float64(result.server.conflicts)/float64(r.Intents))
			f.cpu = append(f.cpu, result.server.cpu()/float64(r.Intents)*1000)
			f.rate = append(f.rate, result.rate)
			f.ofCeiling = append(f.ofCeiling, result.rate/ceiling.Rate)
			f.claim = append(f.claim, at(result.claims, .5))
			f.size = append(f.size, float64(result.claimed)/float64(max(1, len(result.claims))))
		}
		for i, rate := range rates {
			all[i].ofOne = append(all[i].ofOne, rate/rates[0])
		}
	}
	w := &Worker{}
	for i, n := range sizes {
		f := all[i]
		crew := Crew{Processes: n, Rate: spread(f.rate), OfCeiling: spread(f.ofCeiling), ClaimP50: spread(f.claim).Median, ClaimSize: spread(f.size).Median, CPU: spread(f.cpu).Median, Conflicts: spread(f.conflicts).Median}
		if n > 1 {
			crew.OfOne = new(spread(f.ofOne))
		}
		w.Crews = append(w.Crews, crew)
	}
	r.report.Worker = w
	return nil
}
