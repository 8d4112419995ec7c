//go:build chaos

package main

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// A worker that is told to end under full load does so with 0, holds nothing afterwards, and nothing is sent twice.
func testDrain(t trouble) {
	const intents = 900
	t.ask(http.MethodPost, "settings", nil, map[string]string{"latency": slowCall.String()})
	t.insert(intents, time.Now(), 0)
	sl := t.slot(0)
	w := t.worker(sl)
	t.eventually("the worker is under full load", func() bool { return len(t.sent()) > 50 })
	began := time.Now()
	if err := w.end("term"); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if w.code != 0 || took > drain {
		t.Errorf("the worker ended with %d after %v, want 0 within %v", w.code, took, drain)
	}
	done := t.status("done")
	if leased := t.status("leased"); leased != 0 || done >= intents {
		t.Errorf("%d intents are leased and %d done after the end of the only worker", leased, done)
	}
	t.once(done)
	t.Logf("it ended within %v, with %d of %d intents done", took.Round(time.Millisecond), done, intents)
	t.ask(http.MethodPost, "settings", nil, map[string]string{"latency": "0s"})
	t.worker(sl)
	t.allDone(intents)
	t.oneAttempt()
	t.once(intents)
}

// Three workers are restarted one after another under load: no lease runs out, and nothing is sent twice.
func testRollingRestart(t trouble) {
	watching, err := t.watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer watching.stop()
	t.ask(http.MethodPost, "settings", nil, map[string]string{"latency": "50ms"})
	var slots []*slot
	for n := range 3 {
		slots = append(slots, t.slot(n))
		t.worker(slots[n])
	}
	stop := t.produce()
	t.eventually("the load flows", func() bool { return len(t.sent()) > 50 })
	for _, sl := range slots {
		old, before := sl.current(), len(t.sent())
		if err := old.end("term"); err != nil || old.code != 0 {
			t.Errorf("a worker ended with %d, %v", old.code, err)
		}
		t.worker(sl)
		t.eventually("the load flows on", func() bool { return len(t.sent()) > before })
	}
	intents := stop()
	t.allDone(intents)
	t.oneAttempt()
	t.once(intents)
	changes, err := watching.observer.catchUp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	claims := 0
	for _, c := range changes {
		if c.After.Lease == nil {
			continue
		}
		if claims++; c.After.Lease.Reclaimed {
			t.Errorf("a lease on %s ran out", c.After.ID)
		}
	}
	t.Logf("%d intents, no lease of %d ran out", intents, claims)
}

// produce writes intents until the function returned is called, which returns how many there are.
func (t trouble) produce() (stop func() int) {
	const together, every = 10, 50 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	count := 0
	running.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for ctx.Err() == nil {
			if err := t.write(documents(count, together, time.Now(), 0)); err != nil {
				t.Errorf("write intents: %v", err)
				return
			}
			count += together
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	stop = func() int { cancel(); running.Wait(); return count }
	t.Cleanup(func() { stop() })
	return stop
}
