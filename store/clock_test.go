package store

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		check := func(want time.Time, wantFresh bool) {
			t.Helper()
			if now, fresh := c.now(); !now.Equal(want) || fresh != wantFresh {
				t.Errorf("now is %v, fresh %v, want %v, %v", now, fresh, want, wantFresh)
			}
		}
		check(time.Now(), false)

		database := time.Now().Add(-time.Hour) // the database's clock is an hour behind
		c.tell(database, time.Now())
		check(database, true)
		pass(10 * time.Second)
		check(database.Add(10*time.Second), true)

		c.tell(database.Add(9*time.Second), time.Now()) // an answer that was a second on its way
		check(database.Add(10*time.Second), true)
		c.tell(database.Add(11*time.Second), time.Now()) // an answer quicker than the first
		check(database.Add(11*time.Second), true)

		pass(maxClockAge + time.Millisecond)
		check(database.Add(41*time.Second+time.Millisecond), false)
		c.atLeast(database.Add(37 * time.Second))                            // a lease that was read four seconds after it began
		c.tell(database.Add(37*time.Second), time.Now().Add(-4*time.Second)) // an answer that was four seconds on its way
		check(database.Add(41*time.Second+time.Millisecond), false)
		c.tell(database, time.Now()) // its clock was set back, or another member became primary
		check(database, true)
	})
}

// pass lets time pass in a bubble.
func pass(d time.Duration) { time.Sleep(d) }
