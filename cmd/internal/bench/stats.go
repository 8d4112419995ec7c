package bench

import (
	"iter"
	"math"
	"slices"
	"time"
)

// spread summarises a figure's rounds; there is at least one.
func spread(values []float64) Spread {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return Spread{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Min: sorted[0], Max: sorted[n-1]}
}

// percentiles summarises durations.
func percentiles(waits iter.Seq[time.Duration]) Percentiles {
	sorted := slices.Sorted(waits)
	return Percentiles{N: len(sorted), P50: at(sorted, .5), P95: at(sorted, .95), P99: at(sorted, .99), Max: at(sorted, 1)}
}

// at returns the value in milliseconds below which the given share of a sorted list lies; 0 of an empty one.
func at(sorted []time.Duration, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := int(math.Ceil(share*float64(len(sorted)))) - 1
	return float64(sorted[max(0, i)]) / float64(time.Millisecond)
}

// loss tells what other virtual machines had of the processors' time since it was begun: where that is much, rounds
// differ for no reason of ours.
type loss struct{ all, stolen int64 }

func beginLoss() loss {
	all, stolen := processorTime()
	return loss{all, stolen}
}

// share returns the lost share, from 0 to 1.
func (l loss) share() float64 {
	all, stolen := processorTime()
	if all <= l.all {
		return 0
	}
	return float64(stolen-l.stolen) / float64(all-l.all)
}
