package outbox

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ForecastStep is one sentence of a [Forecast]. An instant stands between both texts; zero: there is none.
type ForecastStep struct {
	Text string
	At   time.Time
	Rest string
}

// Forecast says what happens next to an intent, and when.
type Forecast struct {
	Steps  []ForecastStep
	Person bool // nothing happens by itself: a person has to act
}

// Sentence writes the forecast for a person, with each instant as at writes it.
func (f Forecast) Sentence(at func(time.Time) string) string {
	var b strings.Builder
	for i, s := range f.Steps {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(s.Text)
		if !s.At.IsZero() {
			b.WriteString(at(s.At))
		}
		b.WriteString(s.Rest)
	}
	return b.String()
}

func (f *Forecast) say(text string) { f.Steps = append(f.Steps, ForecastStep{Text: text}) }

func (f *Forecast) at(text string, at time.Time, rest string) {
	f.Steps = append(f.Steps, ForecastStep{text, at, rest})
}

// Foresee says what happens next to an intent as it stands now. It asks [Next] and [Decide] what a worker would do at
// the next claim, so that it cannot disagree with one. What other intents and other workers do it cannot know.
func Foresee(in *Intent, p Policy, lane LaneState, now time.Time) Forecast {
	var f Forecast
	switch in.Status {
	case StatusDone:
		f.say("Nothing: it is done.")
		return f
	case StatusCancelled:
		f.say("Nothing: it was cancelled before it was sent.")
		return f
	case StatusDead:
		f.Person = true
		f.dead(in, p, now)
		return f
	case StatusLeased:
		if in.DueAt.After(now) {
			f.at("Worker "+in.Lease.Owner+" is on it. If it does not answer by ", in.DueAt, ", another worker takes over.")
			f.claimed(in, p, in.DueAt, true)
			return f
		}
	case StatusPending:
	default:
		f.Person = true
		f.say("Nothing: its status is unknown.")
		return f
	}
	at := in.DueAt
	if at.Before(now) {
		at = now
	}
	switch {
	case lane.Paused:
		f.Person = true
		f.say("Its lane is paused, so it waits until a person resumes the lane.")
	case !lane.HeldSince.IsZero():
		f.at("The provider has refused our credentials or account since ", lane.HeldSince, ". A worker probes every minute, and all go on once one passes.")
	case lane.GateUntil.After(at):
		at = lane.GateUntil
		f.at("The provider asked the lane to wait until ", at, ".")
	case lane.BrokenUntil.After(at):
		at = lane.BrokenUntil
		f.at("The breaker is open until ", at, ", and only probes go through before.")
	}
	f.claimed(in, p, at, in.Status == StatusLeased)
	return f
}

// dead says what a person can do with a dead letter.
func (f *Forecast) dead(in *Intent, p Policy, now time.Time) {
	_, err := RetryDead(in, p, false, now)
	refusal, refused := errors.AsType[*Refusal](err)
	if !refused {
		f.say("Nothing by itself. A retry is safe: it cannot double the effect.")
		return
	}
	f.say("Nothing by itself. A retry is refused: " + refusal.Why + ".")
}

// claimed says what a worker does that claims the intent at the instant.
func (f *Forecast) claimed(in *Intent, p Policy, at time.Time, reclaimed bool) {
	c := *in
	c.Attempts++
	c.Lease = Lease{At: at, Reclaimed: reclaimed}
	action, verdict := Next(&c, p, at)
	switch action {
	case Send:
		doing := fmt.Sprintf("A worker sends it (attempt %d of %d) at ", c.Attempts, max(c.Attempts, p.maxAttempts(&c)))
		if p.AsksFirst && c.begun() {
			doing = "A worker asks the provider for the earlier attempt, and goes on with it under the same key, at "
		}
		f.at(doing, at, ".")
	case LookUp:
		f.at("A worker asks the provider whether an earlier attempt had its effect, at ", at, ".")
		f.absent(c, p, at)
		f.untold(c, p, at)
	default:
		d := Decide(&c, verdict, p, at)
		switch {
		case verdict.Event == Recorded:
			f.at("Its outcome is known. A worker writes it at ", at, "; it is not sent again.")
		case d.Status == StatusPending:
			f.at("A worker finds it in doubt, and asks the provider at ", at.Add(d.Delay), ".")
		default:
			f.at("It becomes a dead letter ("+string(d.Reason)+") at ", at, ".")
		}
	}
}

// mostLookUps bounds how far a forecast looks.
const mostLookUps = 10_000

// absent says what follows where the provider goes on showing nothing.
func (f *Forecast) absent(c Intent, p Policy, at time.Time) {
	for range mostLookUps {
		d := Decide(&c, Verdict{Event: Absent}, p, at)
		c = c.lookedUp(at, d)
		switch {
		case d.Status != StatusPending:
			f.at("If it is not there by ", at, ", it becomes a dead letter ("+string(d.Reason)+").")
			return
		case d.Ambiguous == ClearMark:
			f.at("If it is not there by ", at.Add(d.Delay), ", it is sent again.")
			return
		}
		at = at.Add(d.Delay)
	}
}

// untold says what follows where the provider goes on not telling.
func (f *Forecast) untold(c Intent, p Policy, at time.Time) {
	failure := &Failure{Class: Transient, Code: CodeUnclassified}
	for range mostLookUps {
		d := Decide(&c, Verdict{Event: LookUpFailed, Failure: failure}, p, at)
		c = c.lookedUp(at, d)
		if d.Status != StatusPending {
			f.at("If the provider does not tell by ", at, ", a person has to find out.")
			return
		}
		at = at.Add(max(d.Delay, time.Second))
	}
}

// lookedUp returns the intent as it is claimed again after a look-up.
func (in *Intent) lookedUp(at time.Time, d Decision) Intent {
	c := *in
	c.Attempts = d.Attempts + 1
	c.Lease.Reclaimed = false
	if d.Ambiguous == SetMark && c.AmbiguousAt.IsZero() {
		c.AmbiguousAt = at
	}
	return c
}
