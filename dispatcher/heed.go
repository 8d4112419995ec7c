package dispatcher

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// weigh adds to the verdict what only the lane knows: whether the intent is alone with what it met.
func (l *lane) weigh(v *outbox.Verdict, c claimed) {
	if v.Event != outbox.Failed || v.Failure == nil {
		return
	}
	switch f := v.Failure; {
	case f.Class == outbox.Hold:
		v.Alone = l.hold.own(c.in.RefusedAt(), l.passed)
	case f.Unanswered():
		v.Probe = c.broken || l.away.free(c.probe, c.in.UnansweredAt(), l.answered)
	}
}

// heed draws the lane's own conclusions from a call that may have had the effect, or from a look-up.
func (l *lane) heed(d outbox.Decision, e ended) {
	switch e.verdict.Event {
	case outbox.Delivered, outbox.Failed:
		l.heedCall(d, e)
	case outbox.Found, outbox.Absent, outbox.LookUpFailed:
		l.heedLookUp(e.verdict, e.began)
	default: // nobody was asked
	}
}

func (l *lane) heedCall(d outbox.Decision, e ended) {
	v, c, began, asked, now := e.verdict, e.c, e.began, e.asked, time.Now()
	f := v.Failure
	passed := v.Event == outbox.Delivered || f != nil && f.Class == outbox.Permanent // the provider let us in, and answered
	var closed time.Duration
	var held, resumed, left, back bool
	shut := l.gate.shut(now)
	switch {
	case d.Gate:
		closed = l.gate.close(now, began, d.GateFor)
	case f != nil && f.Class == outbox.Hold && !v.Alone:
		held = !f.LaneOpen && l.hold.refuse(c.in.ID, f.Code, began, now)
	case passed:
		l.gate.passed()
		resumed = l.hold.pass(began)
		if asked.After(l.passed) {
			l.passed = asked
		}
	}
	switch {
	case f != nil && f.Unanswered() && l.away.own(c.in.UnansweredAt(), l.answered):
	case f != nil && f.Unanswered():
		known := l.away.known()
		l.away.fail(c.probe, now, l.Breaker.OpenFor)
		left = !known && l.away.known()
	case passed || f != nil && answered(f):
		known := l.away.known()
		if l.away.answer() {
			back = known
		}
		if at := l.store.Now(); at.After(l.answered) {
			l.answered = at
		}
	}
	if f != nil && (f.Class == outbox.Hold || f.Unanswered()) {
		l.avoided.add(c.in.ID)
	}
	if closed > 0 && l.peers.tell(news{what: gateClosed, lane: l, until: time.Now().Add(closed)}) {
		l.gate.untold++
	}
	switch {
	case closed > 0:
		level := slog.LevelWarn
		if shut { // the other calls of the wave
			level = slog.LevelDebug
		}
		l.log.Log(context.Background(), level, "gate closed: the provider limits the rate", "for", closed)
	case held:
		l.log.Error("lane held: the provider refuses our credentials or account; no intent is lost, and one at a time probes",
			"code", f.Code, "http_status", f.HTTPStatus, "provider_code", f.ProviderCode)
		l.peers.tell(news{what: laneHeld, lane: l, code: f.Code})
	case resumed:
		l.log.Info("lane resumed: the provider accepts us again")
		l.peers.tell(news{what: holdEnded, lane: l})
	}
	switch {
	case left:
		l.log.Warn("provider away: intents lose no attempt, and one at a time probes", "code", f.Code, "http_status", f.HTTPStatus)
	case back:
		l.log.Info("provider back: it answers again")
	}
}

// heedLookUp keeps the gate of the look-ups. They concern nothing else.
func (l *lane) heedLookUp(v outbox.Verdict, began time.Time) {
	now, f := time.Now(), v.Failure
	switch {
	case f == nil || f.Class == outbox.Permanent:
		l.lookUps.passed()
	case f.Class == outbox.RateLimited && !f.LaneOpen, f.Class == outbox.Hold:
		shut := l.lookUps.shut(now)
		if closed := l.lookUps.close(now, began, min(max(0, f.RetryAfter), gateMost)); !shut {
			l.log.Warn("look-ups wait: the provider refuses them; sending goes on", "code", f.Code, "http_status", f.HTTPStatus, "for", closed)
		}
	}
}

// unprobe lets the lane claim another probe: this one asks the provider for nothing that tells.
func (l *lane) unprobe(c claimed, now time.Time) {
	if c.probe {
		l.hold.unprobed(now)
		l.away.unprobed(now)
	}
}

// probing reports whether the lane sends one intent at a time, to see whether it may send more.
func (l *lane) probing() bool { return l.hold.on() || l.away.on() }

// alone returns what a call's verdict tells the breaker: nothing, if the intent is alone with what it met.
func (l *lane) alone(in *outbox.Intent, health error) error {
	f, ok := errors.AsType[*outbox.Failure](health)
	if !ok || !f.Unanswered() {
		return health
	}
	if l.away.own(in.UnansweredAt(), l.answered) {
		return errNoVerdict
	}
	return health
}
