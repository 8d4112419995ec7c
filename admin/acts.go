package admin

import (
	"context"

	"github.com/outboxd/outboxd/outbox"
)

// Acts returns records of the audit, the newest first. An actor without the role operate sees only their own.
func (s *Service) Acts(ctx context.Context, a Actor, f outbox.ActFilter) ([]outbox.Act, error) {
	if err := s.allow(a, RoleRead, ""); err != nil {
		return nil, err
	}
	if !a.Has(RoleOperate) {
		f.Who = a.Who
	}
	return s.Audit.Acts(ctx, f)
}
