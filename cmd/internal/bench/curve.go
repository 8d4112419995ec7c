package bench

import (
	"context"
	"maps"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/internal/timing"
)

// The loads of the curve: intents a second, and shares of what one process does at most.
var (
	curveRates  = []float64{200, 500, 1000}
	curveShares = []float64{.05, .1, .25, .5, .75}
)

const (
	curveFor   = 10 * time.Second
	curvePause = 2 * time.Second // from one load to the next: a worker that was busy has to notice that it is not
)

// curve measures the latency at one load after the other, all with one worker process.
func (r *run) curve(ctx context.Context) error {
	full, err := r.fullLoad(ctx)
	if err != nil {
		return err
	}
	c := &Curve{Full: full}
	for _, rate := range curveRates {
		c.Points = append(c.Points, CurvePoint{Rate: rate, Share: rate / full})
	}
	for _, share := range curveShares {
		c.Points = append(c.Points, CurvePoint{Rate: share * full, Share: share})
	}
	slices.SortFunc(c.Points, func(a, b CurvePoint) int { return int(a.Rate - b.Rate) })
	during := curveFor
	if r.Quick {
		during = curveFor / 2
	}
	inserted := make([]map[string]time.Time, len(c.Points))
	waits, err := r.timed(ctx, func(coll *mongo.Collection) (map[string]time.Time, error) {
		all := make(map[string]time.Time)
		for i, p := range c.Points {
			var err error
			if inserted[i], err = insertSteadily(ctx, coll, p.Rate, during); err != nil {
				return nil, err
			}
			maps.Copy(all, inserted[i])
			if err := timing.Sleep(ctx, curvePause); err != nil {
				return nil, err
			}
		}
		return all, nil
	})
	if err != nil {
		return err
	}
	for i := range c.Points {
		p := &c.Points[i]
		p.Waits = percentiles(func(yield func(time.Duration) bool) {
			for id := range inserted[i] {
				if !yield(waits[id]) {
					return
				}
			}
		})
		r.say("curve: at %.0f intents/s, %.0f %% of full load: p50 %.1f ms, p99 %.1f ms", p.Rate, 100*p.Share, p.Waits.P50, p.Waits.P99)
	}
	r.report.Curve = c
	return nil
}
