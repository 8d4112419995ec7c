package admin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// The states of a lane.
const (
	LaneOpen   = "open"
	LanePaused = "paused" // a person stopped it
	LaneHeld   = "held"   // the provider refuses our credentials or account
	LaneGated  = "gated"  // the provider asked to wait
	LaneBroken = "broken" // a worker's breaker is open
)

// Lane is one lane as all workers share it.
type Lane struct {
	Kind     string
	State    string
	Why      string    // in words; empty if it is open
	Since    time.Time // of held; zero: not known
	Until    time.Time // of gated and broken; zero: not known
	Rate     string    // as configured; empty: unlimited
	Limit    string    // the rate that a person set; empty: none. See [Lane.EffectiveRate]
	LimitWhy string    // why, and who set it
	Workers  int
	InFlight int
	Remedy   string // what a person can do; empty: nothing is to be done
}

// Card is one lane with its figures.
type Card struct {
	Lane
	Census outbox.KindCensus
	Hour   []outbox.RateMinute // the last hour, the oldest first; a minute without anything is missing
	P50    time.Duration       // of the attempts within the last five minutes
	P95    time.Duration
}

// Need is something that needs a person, or that a person should know.
type Need struct {
	Kind   string
	Urgent bool
	Text   string // what is the matter
	Remedy string // what to do
	Link   string // what to look at: "lane", "in-doubt", "ambiguous", "unwritten", "workers"
}

// Overview is how the outbox stands.
type Overview struct {
	At    time.Time     // the database's time
	Age   time.Duration // of the figures of the census; negative: none was taken yet
	Needs []Need        // the most urgent first
	Cards []Card        // by kind
}

// Overview returns how the outbox stands.
func (s *Service) Overview(ctx context.Context, a Actor) (Overview, error) {
	if err := s.allow(a, RoleRead, ""); err != nil {
		return Overview{}, err
	}
	census, err := s.State.Census(ctx)
	if err != nil {
		return Overview{}, err
	}
	now := s.State.Now()
	rates, err := s.State.Rates(ctx, "", now.Add(-time.Hour), now.Add(time.Minute))
	if err != nil {
		return Overview{}, err
	}
	lanes, err := s.Lanes(ctx, a)
	if err != nil {
		return Overview{}, err
	}
	view := Overview{At: now, Age: -1}
	if !census.At.IsZero() {
		view.Age = max(0, now.Sub(census.At))
	}
	for _, l := range lanes {
		card := Card{Lane: l, Census: census.Of(l.Kind)}
		var recent outbox.RateCounters
		for _, m := range rates {
			if m.Kind != l.Kind {
				continue
			}
			card.Hour = append(card.Hour, m)
			if m.Minute.After(now.Add(-5 * time.Minute)) {
				recent.Add(m.RateCounters)
			}
		}
		card.P50, card.P95 = recent.Quantile(0.5), recent.Quantile(0.95)
		view.Cards = append(view.Cards, card)
		view.Needs = append(view.Needs, needs(card)...)
	}
	if census.Foreign.N > 0 {
		view.Needs = append(view.Needs, Need{Text: fmt.Sprintf("%s documents have no kind, so they are no intents", Figure(census.Foreign)),
			Remedy: "Mend the program that writes them."})
	}
	slices.SortStableFunc(view.Needs, func(a, b Need) int {
		switch {
		case a.Urgent == b.Urgent:
			return 0
		case a.Urgent:
			return -1
		default:
			return 1
		}
	})
	return view, nil
}

// needs returns what of a lane needs a person.
func needs(c Card) []Need {
	var list []Need
	add := func(urgent bool, link, remedy, format string, args ...any) {
		list = append(list, Need{Kind: c.Kind, Urgent: urgent, Link: link, Remedy: remedy, Text: fmt.Sprintf(format, args...)})
	}
	k := c.Census
	switch c.State {
	case LaneHeld, LanePaused, LaneBroken:
		add(c.State != LanePaused, "lane", c.Remedy, "%s is %s: %s. %s wait", c.Kind, c.State, c.Why, Figure(k.Waiting))
	}
	if c.Slowed() {
		add(false, "lane", "Take the rate back once the reason is gone.", "%s is slowed down to %s: %s. %s wait", c.Kind, c.Limit, c.LimitWhy, Figure(k.Waiting))
	}
	if c.Workers == 0 && k.Due.N > 0 {
		add(true, "workers", "Start a worker for this kind.", "no worker serves %s, and %s are due", c.Kind, Figure(k.Due))
	}
	if k.AmbiguousDead.N > 0 {
		add(c.Kind == outbox.KindCharge, "ambiguous", "Look at the provider, then say whether they were sent.",
			"%s dead letters of %s are ambiguous: a person must say whether they were sent", Figure(k.AmbiguousDead), c.Kind)
	}
	if k.Unwritten.N > 0 {
		add(true, "unwritten", "Find out what holds the documents that write_back names.", "%s outcomes of %s wait to be written", Figure(k.Unwritten), c.Kind)
	}
	if k.InDoubt.N > 0 {
		add(false, "in-doubt", "Nothing: the workers ask the provider.", "%s of %s are in doubt", Figure(k.InDoubt), c.Kind)
	}
	return list
}

