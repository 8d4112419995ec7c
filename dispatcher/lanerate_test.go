package dispatcher_test

import (
	"strings"
	"testing"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

// within counts the calls that began in the time from an instant on.
func within(from time.Time, d time.Duration, providers ...*provider) (n int) {
	for _, p := range providers {
		for _, c := range p.made() {
			if !c.at.Before(from) && c.at.Before(from.Add(d)) {
				n++
			}
		}
	}
	return n
}

func (c *commons) limit(kind string, perSecond float64) {
	_ = c.change(kind, func(s *outbox.LaneState) { s.Limit, s.LimitWhy, s.LimitBy = perSecond, "the provider asked", "ann" })
}

// A rate that a person sets slows a lane down in the middle of a backlog, whether it has a configured rate or none.
// Taken back, the lane goes on as before.
func TestARateThatAPersonSets(t *testing.T) {
	for name, c := range map[string]struct {
		configured, set  float64
		least, most      int // calls in ten seconds while it is set
		leastFree, after int // calls in ten seconds without it
	}{
		"where none is configured":  {0, 5, 48, 52, 195, 205},
		"below the configured one":  {10, 5, 48, 52, 97, 103},
		"above the configured one":  {10, 100, 97, 103, 97, 103},
		"less than one in a second": {0, 0.5, 4, 6, 195, 205},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				box, shared, log := newBox(), &commons{}, &logged{}
				p := &provider{deliver: takes(400 * time.Millisecond)} // 8 slots: 20 calls a second
				lane := laneOf("sms", p)
				lane.Rate = c.configured
				for range 700 {
					box.insert(t, "sms", nil)
				}
				r := start(t, dispatcher.Config{Store: box, Shared: shared, Lanes: []dispatcher.Lane{lane}, Logger: log.logger()})
				free := func() {
					t.Helper()
					<-time.After(2 * time.Second) // it has learned by then, and a burst is over
					from := time.Now()
					<-time.After(10 * time.Second)
					if n := within(from, 10*time.Second, p); n < c.leastFree || n > c.after {
						t.Errorf("%d calls in 10s without a rate of a person's, want %d to %d", n, c.leastFree, c.after)
					}
				}
				free()
				shared.limit("sms", c.set)
				<-time.After(time.Second)
				told := time.Now()
				<-time.After(11 * time.Second)
				// One second's worth may come at once where the limit begins.
				if n := within(told.Add(time.Second), 10*time.Second, p); n < c.least || n > c.most {
					t.Errorf("%d calls in 10s at %v/s, want %d to %d", n, c.set, c.least, c.most)
				}
				if n, most := within(told, time.Second, p), 2*max(1, c.most/10)+8; n > most {
					t.Errorf("%d calls in the second after the lane was told, want at most %d", n, most)
				}
				_ = shared.change("sms", func(s *outbox.LaneState) { s.Limit, s.LimitWhy, s.LimitBy = 0, "", "" })
				free()
				r.end(t)
				for _, want := range []string{`msg="rate set" kind=sms rate=`, `why="the provider asked" by=ann`, `msg="rate taken back" kind=sms`} {
					if got := strings.Count(log.String(), want); got != 1 {
						t.Errorf("%q is logged %d times, want once", want, got)
					}
				}
			})
		})
	}
}

// The rate is that of all workers together. The share of one that leaves goes to those that stay.
func TestARateThatAPersonSetsIsTheDeployments(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, shared := newBox(), &commons{}
		providers := [2]*provider{{deliver: takes(400 * time.Millisecond)}, {deliver: takes(400 * time.Millisecond)}}
		for range 900 {
			box.insert(t, "sms", nil)
		}
		both := two(t, box, shared, func(i int) dispatcher.Lane { return laneOf("sms", providers[i]) })
		<-time.After(3 * time.Second) // both have met by now
		shared.limit("sms", 10)
		<-time.After(2 * time.Second)
		from := time.Now()
		<-time.After(20 * time.Second)
		first, second := within(from, 20*time.Second, providers[0]), within(from, 20*time.Second, providers[1])
		if first < 95 || first > 105 || second < 95 || second > 105 {
			t.Errorf("the workers made %d and %d calls in 20s, want half of 10/s each", first, second)
		}
		both[1].end(t)
		<-time.After(10 * time.Second)
		from = time.Now()
		<-time.After(20 * time.Second)
		if n := within(from, 20*time.Second, providers[0]); n < 190 || n > 210 {
			t.Errorf("the one worker left made %d calls in 20s at 10/s", n)
		}
		both[0].end(t)
	})
}

// What was claimed before the rate was set costs a second's worth, not more: a lane that is slowed down to little does
// not stand still for minutes.
func TestARateThatAPersonSetsForgivesWhatWasClaimed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, shared := newBox(), &commons{}
		p := &provider{deliver: takes(50 * time.Millisecond)}
		lane := laneOf("sms", p)
		for range 50 {
			box.insert(t, "sms", nil)
		}
		box.slowClaim.Store(int64(3 * time.Second)) // the rate is set while a claim is under way
		r := start(t, dispatcher.Config{Store: box, Shared: shared, Lanes: []dispatcher.Lane{lane}})
		begun := time.Now()
		<-time.After(time.Second)
		shared.limit("sms", 0.1)
		<-time.After(time.Second)
		box.slowClaim.Store(0)
		<-time.After(time.Minute)
		if n := within(begun, 12*time.Second, p); n != lane.Concurrency {
			t.Errorf("%d calls, want the %d that were claimed before, and the next ten seconds later", n, lane.Concurrency)
		}
		if n := within(begun.Add(12*time.Second), 48*time.Second, p); n < 4 || n > 5 {
			t.Errorf("%d calls in the 48s that follow, want one in ten seconds", n)
		}
		r.end(t)
	})
}
