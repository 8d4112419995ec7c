package scan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// world is one process's claims of one kind, beside producers and other workers, and what has to hold in it.
type world struct {
	t     *testing.T
	x     index
	q     Queue
	now   time.Time
	n     int // intents so far
	under []*Claim
	read  [Bands]time.Time // when each band was last read from the very front
}

func (w *world) insert(b Band, age time.Duration, n int) {
	for range n {
		w.x.add(b, fmt.Sprint("i", w.n), at(w.now.Add(-age)))
		w.n++
	}
}

// enter begins a claim and reads for it. It checks everything that is promised of plans.
func (w *world) enter(o Order) *Claim {
	c := w.q.Enter(w.now, o)
	var last [Bands][]Range
	began := len(w.under)
	for step := 0; ; step++ {
		plan := w.q.Plan(w.now, at(w.now), c)
		if len(plan) == 0 {
			break
		}
		if step > 4 && !c.Sample {
			w.t.Fatalf("a claim planned %d times, now %+v", step+1, plan)
		}
		w.check(c, o, plan, step)
		for _, r := range plan {
			got := w.x.read(r)
			w.q.Observe(w.now, c, r, got)
			if r.Skip > 0 && !c.skipped {
				continue // it was for nothing, and is read again
			}
			for _, b := range r.Bands {
				for _, other := range last[b] {
					if r.From <= other.Until && other.From <= r.Until && !c.Sample {
						w.t.Fatalf("band %d is read by %+v and by %+v", b, other, r)
					}
				}
				last[b] = append(last[b], r)
			}
		}
	}
	if !o.Soon && !o.Sample && !c.enough() {
		for b := range last {
			if !slices.ContainsFunc(last[b], func(r Range) bool { return r.From == Earliest }) {
				w.t.Fatalf("a claim ended with %d of %d, without having read band %d from the very front: %+v", len(c.Found), c.want, b, last[b])
			}
		}
	}
	if began < 3 {
		w.under = append(w.under, c)
	} else {
		w.end(c)
	}
	return c
}

func (w *world) check(c *Claim, o Order, plan []Range, step int) {
	for _, r := range plan {
		if r.From > r.Until || r.Until > at(w.now) || r.Limit < o.Limit || r.Skip > 0 && o.Spread < 2 {
			w.t.Fatalf("a claim of %+v planned %+v among %+v", o, r, plan)
		}
		for _, b := range r.Bands {
			if r.From == Earliest && !c.Sample {
				w.read[b] = w.now
			}
		}
	}
	if c.Sample || step > 0 {
		return
	}
	for b := range w.read {
		if since := w.now.Sub(w.read[b]); since > fullMost {
			w.t.Fatalf("band %d was last read from the very front %v ago, and now %+v", b, since, plan)
		}
	}
}

// end takes what a claim chooses. What others hold is not taken, and left alone.
func (w *world) end(c *Claim) int {
	took := w.q.Choose(c)
	if len(took) > c.Limit {
		w.t.Fatalf("%d taken by a claim of %d", len(took), c.Limit)
	}
	for _, other := range w.under {
		for _, id := range other.took {
			if other != c && slices.Contains(took, id) {
				w.t.Fatalf("two claims took %s", id)
			}
		}
	}
	w.x.remove(took)
	w.q.Leave(c)
	w.under = slices.DeleteFunc(w.under, func(other *Claim) bool { return other == c })
	return len(took)
}

// FuzzQueue lets claims, producers and time do what the bytes say, and then has all claimed that is due.
func FuzzQueue(f *testing.F) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		ops := make([]byte, 300)
		for i := range ops {
			ops[i] = byte(r.Uint32())
		}
		f.Add(ops, seed)
	}
	f.Fuzz(func(t *testing.T, ops []byte, seed uint64) {
		w := &world{t: t, now: start}
		draw := rand.New(rand.NewPCG(seed, 2))
		for ; len(ops) >= 3; ops = ops[3:] {
			a, b := int(ops[1]), int(ops[2])
			switch ops[0] % 8 {
			case 0:
				w.insert(Band(a%Bands), time.Duration(b)*time.Duration(b)*time.Millisecond, 1+a/Bands)
			case 1:
				w.now = w.now.Add(time.Duration(a*b) * time.Millisecond)
			case 2:
				w.x.slow = time.Duration(a*b) * time.Millisecond
			case 3:
				w.insert(Band(a%Bands), time.Duration(b)*time.Minute, 1)
			case 4:
				if len(w.under) > 0 {
					w.end(w.under[a%len(w.under)])
				}
			default:
				w.now = w.now.Add(time.Duration(a) * time.Millisecond)
				w.enter(Order{Limit: 1 + b%16, Spread: a % 4, Soon: b > 127, Sample: a == b, Draw: draw.IntN})
			}
		}
		for len(w.under) > 0 {
			w.end(w.under[0])
		}
		w.drain(draw, seed%2 == 0)
	})
}

// drain has everything claimed that is due. Claims after which no other follows each take as many as they want, or all
// that there is. Others may leave what stands in front for 30 seconds.
func (w *world) drain(draw *rand.Rand, soon bool) {
	left := 0
	for b := range w.x.entries {
		left += len(w.x.entries[b])
	}
	const limit = 7
	for claims := 0; left > 0; claims++ {
		w.now = w.now.Add(10 * time.Millisecond)
		took := w.end(w.enter(Order{Limit: limit, Spread: draw.IntN(4), Soon: soon, Draw: draw.IntN}))
		if left -= took; !soon && took < limit && left > 0 {
			w.t.Fatalf("a claim of %d took %d of %d", limit, took, left+took)
		}
		if most := int(2*fullMost/(10*time.Millisecond)) + w.n/limit; claims > most {
			w.t.Fatalf("%d are left after %d claims", left, claims)
		}
	}
}
