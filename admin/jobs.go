package admin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// Bounds of jobs.
const (
	PlanMost     = 10_000           // letters that a dry run looks at
	PlanLife     = 10 * time.Minute // how long a plan may be started
	ApprovedLife = time.Hour        // the same of one that was approved
	JobIDs       = 1000             // letters that a job can name one by one
	planPage     = 500
)

// JobRequest is what a job is to do.
type JobRequest struct {
	Op        outbox.JobOp
	Filter    outbox.Search // of dead letters
	IDs       []string      // instead of the filter
	Why       string
	Rate      float64 // letters a second; 0: no limit
	Ramp      []int   // nil: [outbox.DefaultRamp]; empty: none
	EvenFinal bool    // also what the provider refused for good; takes the role approve
}

// JobView is a job with what can be said of it.
type JobView struct {
	outbox.Job
	// Takes is how long it takes at its rate, or at no rate; 0: nobody can know.
	Takes time.Duration
	// Effect says what the lanes do with what it makes pending.
	Effect []string
}

// Plan makes a job after a dry run: it looks at what would be chosen, asks the rules about each letter, and changes
// nothing. The job waits for [Service.Start].
func (s *Service) Plan(ctx context.Context, a Actor, r JobRequest) (JobView, error) {
	if err := s.mayPlan(a, r); err != nil {
		return JobView{}, err
	}
	job := outbox.Job{ID: "job-" + strings.ToLower(rand.Text()[:13]), Op: r.Op, Filter: r.Filter, IDs: r.IDs, Why: r.Why, By: a.Who, Even: r.EvenFinal,
		Rate: r.Rate, Ramp: r.Ramp, State: outbox.JobPlanned, Planned: s.State.Now()}
	job.Filter.Stage, job.Filter.After, job.Filter.Limit = outbox.StageDead, "", 0
	if job.Filter.Until.IsZero() || job.Filter.Until.After(job.Planned) { // later deaths are nobody's choice
		job.Filter.Until = job.Planned
	}
	if r.Ramp == nil && r.Op == outbox.JobRetry {
		job.Ramp = outbox.DefaultRamp()
	}
	if len(a.Kinds) == 1 && job.Filter.Kind == "" {
		job.Filter.Kind = a.Kinds[0]
	}
	if err := s.dryRun(ctx, a, &job); err != nil {
		return JobView{}, err
	}
	err := s.act(ctx, a, outbox.Act{Op: "plan", On: Describe(job), Why: r.Why, Job: job.ID}, func(ctx context.Context) (string, error) {
		return fmt.Sprintf("%d chosen, %d would go", job.Plan.Chosen, job.Plan.Would), s.Jobs.AddJob(ctx, job)
	})
	if err != nil {
		return JobView{}, err
	}
	return s.viewed(ctx, job)
}

// mayPlan checks a request by itself.
func (s *Service) mayPlan(a Actor, r JobRequest) error {
	if err := s.allow(a, RoleOperate, r.Filter.Kind); err != nil {
		return err
	}
	if r.EvenFinal {
		if err := s.allow(a, RoleApprove, ""); err != nil {
			return err
		}
	}
	if err := reason(r.Why); err != nil {
		return err
	}
	named := len(r.IDs) > 0
	filter := r.Filter
	given := filter.Kind != "" || filter.Reason != "" || filter.Code != "" || !filter.Since.IsZero()
	switch {
	case r.Op != outbox.JobRetry && r.Op != outbox.JobDiscard:
		return refuse(NotAllowed, "a job either retries or discards")
	case len(r.IDs) > JobIDs:
		return refuse(FilterTooWide, "a job names at most %d letters; choose by kind, reason or code", JobIDs)
	case named && given:
		return refuse(FilterTooWide, "a job takes either ids or a filter")
	case !named && !given:
		return refuse(FilterTooWide, "choose by kind, reason, code or time: a job over everything is never meant")
	case r.Rate < 0 || r.Rate > 0 && r.Rate < outbox.LeastRate:
		return refuse(NotAllowed, "the rate must be at least one an hour")
	}
	return nil
}

