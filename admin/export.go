package admin

import (
	"context"

	"github.com/outboxd/outboxd/outbox"
)

// Export carries out do, which writes intents whole, payloads included. what says in words which ones. It takes a
// reason, and leaves one record for all of them.
func (s *Service) Export(ctx context.Context, a Actor, what, why string, do func(context.Context) error) error {
	if err := s.allow(a, RoleReveal, ""); err != nil {
		return err
	}
	if len(a.Kinds) > 0 { // what is written may be of any kind
		return &Forbidden{}
	}
	if err := reason(why); err != nil {
		return err
	}
	return s.act(ctx, a, outbox.Act{Op: "export", On: what, Why: why}, func(context.Context) (string, error) {
		return "", do(ctx) // which can be stopped half-way: nothing is changed
	})
}
