package bench

import "slices"

const megabyte = 1 << 20

// bars compares what was measured with what is promised; docs/performance.md explains each figure.
func (r *Report) bars() []Bar {
	var list []Bar
	least := func(figure string, got, want float64, text, unit string) {
		list = append(list, Bar{Figure: figure, Want: "≥ " + text, Got: got, Unit: unit, Met: got >= want})
	}
	most := func(figure string, got, want float64, text, unit string) {
		list = append(list, Bar{Figure: figure, Want: "≤ " + text, Got: got, Unit: unit, Met: got <= want})
	}
	if w := r.Worker; w != nil {
		least("one process ÷ ceiling", w.Crews[0].OfCeiling.Median, .70, "0.70", "")
		least("two processes ÷ one", w.Crews[1].OfOne.Median, .95, "0.95", "")
	}
	if f := r.Flatness; f != nil {
		for _, s := range f.Steps {
			least("throughput beside "+count(s.Waiting)+" waiting ÷ beside none", s.OfNone.Median, .90, "0.90", "")
		}
	}
	if l := r.Latency; l != nil {
		most("insert to call, idle, p50", l.Idle.P50, 5, "5", "ms")
		most("insert to call, idle, p99", l.Idle.P99, 20, "20", "ms")
		most("insert to call, half load, p99", l.HalfP99.Median, 100, "100", "ms")
	}
	if c := r.Curve; c != nil {
		for _, p := range c.Points {
			if slices.Contains(curveRates, p.Rate) {
				most("insert to call, at "+count(int(p.Rate))+"/s, p50", p.Waits.P50, 6, "6", "ms")
				most("insert to call, at "+count(int(p.Rate))+"/s, p99", p.Waits.P99, 25, "25", "ms")
			}
		}
	}
	if e := r.Email; e != nil {
		list = append(list, Bar{
			Figure: "e-mail over HTTP ÷ the SDK alone", Want: "≥ 0.60, or 1,500 intents/s", Got: e.OfAlone.Median,
			Met: e.OfAlone.Median >= .60 || e.Worker.Median >= 1500,
		})
	}
	if c := r.Cost; c != nil {
		most("round trips an intent, full load", c.Load.RoundTrips, .05, "0.05", "")
		most("idle worker, queries a second", c.Idle.Queries, 1, "1", "")
		most("idle worker, resident", float64(c.Idle.Resident)/megabyte, 30, "30", "MB")
		most("worker at full load, resident", float64(c.Load.Resident)/megabyte, 100, "100", "MB")
	}
	return list
}
