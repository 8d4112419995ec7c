package admin

import (
	"context"
	"fmt"

	"github.com/outboxd/outboxd/outbox"
)

// Change is what became of one intent that a person changed.
type Change struct {
	Name   string
	Kind   string
	Status outbox.Status
	Text   string // in a sentence
	// Again says that it was so before, and nothing was changed.
	Again bool
	// Waiting says why what follows is not written yet; empty: it is.
	Waiting string
	Notes   []outbox.Note
}

// Retry makes a dead letter pending again. evenFinal insists where the provider refused it for good, which takes the
// role approve.
func (s *Service) Retry(ctx context.Context, a Actor, name, why string, evenFinal bool) (Change, error) {
	if evenFinal {
		if err := s.allow(a, RoleApprove, ""); err != nil {
			return Change{}, err
		}
	}
	return s.change(ctx, a, "retry", name, why, func(ctx context.Context, in outbox.Snapshot, p outbox.Policy) (Change, error) {
		retry, err := outbox.RetryDead(in.Intent, p, evenFinal, s.State.Now())
		if err != nil {
			return Change{}, err
		}
		err = s.Operator.Retry(ctx, in, retry, outbox.Hand{By: a.Who, Why: why})
		return Change{Status: outbox.StatusPending, Text: fmt.Sprintf("it is pending again, generation %d", retry.Generation)}, err
	})
}

// Resolve writes a person's answer to the question whether the provider acted. What was sent needs the provider's
// reference as evidence.
func (s *Service) Resolve(ctx context.Context, a Actor, name, why string, sent bool, evidence string) (Change, error) {
	if sent && evidence == "" {
		return Change{}, refuse(ReasonMissing, "what was sent needs the provider's reference: without it nobody can check the answer")
	}
	return s.change(ctx, a, "resolve", name, why, func(ctx context.Context, in outbox.Snapshot, p outbox.Policy) (Change, error) {
		answer := outbox.PersonVerdict{Sent: sent, Evidence: evidence, Why: why, By: a.Who}
		r, err := outbox.Resolve(in.Intent, answer, p, s.State.Now())
		if err != nil {
			return Change{}, err
		}
		settled, err := s.Operator.Resolve(ctx, in, r)
		c := Change{Status: outbox.StatusDone, Text: "sent as " + evidence, Again: r.Again, Notes: settled.Notes, Waiting: settled.Waiting}
		if settled.Busy != "" {
			c.Waiting = settled.Busy
		}
		if c.Waiting != "" {
			c.Status = outbox.StatusPending
		}
		if !sent {
			c.Status, c.Text = outbox.StatusDead, "not sent; a retry sends it again"
		}
		return c, err
	})
}

// Cancel cancels what waits and surely was not sent.
func (s *Service) Cancel(ctx context.Context, a Actor, name, why string) (Change, error) {
	return s.change(ctx, a, "cancel", name, why, func(ctx context.Context, in outbox.Snapshot, p outbox.Policy) (Change, error) {
		if err := outbox.Cancel(in.Intent, p); err != nil {
			return Change{}, err
		}
		return Change{Status: outbox.StatusCancelled, Text: "it is cancelled, and nothing follows it"}, s.Operator.Cancel(ctx, in)
	})
}

// Discard ends a dead letter that nobody wants any more.
func (s *Service) Discard(ctx context.Context, a Actor, name, why string) (Change, error) {
	return s.change(ctx, a, "discard", name, why, func(ctx context.Context, in outbox.Snapshot, p outbox.Policy) (Change, error) {
		if err := outbox.Discard(in.Intent, p); err != nil {
			return Change{}, err
		}
		err := s.Operator.Discard(ctx, in, outbox.Hand{By: a.Who, Why: why})
		return Change{Status: outbox.StatusCancelled, Text: "it is discarded, and deleted after a while"}, err
	})
}

// change carries out one change of one intent, with its records.
func (s *Service) change(ctx context.Context, a Actor, op, name, why string,
	do func(context.Context, outbox.Snapshot, outbox.Policy) (Change, error)) (Change, error) {
	in, err := s.look(ctx, a, RoleOperate, name)
	if err != nil {
		return Change{}, err
	}
	if err := reason(why); err != nil {
		return Change{}, err
	}
	var c Change
	err = s.act(ctx, a, outbox.Act{Op: op, On: in.Name, Why: why, Before: standing(in.Intent)}, func(ctx context.Context) (string, error) {
		c, err = do(ctx, in, s.Policy(in.Kind))
		c.Name, c.Kind = in.Name, in.Kind
		if err != nil {
			return standing(in.Intent), err
		}
		return string(c.Status), nil
	})
	if err != nil {
		return Change{}, err
	}
	return c, nil
}

// standing says in words where an intent stands.
func standing(in *outbox.Intent) string {
	if in.Status == outbox.StatusDead {
		return fmt.Sprintf("dead (%s)", in.DeadReason)
	}
	return string(in.Status)
}
