package dispatcher

import (
	"slices"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// A held lane probes after a second, doubling to a minute.
const (
	holdBase = time.Second
	holdMost = time.Minute
)

// mostRefused bounds how many refused intents a lane remembers; the oldest are forgotten first. Two would do, were they
// not of several codes.
const mostRefused = 16

// hold knows whether the provider refuses the lane, or only single intents of it. Two different intents that are
// refused in the same way, while nothing passes, confirm that it is the lane. A call that passes, and was begun after
// that, ends it.
//
// It is a pure state: instants come from outside, of the local monotonic clock. Its lane's owner has it.
type hold struct {
	since   time.Time // when it was confirmed; zero: not held
	code    string
	next    time.Time     // when the next probe may go
	wait    time.Duration // between the last probe and that
	passed  time.Time     // when the last call that passed was begun
	starved bool          // since the last refusal a probe found nothing, and what was refused was made due
	refused []refusal     // oldest first, one for each intent
}

// refusal is the last one of an intent.
type refusal struct {
	id   outbox.ID
	code string
	at   time.Time
}

func (h *hold) on() bool { return !h.since.IsZero() }

// refuse notes that a call begun at the given instant was refused, and reports whether that confirms a hold.
func (h *hold) refuse(id outbox.ID, code string, began, now time.Time) (confirmed bool) {
	for _, r := range h.refused {
		confirmed = confirmed || r.id != id && r.code == code && r.at.After(h.passed)
	}
	h.refused = slices.DeleteFunc(h.refused, func(r refusal) bool { return r.id == id })
	h.refused = append(h.refused[max(0, len(h.refused)+1-mostRefused):], refusal{id, code, now})
	h.starved = false
	switch {
	case h.on():
		confirmed = false
		if began.After(h.since) { // a probe
			h.wait = min(2*h.wait, holdMost)
			h.next = now.Add(h.wait)
		}
	case confirmed:
		h.begin(now, code)
	}
	return confirmed
}

// begin holds the lane.
func (h *hold) begin(now time.Time, code string) {
	h.since, h.code, h.wait = now, code, holdBase
	h.next = now.Add(h.wait)
}

// pass notes that a call begun at the given instant passed, and reports whether that ends the hold: one that was begun
// before tells nothing of what the provider thinks of us now.
func (h *hold) pass(began time.Time) (ended bool) {
	if began.After(h.passed) {
		h.passed = began
	}
	if !h.on() || !began.After(h.since) {
		return false
	}
	h.end()
	return true
}

// end ends the hold. What was refused is remembered.
func (h *hold) end() {
	h.since, h.code, h.next, h.wait, h.starved = time.Time{}, "", time.Time{}, 0, false
}

// forget ends the hold and begins anew: a person has resumed the lane, or another worker has seen that it is well.
func (h *hold) forget() { *h = hold{passed: h.passed} }

// probed notes that a probe was claimed. What comes of it may be nothing, which must not be repeated at once.
func (h *hold) probed(sent time.Time) { h.next = sent.Add(h.wait) }

// unprobed takes that back: what was claimed is none.
func (h *hold) unprobed(now time.Time) {
	if h.on() {
		h.next = now
	}
}

// starve notes that there was nothing to probe with, and reports whether what was refused has to be made due: each
// intent waits for itself, and may wait longer than the lane does. Once between two refusals is enough.
func (h *hold) starve() (hasten bool) {
	hasten = h.on() && !h.starved
	h.starved = h.starved || hasten
	return hasten
}

// own reports whether a refusal is the intent's own: the provider has refused it before, a call begun since then has
// passed, and the lane is not held. Both instants are the database's, so that what a restarted or another worker saw
// counts.
func (h *hold) own(refusedAt, passedAt time.Time) bool {
	return !h.on() && !refusedAt.IsZero() && passedAt.After(refusedAt)
}
