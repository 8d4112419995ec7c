package schedule

import "time"

// callRateEvery is over how long the calls of a lane are counted.
const callRateEvery = 100 * time.Millisecond

// callRate is how many attempts end in a second.
type callRate struct {
	began time.Time
	ended int
	rate  float64
}

// at returns the rate: half of it is that of the last moment, and all of it if that was longer than most.
func (r *callRate) at(now time.Time, most time.Duration) float64 {
	d := now.Sub(r.began)
	if d < callRateEvery {
		return r.rate
	}
	last := float64(r.ended) / d.Seconds()
	if d > most {
		return last
	}
	return (r.rate + last) / 2
}

// end counts an attempt that has ended.
func (r *callRate) end(now time.Time, most time.Duration) {
	if now.Sub(r.began) >= callRateEvery {
		*r = callRate{began: now, rate: r.at(now, most)}
	}
	r.ended++
}
