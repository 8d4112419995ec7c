package admin

import (
	"context"
	"slices"

	"github.com/outboxd/outboxd/outbox"
)

// PauseLane stops a lane on every worker. Calls under way end.
func (s *Service) PauseLane(ctx context.Context, a Actor, kind, why string) error {
	return s.lane(ctx, a, "pause", kind, why, func(ctx context.Context) (string, error) {
		return LanePaused, s.Controls.Pause(ctx, kind, why, a.Who)
	})
}

// ResumeLane ends a pause and a hold of a lane. It reports whether the lane was paused or held at all.
func (s *Service) ResumeLane(ctx context.Context, a Actor, kind, why string) (stood bool, err error) {
	err = s.lane(ctx, a, "resume", kind, why, func(ctx context.Context) (string, error) {
		states, err := s.State.Lanes(ctx)
		if err != nil {
			return "", err
		}
		stood = states[kind].Paused || !states[kind].HeldSince.IsZero()
		return LaneOpen, s.Controls.Resume(ctx, kind)
	})
	return stood, err
}

func (s *Service) lane(ctx context.Context, a Actor, op, kind, why string, do func(context.Context) (string, error)) error {
	l, err := s.laneFor(ctx, a, kind, why)
	if err != nil {
		return err
	}
	return s.act(ctx, a, outbox.Act{Op: op, On: kind, Why: why, Before: l.State}, do)
}

// laneFor returns a lane that the actor may change for the reason.
func (s *Service) laneFor(ctx context.Context, a Actor, kind, why string) (Lane, error) {
	if err := s.allow(a, RoleOperate, kind); err != nil {
		return Lane{}, err
	}
	if err := reason(why); err != nil {
		return Lane{}, err
	}
	lanes, err := s.Lanes(ctx, Actor{Roles: []Role{RoleRead}})
	if err != nil {
		return Lane{}, err
	}
	i := slices.IndexFunc(lanes, func(l Lane) bool { return l.Kind == kind })
	if i < 0 {
		return Lane{}, refuse(LaneUnknown, "%q is no kind that this deployment or a live worker knows", kind)
	}
	return lanes[i], nil
}