// dryRun fills in the plan of a job.
func (s *Service) dryRun(ctx context.Context, a Actor, job *outbox.Job) error {
	plan := outbox.JobPlan{Refused: map[string]int64{}, Money: map[string]int64{}, Kinds: map[string]int64{}}
	now := s.State.Now()
	look := func(in outbox.Snapshot) error {
		if !a.MayKind(in.Kind) {
			return &Forbidden{Kind: in.Kind}
		}
		plan.Chosen++
		if err := Allowed(*job, in.Intent, s.Policy(in.Kind), now); err != nil {
			plan.Refused[Reason(err)]++
			return nil
		}
		plan.Would++
		plan.Kinds[in.Kind]++
		if charge, ok := in.Payload.(*outbox.Charge); ok {
			plan.Charges++
			plan.Money[charge.Currency] += charge.Amount
		}
		return nil
	}
	for _, id := range job.IDs {
		in, err := s.Reader.Look(ctx, id)
		if errors.Is(err, outbox.ErrNotFound) {
			plan.Chosen++
			plan.Refused[string(IntentNotFound)]++
			continue
		}
		if err != nil {
			return err
		}
		if err := look(in); err != nil {
			return err
		}
	}
	search := job.Filter
	search.Limit = planPage
	for more := len(job.IDs) == 0; more; more = search.After != "" && !plan.Capped {
		page, err := s.Reader.Find(ctx, search)
		if err != nil {
			return business(err)
		}
		for _, in := range page.Items {
			if err := look(in); err != nil {
				return err
			}
		}
		search.After = page.Next
		plan.Capped = search.After != "" && plan.Chosen >= PlanMost
	}
	mayCharge := job.Filter.Kind == "" || job.Filter.Kind == outbox.KindCharge
	plan.Needs = job.Op == outbox.JobRetry && (plan.Charges > int64(s.Approval) || plan.Capped && mayCharge)
	job.Plan = plan
	return nil
}

// Allowed reports whether the rules let the job change the letter: nil, or a *[outbox.Refusal].
func Allowed(job outbox.Job, in *outbox.Intent, p outbox.Policy, now time.Time) error {
	if job.Op == outbox.JobDiscard {
		return outbox.Discard(in, p)
	}
	_, err := outbox.RetryDead(in, p, job.Even, now)
	return err
}

// Reason returns under which reason a job counts a refusal.
func Reason(err error) string {
	if refusal, ok := errors.AsType[*outbox.Refusal](err); ok && refusal.Cause == "" {
		return refusal.Why
	}
	if code := codeOf(business(err)); code != "" {
		return code
	}
	return "failed"
}

// Describe says in words what a job chooses.
func Describe(j outbox.Job) string {
	if len(j.IDs) > 0 {
		return fmt.Sprintf("%d dead letters by name", len(j.IDs))
	}
	words := []string{"dead letters"}
	for _, w := range [][2]string{{"of kind ", j.Filter.Kind}, {"reason ", string(j.Filter.Reason)}, {"code ", j.Filter.Code}, {"provider code ", j.Filter.ProviderCode}} {
		if w[1] != "" {
			words = append(words, w[0]+w[1])
		}
	}
	if !j.Filter.Since.IsZero() {
		words = append(words, "since "+j.Filter.Since.UTC().Format(time.RFC3339))
	}
	return strings.Join(words, ", ")
}

// Start starts a job that was planned, and goes on with one that was paused.
func (s *Service) Start(ctx context.Context, a Actor, id string) (JobView, error) {
	return s.moveJob(ctx, a, RoleOperate, "start", id, "", func(j *outbox.Job, now time.Time) error {
		switch j.State {
		case outbox.JobRunning:
			return nil
		case outbox.JobPaused:
		case outbox.JobPlanned, outbox.JobApproved:
			life := PlanLife
			if j.Approved != "" {
				life = ApprovedLife
			}
			if now.Sub(j.Planned) > life {
				return refuse(PlanOutdated, "the plan is older than %v: plan it again", life)
			}
			if j.Plan.Needs && j.Approved == "" {
				return &Error{Code: ApprovalMissing, Text: fmt.Sprintf("it would repeat more than %d charges, so a second person has to approve it", s.Approval),
					Details: map[string]any{"charges": j.Plan.Charges, "limit": s.Approval}}
			}
			j.Started = now
		default:
			return refuse(JobNotRunning, "the job is %s; plan another one", j.State)
		}
		j.State, j.Note = outbox.JobRunning, ""
		return nil
	})
}

// PauseJob lets a job stand still. It ends the batch that is under way: at most a hundred letters.
func (s *Service) PauseJob(ctx context.Context, a Actor, id, why string) (JobView, error) {
	return s.moveJob(ctx, a, RoleOperate, "pause job", id, why, func(j *outbox.Job, _ time.Time) error {
		if j.State != outbox.JobRunning {
			return refuse(JobNotRunning, "the job is %s, so it cannot be paused", j.State)
		}
		j.State, j.Note = outbox.JobPaused, "paused by "+a.Who
		return nil
	})
}

// StopJob ends a job. What it made pending stays so.
func (s *Service) StopJob(ctx context.Context, a Actor, id, why string) (JobView, error) {
	return s.moveJob(ctx, a, RoleOperate, "stop", id, why, func(j *outbox.Job, now time.Time) error {
		if j.State.Ended() {
			return refuse(JobNotRunning, "the job is %s already", j.State)
		}
		j.State, j.Note, j.Finished = outbox.JobStopped, "stopped by "+a.Who, now
		return nil
	})
}

