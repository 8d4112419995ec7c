package adminproc

import (
	"context"
	"log/slog"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/cmd/internal/metrics"
	"github.com/outboxd/outboxd/outbox"
)

// logged tells the log of each act as well, for whoever gathers logs. The reason stays in the database: it is a
// person's text, and may name a customer.
type logged struct {
	admin.Audit
	log    *slog.Logger
	counts *metrics.AdminMetrics
}

func (p *process) audit() admin.Audit { return logged{p.desk, p.Logger, p.counts} }

// Begin records acts, and tells of those that end at once.
func (l logged) Begin(ctx context.Context, acts ...outbox.Act) ([]outbox.Act, error) {
	begun, err := l.Audit.Begin(ctx, acts...)
	for _, act := range begun {
		if err == nil && act.Outcome != outbox.ActBegun {
			l.tell(ctx, act)
		}
	}
	return begun, err
}

// End records how acts ended, and tells of them even if the record could not be written.
func (l logged) End(ctx context.Context, acts ...outbox.Act) error {
	for _, act := range acts {
		l.tell(ctx, act)
	}
	return l.Audit.End(ctx, acts...)
}

func (l logged) tell(ctx context.Context, act outbox.Act) {
	if act.Op == "reveal" && act.Outcome == outbox.ActDone {
		l.counts.Revealed()
	}
	attrs := []slog.Attr{slog.String("op", act.Op), slog.String("outcome", act.Outcome), slog.String("who", act.Who), slog.String("via", act.Via)}
	for _, a := range []slog.Attr{
		slog.String("from", act.From), slog.String("on", act.On), slog.String("before", act.Before), slog.String("after", act.After),
		slog.String("code", act.Code), slog.String("job", act.Job), slog.String("request", act.Request), slog.String("record", act.ID),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	l.log.LogAttrs(ctx, slog.LevelInfo, "audit", attrs...)
}