// Figure writes a count: "10,000+" where it stopped there.
func Figure(c outbox.Count) string {
	text := fmt.Sprint(c.N)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	if c.Capped {
		text += "+"
	}
	return text
}

// Lanes returns the lanes of the kinds that this deployment knows, of those that live workers serve, and of those that
// somebody left a note about, by kind.
func (s *Service) Lanes(ctx context.Context, a Actor) ([]Lane, error) {
	if err := s.allow(a, RoleRead, ""); err != nil {
		return nil, err
	}
	states, err := s.State.Lanes(ctx)
	if err != nil {
		return nil, err
	}
	workers, err := s.State.Workers(ctx)
	if err != nil {
		return nil, err
	}
	byKind := make(map[string]*Lane)
	of := func(kind string) *Lane {
		if byKind[kind] == nil {
			byKind[kind] = &Lane{Kind: kind, State: LaneOpen}
		}
		return byKind[kind]
	}
	for _, kind := range s.Kinds {
		of(kind)
	}
	for kind, state := range states {
		of(kind).learn(state, s.State.Now())
	}
	for _, w := range workers {
		for _, kind := range w.Kinds {
			l := of(kind)
			l.Workers++
			l.InFlight += w.InFlight[kind]
		}
	}
	list := make([]Lane, 0, len(byKind))
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		if a.MayKind(kind) {
			list = append(list, *byKind[kind])
		}
	}
	return list, nil
}

// learn takes over what the workers share. Of several reasons the one counts that lasts longest without a person.
func (l *Lane) learn(s outbox.LaneState, now time.Time) {
	l.Rate, l.Limit, l.LimitWhy = s.Rate, outbox.RateText(s.Limit), s.LimitWhy
	if s.LimitBy != "" {
		l.LimitWhy = strings.TrimSpace(l.LimitWhy + " (" + s.LimitBy + ")")
	}
	switch {
	case s.Paused:
		l.State, l.Why, l.Remedy = LanePaused, s.Why, "Resume it once the reason is gone."
		if s.By != "" {
			l.Why += " (" + s.By + ")"
		}
	case !s.HeldSince.IsZero():
		l.State, l.Why, l.Since = LaneHeld, s.HoldCode, s.HeldSince
		l.Remedy = "Correct the credentials, and restart the workers; a probe a minute ends the hold."
		for _, known := range outbox.Codes() {
			if known.Code == s.HoldCode && known.Remedy != "" {
				l.Remedy = known.Remedy
			}
		}
	case s.GateUntil.After(now):
		l.State, l.Why, l.Until = LaneGated, "the provider asked to wait", s.GateUntil
	case s.BrokenUntil.After(now):
		l.State, l.Why, l.Until = LaneBroken, "the breaker of "+s.BrokenBy+" is open", s.BrokenUntil
		l.Remedy = "Look at the provider's status page; the breaker closes by itself."
	}
}

// Workers returns the live workers, by name.
func (s *Service) Workers(ctx context.Context, a Actor) ([]outbox.Worker, error) {
	if err := s.allow(a, RoleRead, ""); err != nil {
		return nil, err
	}
	return s.State.Workers(ctx)
}

// Rates returns what was done by minute, the oldest first; an empty kind stands for all, and a zero until for now.
func (s *Service) Rates(ctx context.Context, a Actor, kind string, from, until time.Time) ([]outbox.RateMinute, error) {
	if err := s.allow(a, RoleRead, kind); err != nil {
		return nil, err
	}
	if until.IsZero() {
		until = s.State.Now().Add(time.Minute) // the minute that is not over counts
	}
	rates, err := s.State.Rates(ctx, kind, from, until)
	return slices.DeleteFunc(rates, func(m outbox.RateMinute) bool { return !a.MayKind(m.Kind) }), err
}

// RatesBy returns what [Service.Rates] does, summed up by steps that begin at from. The Minute of each is where its
// step begins.
func (s *Service) RatesBy(ctx context.Context, a Actor, kind string, from, until time.Time, step time.Duration) ([]outbox.RateMinute, error) {
	if err := s.allow(a, RoleRead, kind); err != nil {
		return nil, err
	}
	rates, err := s.State.RatesBy(ctx, kind, from, until, step)
	return slices.DeleteFunc(rates, func(m outbox.RateMinute) bool { return !a.MayKind(m.Kind) }), err
}

// Diagnose checks the deployment. The list is empty where this process has no doctor.
func (s *Service) Diagnose(ctx context.Context, a Actor) ([]Line, error) {
	if err := s.allow(a, RoleRead, ""); err != nil || s.Doctor == nil {
		return nil, err
	}
	return s.Doctor.Diagnose(ctx)
}