// Approve is the second person's consent to a job. Who planned it cannot give it.
func (s *Service) Approve(ctx context.Context, a Actor, id, why string) (JobView, error) {
	return s.moveJob(ctx, a, RoleApprove, "approve", id, why, func(j *outbox.Job, now time.Time) error {
		switch {
		case j.By == a.Who:
			return refuse(SelfApproval, "who planned a job cannot approve it")
		case j.State != outbox.JobPlanned:
			return refuse(JobNotRunning, "the job is %s, so there is nothing to approve", j.State)
		case now.Sub(j.Planned) > PlanLife:
			return refuse(PlanOutdated, "the plan is older than %v: plan it again", PlanLife)
		}
		j.State, j.Approved = outbox.JobApproved, a.Who
		return nil
	})
}

// moveTries is how often a job is read again that its runner wrote meanwhile.
const moveTries = 20

// moveJob changes a job's state, with its records.
func (s *Service) moveJob(ctx context.Context, a Actor, r Role, op, id, why string, move func(*outbox.Job, time.Time) error) (JobView, error) {
	job, err := s.job(ctx, a, r, id)
	if err != nil {
		return JobView{}, err
	}
	act := outbox.Act{Op: op, On: Describe(job), Why: why, Job: id, Before: string(job.State)}
	err = s.act(ctx, a, act, func(ctx context.Context) (string, error) {
		for try := 1; ; try++ {
			if err := move(&job, s.State.Now()); err != nil {
				return string(job.State), err
			}
			saved, err := s.Jobs.SaveJob(ctx, job)
			if err == nil {
				job = saved
				return string(job.State), nil
			}
			if !errors.Is(err, outbox.ErrChanged) || try == moveTries {
				return string(job.State), err
			}
			if job, err = s.Jobs.Job(ctx, id); err != nil {
				return "", err
			}
		}
	})
	if err != nil {
		return JobView{}, err
	}
	return s.viewed(ctx, job)
}

func (s *Service) job(ctx context.Context, a Actor, r Role, id string) (outbox.Job, error) {
	if err := s.allow(a, r, ""); err != nil {
		return outbox.Job{}, err
	}
	job, err := s.Jobs.Job(ctx, id)
	if errors.Is(err, outbox.ErrNotFound) {
		return job, &Error{Code: JobNotFound, Text: "there is no such job", cause: err}
	}
	if err != nil {
		return job, err
	}
	return job, s.mayJob(a, r, job)
}

// mayJob reports whether the actor may touch all kinds of the job.
func (s *Service) mayJob(a Actor, r Role, job outbox.Job) error {
	if len(a.Kinds) > 0 && len(job.IDs) == 0 && job.Filter.Kind == "" {
		return &Forbidden{}
	}
	kinds := []string{job.Filter.Kind}
	for kind := range job.Plan.Kinds {
		kinds = append(kinds, kind)
	}
	for _, kind := range kinds {
		if err := s.allow(a, r, kind); err != nil {
			return err
		}
	}
	return nil
}

// JobOf returns one job.
func (s *Service) JobOf(ctx context.Context, a Actor, id string) (JobView, error) {
	job, err := s.job(ctx, a, RoleRead, id)
	if err != nil {
		return JobView{}, err
	}
	return s.viewed(ctx, job)
}

// AllJobs returns the newest jobs first.
func (s *Service) AllJobs(ctx context.Context, a Actor, limit int) ([]JobView, error) {
	if err := s.allow(a, RoleRead, ""); err != nil {
		return nil, err
	}
	jobs, err := s.Jobs.Jobs(ctx, limit)
	if err != nil {
		return nil, err
	}
	var views []JobView
	for _, job := range jobs {
		if s.mayJob(a, RoleRead, job) == nil {
			views = append(views, JobView{Job: job, Takes: takes(job)})
		}
	}
	return views, nil
}

// takes is how long the job takes at its rate.
func takes(job outbox.Job) time.Duration {
	if job.Rate == 0 {
		return 0
	}
	return time.Duration(float64(job.Plan.Would-job.Counts.Went) / job.Rate * float64(time.Second))
}

// viewed says what the lanes do with what the job makes pending.
func (s *Service) viewed(ctx context.Context, job outbox.Job) (JobView, error) {
	view := JobView{Job: job, Takes: takes(job)}
	lanes, err := s.Lanes(ctx, Actor{Roles: []Role{RoleRead}})
	if err != nil || job.Op != outbox.JobRetry {
		return view, err
	}
	for _, l := range lanes {
		n := job.Plan.Kinds[l.Kind]
		switch {
		case n == 0:
		case l.State != LaneOpen:
			view.Effect = append(view.Effect, fmt.Sprintf("lane %s is %s: %d will wait", l.Kind, l.State, n))
		case l.Workers == 0:
			view.Effect = append(view.Effect, fmt.Sprintf("no worker serves %s: %d will wait", l.Kind, n))
		case l.EffectiveRate() != "":
			view.Effect = append(view.Effect, fmt.Sprintf("%d go through lane %s at %s", n, l.Kind, l.EffectiveRate()))
		}
	}
	slices.Sort(view.Effect)
	return view, nil
}
