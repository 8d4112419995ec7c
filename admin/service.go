package admin

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/outboxd/outboxd/outbox"
)

// DefaultApproval is above how many charges a job needs a second person.
const DefaultApproval = 100

// Config is what a [Service] is made of.
type Config struct {
	Reader   Reader
	State    State
	Operator Operator
	Controls Controls
	Jobs     Jobs
	Audit    Audit
	Prober   Prober // nil: nobody can be asked
	Doctor   Doctor // nil: no diagnosis

	Kinds    []string                        // that this deployment knows
	Policy   func(kind string) outbox.Policy // of a kind, as workers have it
	Approval int                             // charges above which a job needs a second person; 0: [DefaultApproval]
	ReadOnly bool                            // nobody may change or reveal anything
	Mask     []string                        // metadata keys whose values are masked
}

// Service is what operators can do. It is safe for concurrent use.
type Service struct{ Config }

// New returns a service.
func New(c Config) *Service {
	c.Approval = cmp.Or(c.Approval, DefaultApproval)
	return &Service{c}
}

// allow reports whether the actor may do what takes the role with the kind; an empty kind stands for none.
func (s *Service) allow(a Actor, r Role, kind string) error {
	if !a.Has(r) || s.ReadOnly && r != RoleRead {
		return &Forbidden{Role: r, Kind: kind}
	}
	if kind != "" && !a.MayKind(kind) {
		return &Forbidden{Kind: kind}
	}
	return nil
}

// MaxWhy is how long a reason may be, in bytes.
const MaxWhy = 500

// reason checks a reason that a person gives.
func reason(why string) error {
	switch {
	case strings.TrimSpace(why) == "":
		return refuse(ReasonMissing, "say why, for the people who will see it")
	case len(why) > MaxWhy:
		return refuse(ReasonMissing, "the reason is %d bytes long, must be at most %d", len(why), MaxWhy)
	case !utf8.ValidString(why):
		return refuse(ReasonMissing, "the reason is no valid UTF-8")
	}
	return nil
}

// act records an act, carries it out, and records how it ended. do returns the state after it, in words.
func (s *Service) act(ctx context.Context, a Actor, act outbox.Act, do func(context.Context) (after string, err error)) error {
	act.Who, act.Via, act.From, act.Roles, act.Request = a.Who, a.Via, a.From, a.roles(), a.RequestID
	act.Outcome = outbox.ActBegun
	begun, err := s.Audit.Begin(ctx, act)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // what is begun is not left half-way
	after, err := do(ctx)
	err = business(err)
	end := begun[0]
	end.After, end.Code = after, codeOf(err)
	switch {
	case err == nil:
		end.Outcome = outbox.ActDone
	case end.Code != "":
		end.Outcome = outbox.ActRefused
	default:
		end.Outcome = outbox.ActFailed
	}
	if ended := s.Audit.End(ctx, end); ended != nil {
		return errors.Join(err, ended)
	}
	return err
}
