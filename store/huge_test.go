package store_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// big returns an intent of a mebibyte whose n follow-ups hold that so many times each.
func (h *harness) big(id string, times, n int) map[string]any {
	text := strings.Repeat("${metadata.a}", times) + "."
	var ups []any
	for range n {
		ups = append(ups, map[string]any{"kind": "email", "payload": map[string]any{"from": "a@example.com", "to": "b@example.com", "subject": "s", "text": text}})
	}
	return h.intent(id, map[string]any{"metadata": map[string]any{"a": strings.Repeat("x", 1<<20)}, "on_done": ups})
}

// mostHeap is what a settle may take. The intents themselves, which their caller holds, are among it.
const mostHeap = 200 << 20

// peak returns how large the heap became during do.
func peak(do func()) (most uint64) {
	runtime.GC()
	var watching sync.WaitGroup
	done := make(chan struct{})
	var seen atomic.Uint64
	watching.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			seen.Store(max(seen.Load(), m.HeapAlloc))
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	do()
	close(done)
	watching.Wait()
	return seen.Load()
}

// Consequences as large as they may be go in transactions that the server and the driver take, one after the other, in
// bounded memory. Those beside them are settled as ever.
func TestLargeConsequences(t *testing.T) {
	h := newHarness(t)
	const n = 12
	for i := range n {
		h.Insert(h.big(fmt.Sprint("big", i), 1+i%3, 7/(1+i%3))) // six or seven mebibytes
	}
	h.insertMany("plain", 20, nil)
	claimed := h.claim(n + 20)
	batch := done(claimed)
	h.commands.take()
	h.commands.drops = true
	most := peak(func() {
		for i, notes := range h.settle(batch) {
			if len(notes) > 0 || len(claimed[i].Problems) > 0 {
				t.Errorf("%v: %v, %v", claimed[i].ID, notes, claimed[i].Problems)
			}
		}
	})
	if most > mostHeap {
		t.Errorf("the heap grew to %d MiB", most>>20)
	}
	if h.commands.largest > 16<<20 {
		t.Errorf("a command has %d MiB", h.commands.largest>>20)
	}
	ups := 0
	for i := range n {
		for k := range 7 / (1 + i%3) {
			if doc := h.Get(fmt.Sprint("big", i, ":done:", k)); doc["status"] == "pending" {
				ups++
			}
		}
	}
	if want := (7 + 3 + 2) * n / 3; ups != want {
		t.Errorf("%d follow-ups are there, want %d", ups, want)
	}
}

// What an intent's references make of it is bounded: a hostile one takes neither the worker's memory nor its
// neighbours' time, and the outcome of the one that can be settled in no other way is written without what is too
// large.
func TestHostileConsequences(t *testing.T) {
	h := newHarness(t)
	for i, times := range []int{14, 17, 40, 47} {
		h.Insert(h.big(fmt.Sprint("hostile", i), times, 16))
	}
	h.insertMany("plain", 20, nil)
	var claimed []*outbox.Intent
	most := peak(func() {
		claimed = h.claim(30)
		batch := done(claimed) // as if it had been sent all the same
		within(t, "a settle beside hostile intents", func() { h.settle(batch) })
	})
	if most > mostHeap {
		t.Errorf("the heap grew to %d MiB", most>>20)
	}
	for _, in := range claimed {
		if hostile := in.ID.String()[0] == 'h'; hostile != (len(in.Problems) > 0) {
			t.Errorf("%v has the problems %v", in.ID, in.Problems)
		}
		if doc := h.Get(in.ID); doc["status"] != "done" {
			t.Errorf("%v is %v", in.ID, doc["status"])
		}
	}
}

// What the driver itself cannot send is a refusal of that one row.
func TestWhatTheDriverCannotSend(t *testing.T) {
	h := newHarness(t)
	h.orders(3)
	intents := h.custom(3, nil)
	intents[1].Document["payload"] = map[string]any{"x": make(chan int)} // no document holds such; it stands for what cannot be encoded
	intents[1].OnDone[0]["payload"] = map[string]any{"from": "a@b.c", "to": "d@e.f", "subject": "s", "text": "t", "x": "${payload.x}"}
	within(t, "the settle", func() { h.settle(done(intents)) })
	for i := range 3 {
		if doc := h.Get(fmt.Sprint("a", i)); doc["status"] != "done" || (doc["last_error"] != nil) != (i == 1) {
			t.Errorf("a%d is %v", i, doc)
		}
	}
}
