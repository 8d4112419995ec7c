package admin

import (
	"cmp"
	"context"
	"math"

	"github.com/outboxd/outboxd/outbox"
)

// noRate stands in the audit where a person's rate was not set.
const noRate = "none"

// SetRate makes a lane keep to so many calls a second on all workers together; 0 takes that back. Such a rate may slow
// a lane down and never speeds it up, so one above the configured rate is refused. It reports whether anything was
// changed: there may be no rate to take back.
func (s *Service) SetRate(ctx context.Context, a Actor, kind string, perSecond float64, why string) (changed bool, err error) {
	l, err := s.laneFor(ctx, a, kind, why)
	if err != nil {
		return false, err
	}
	set := perSecond != 0
	configured, _ := outbox.ParseRate(l.Rate) // 0 where none is configured
	switch {
	case !set:
	case math.IsNaN(perSecond) || math.IsInf(perSecond, 0) || perSecond < outbox.LeastRate:
		return false, refuse(NotAllowed, "the rate must be at least one an hour; pause the lane to stop it")
	case configured > 0 && perSecond > configured:
		return false, refuse(NotAllowed, "lane %s is configured to %s, which a rate set here may not exceed; change the workers' file for that", kind, l.Rate)
	}
	act := outbox.Act{Op: "rate", On: kind, Why: why, Before: cmp.Or(l.Limit, noRate)}
	err = s.act(ctx, a, act, func(ctx context.Context) (string, error) {
		if set {
			return outbox.RateText(perSecond), s.Controls.Limit(ctx, kind, perSecond, why, a.Who)
		}
		return noRate, s.Controls.Unlimit(ctx, kind)
	})
	return set || l.Limit != "", err
}

// EffectiveRate is the rate that the lane keeps to: the lower of the configured one and the one that a person set. It
// is empty if there is none.
func (l Lane) EffectiveRate() string {
	if !l.Slowed() {
		return l.Rate
	}
	return l.Limit
}

// Slowed reports whether a person's rate makes the lane slower than it is configured to be.
func (l Lane) Slowed() bool {
	set, _ := outbox.ParseRate(l.Limit)
	configured, _ := outbox.ParseRate(l.Rate)
	return l.Limit != "" && (set == 0 || configured == 0 || set < configured)
}
