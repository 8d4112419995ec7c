package dispatcher

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/outboxd/outboxd/internal/timing"
)

// Upcoming is what a lane that looks seldom needs to be in time for intents that are due later.
type Upcoming interface {
	// Upcoming returns when intents of the kind become claimable between now and the given time from now: soonest
	// first, by the database's clock, those that are claimable already included. whole is false if there may be more.
	Upcoming(ctx context.Context, kind string, within time.Duration) (due []time.Time, whole bool, err error)
}

// mostPlanned bounds the instants that a lane keeps.
const mostPlanned = 256

// schedule is the instants at which something of a lane becomes due, as far as the lane knows. It is guarded by its
// lane's lock. Instants are of the local monotonic clock.
type schedule struct {
	due   []time.Time // soonest first
	until time.Time   // nothing else is due before, unless a hint tells
}

// add notes an instant. What has no room shortens how far the schedule is complete.
func (a *schedule) add(at time.Time) {
	i, there := slices.BinarySearchFunc(a.due, at, time.Time.Compare)
	if there {
		return
	}
	a.due = slices.Insert(a.due, i, at)
	if last := len(a.due) - 1; last == mostPlanned {
		if a.due[last].Before(a.until) {
			a.until = a.due[last]
		}
		a.due = a.due[:last]
	}
}

// next returns the soonest instant; zero if there is none.
func (a *schedule) next() time.Time {
	if len(a.due) == 0 {
		return time.Time{}
	}
	return a.due[0]
}

// pass forgets what a claim sent now finds.
func (a *schedule) pass(now time.Time) {
	i := 0
	for i < len(a.due) && !a.due[i].After(now) {
		i++
	}
	a.due = slices.Delete(a.due, 0, i)
}

// plan notes that something is due again after d, and lets a resting lane reckon anew.
func (l *lane) plan(d time.Duration) {
	at := time.Now().Add(d)
	l.mu.Lock()
	first := l.schedule.next()
	l.schedule.add(at)
	l.mu.Unlock()
	if first.IsZero() || at.Before(first) {
		l.planned.Send()
	}
}

// rest returns when it is worth claiming again, after a claim that found less than it asked for; empty is how many
// claims in a row found nothing. It reports whether a hint is the reason, and nothing else.
func (l *lane) rest(stop context.Context, empty int) (hinted bool) {
	for stop.Err() == nil {
		busy, watched, _ := l.workload.state()
		now := time.Now()
		var wait time.Duration
		switch {
		case busy:
			wait = timing.Jitter(min(busyPoll<<min(empty, 8), busyPollMost))
		case !watched || l.upcoming == nil:
			wait = timing.Jitter(poll)
		default:
			if wait = l.known(now); wait <= 0 {
				if wait = l.look(stop, now); wait <= 0 {
					return false
				}
			}
		}
		switch woken := l.sleep(stop, min(wait, l.untilNext(now))); {
		case woken == byHint:
			return !busy && l.untilNext(time.Now()) > 0
		case woken == byPlan:
		case busy || !watched || l.upcoming == nil:
			return false
		case l.untilNext(time.Now()) <= 0:
			return false
		}
	}
	return false
}

// known returns for how long the schedule is complete.
func (l *lane) known(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.schedule.until.Sub(now)
}

// untilNext returns how long it is to the schedule's first instant.
func (l *lane) untilNext(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.schedule.next()
	if next.IsZero() {
		return seldomPoll * 2
	}
	return max(0, next.Sub(now))
}

// look asks what becomes due, and returns for how long the answer is good: 0 if there is something to claim, or if only
// a claim can tell.
func (l *lane) look(stop context.Context, now time.Time) time.Duration {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(stop), claimTimeout, fmt.Errorf("looking took longer than %v", claimTimeout))
	defer cancel()
	good := timing.Jitter(seldomPoll)
	due, whole, err := l.upcoming.Upcoming(ctx, l.Kind, good)
	if err != nil {
		return 0 // a claim fails as well, and its failure is told and slowed down
	}
	if !whole {
		good = poll
	}
	database := l.store.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.schedule.until = now.Add(good)
	for _, at := range due {
		l.schedule.add(time.Now().Add(at.Sub(database)))
	}
	if next := l.schedule.next(); !next.IsZero() && !next.After(time.Now()) {
		return 0
	}
	return good
}
