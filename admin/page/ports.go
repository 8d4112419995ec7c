package page

import (
	"context"
	"time"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/outbox"
)

// Service is all that the page asks for. *[admin.Service] is one.
type Service interface {
	Watcher
	Finder
	Changer
	Lanes
	Planner
	Jobs
}

// Watcher tells how the outbox stands.
type Watcher interface {
	Overview(ctx context.Context, a admin.Actor) (admin.Overview, error)
	RatesBy(ctx context.Context, a admin.Actor, kind string, from, until time.Time, step time.Duration) ([]outbox.RateMinute, error)
	Workers(ctx context.Context, a admin.Actor) ([]outbox.Worker, error)
	Acts(ctx context.Context, a admin.Actor, f outbox.ActFilter) ([]outbox.Act, error)
	Diagnose(ctx context.Context, a admin.Actor) ([]admin.Line, error)
}

// Finder finds intents, and shows them masked.
type Finder interface {
	Find(ctx context.Context, a admin.Actor, s outbox.Search) (admin.List, error)
	Show(ctx context.Context, a admin.Actor, name string) (admin.Shown, error)
	Groups(ctx context.Context, a admin.Actor, kind string) ([]outbox.Group, error)
}

// Changer does what a person may do with one intent.
type Changer interface {
	Retry(ctx context.Context, a admin.Actor, name, why string, evenFinal bool) (admin.Change, error)
	Resolve(ctx context.Context, a admin.Actor, name, why string, sent bool, evidence string) (admin.Change, error)
	Cancel(ctx context.Context, a admin.Actor, name, why string) (admin.Change, error)
	Discard(ctx context.Context, a admin.Actor, name, why string) (admin.Change, error)
	Reveal(ctx context.Context, a admin.Actor, name, why string) (payload any, err error)
	Ask(ctx context.Context, a admin.Actor, name string) (admin.Evidence, error)
}

// Lanes shows lanes, stops and resumes them, and sets their rates.
type Lanes interface {
	Lanes(ctx context.Context, a admin.Actor) ([]admin.Lane, error)
	PauseLane(ctx context.Context, a admin.Actor, kind, why string) error
	ResumeLane(ctx context.Context, a admin.Actor, kind, why string) (stood bool, err error)
	SetRate(ctx context.Context, a admin.Actor, kind string, perSecond float64, why string) (changed bool, err error)
}

// Planner makes and shows bulk jobs.
type Planner interface {
	Plan(ctx context.Context, a admin.Actor, r admin.JobRequest) (admin.JobView, error)
	JobOf(ctx context.Context, a admin.Actor, id string) (admin.JobView, error)
	AllJobs(ctx context.Context, a admin.Actor, limit int) ([]admin.JobView, error)
}

// Jobs moves bulk jobs from state to state.
type Jobs interface {
	Start(ctx context.Context, a admin.Actor, id string) (admin.JobView, error)
	PauseJob(ctx context.Context, a admin.Actor, id, why string) (admin.JobView, error)
	StopJob(ctx context.Context, a admin.Actor, id, why string) (admin.JobView, error)
	Approve(ctx context.Context, a admin.Actor, id, why string) (admin.JobView, error)
}

var _ Service = (*admin.Service)(nil)
