// Package jobs carries out the bulk jobs that people plan and start in package admin. Any number of processes may run
// a [Runner]: each job is leased to one, and when that one dies another goes on with it.
//
// Before a batch begins, the job's document names its letters; after it, the counts and the cursor are written. Who
// takes a job over looks at the letters of an unfinished batch first: history says which of them the job has changed.
// Each change is conditional on the letter being what was read, and a letter that the job has changed once is never
// changed by it again.
package jobs

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/internal/timing"
	"github.com/outboxd/outboxd/outbox"
)

const (
	lease    = 30 * time.Second
	batch    = 100
	parallel = 8                // changes under way at once
	ahead    = 10 * time.Second // how far ahead a rate sets due_at, so that a stop is real
	idle     = time.Second      // between two looks for a job, and for what became of a ramp
)

// Config is what a [Runner] is made of.
type Config struct {
	Reader   admin.Reader
	Operator admin.Operator
	Jobs     admin.Jobs
	Audit    admin.Audit
	Policy   func(kind string) outbox.Policy
	Now      func() time.Time // the database's
	Owner    string           // names this process
	Log      *slog.Logger
}

// Runner carries out jobs.
type Runner struct{ Config }

// New returns a runner.
func New(c Config) *Runner { return &Runner{c} }

// Run carries out jobs until ctx ends. An error of one job is logged; the job is tried again when its lease is over.
func (r *Runner) Run(ctx context.Context) {
	for ctx.Err() == nil {
		worked, err := r.Once(ctx)
		if err != nil && ctx.Err() == nil {
			r.Log.ErrorContext(ctx, "a bulk job met an error, and goes on later", "err", err)
		}
		if !worked || err != nil {
			_ = timing.Sleep(ctx, idle) // it ends with the context, which the loop looks at
		}
	}
}

// Once takes one job, if there is one that nobody holds, and carries it out until it ends or stands still. It reports
// whether there was one.
func (r *Runner) Once(ctx context.Context) (bool, error) {
	job, ok, err := r.Jobs.LeaseJob(ctx, r.Owner, lease)
	if err != nil || !ok {
		return false, err
	}
	w := &work{Runner: r, job: job}
	err = w.run(ctx)
	if errors.Is(err, errLost) {
		return true, nil
	}
	return true, err
}

// errLost says that the job is no longer this process's, or no longer runs.
var errLost = errors.New("the job is paused, stopped, or another process has it")

// work is one job in the hands of this process.
type work struct {
	*Runner
	job  outbox.Job
	seen int // letters that this process has looked at
}

// save writes what change makes of the job. If a person changed its state meanwhile, what was counted is written all
// the same, and the error is errLost.
func (w *work) save(ctx context.Context, change func(*outbox.Job)) error {
	ctx = context.WithoutCancel(ctx) // what was done is written
	for {
		next := w.job
		change(&next)
		next.Lease.Until = w.Now().Add(lease)
		if next.State != outbox.JobRunning {
			next.Lease = outbox.JobLease{}
		}
		saved, err := w.Jobs.SaveJob(ctx, next)
		if err == nil {
			w.job = saved
			if saved.State != outbox.JobRunning {
				return errLost
			}
			return nil
		}
		if !errors.Is(err, outbox.ErrChanged) {
			return err
		}
		fresh, err := w.Jobs.Job(ctx, w.job.ID)
		if err != nil {
			return err
		}
		if fresh.Lease.Token != w.job.Lease.Token {
			return errLost
		}
		w.job = fresh
	}
}

func (w *work) run(ctx context.Context) error {
	if err := w.recover(ctx); err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return w.release(ctx, err)
		}
		room, err := w.ramp(ctx)
		if err != nil {
			return err
		}
		if room == 0 { // it waits to see what becomes of the letters so far
			if err := w.wait(ctx, idle); err != nil {
				return err
			}
			continue
		}
		if soon := w.Now().Add(ahead); w.job.Rate > 0 && w.job.Due.After(soon) {
			if err := w.wait(ctx, min(w.job.Due.Sub(soon), idle)); err != nil {
				return err
			}
			continue
		}
		if err := w.batch(ctx, min(room, batch, w.paced())); err != nil {
			return err
		}
	}
}

// release gives the job back, so that another process goes on with it at once.
func (w *work) release(ctx context.Context, because error) error {
	err := w.save(ctx, func(*outbox.Job) {})
	if err != nil {
		return err
	}
	freed := w.job
	freed.Lease = outbox.JobLease{}
	if _, err := w.Jobs.SaveJob(context.WithoutCancel(ctx), freed); err != nil && !errors.Is(err, outbox.ErrChanged) {
		return err
	}
	return because
}

// wait waits, and finds out whether the job still runs.
func (w *work) wait(ctx context.Context, d time.Duration) error {
	if err := timing.Sleep(ctx, d); err != nil {
		return w.release(ctx, err)
	}
	return w.save(ctx, func(*outbox.Job) {})
}

// paced is how many letters the rate allows within the time that due_at may be set ahead.
func (w *work) paced() int {
	if w.job.Rate == 0 {
		return batch
	}
	return max(1, int(w.job.Rate*ahead.Seconds()))
}

// ramp returns how many letters may go now; 0: none before more is known of those that went.
func (w *work) ramp(ctx context.Context) (int, error) {
	before := 0
	for _, step := range w.job.Ramp {
		if went := len(w.job.Canaries); went < before+step {
			if went > before || before == 0 {
				return before + step - went, nil
			}
			known, err := w.canaries(ctx)
			if err != nil || !known {
				return 0, err
			}
			return step, nil
		}
		before += step
	}
	if len(w.job.Ramp) == 0 || w.job.Counts.Went > int64(before) || w.job.Counts.Done+w.job.Counts.DiedAgain >= int64(before) {
		return batch, nil
	}
	known, err := w.canaries(ctx)
	if err != nil || !known {
		return 0, err
	}
	return batch, nil
}

// canaries looks at what became of the letters of the ramp, by their names alone. It reports whether all have ended. If
// too many died again, the job stops itself.
func (w *work) canaries(ctx context.Context) (known bool, err error) {
	var done, died int64
	for _, name := range w.job.Canaries {
		in, err := w.Reader.Look(ctx, name)
		switch {
		case errors.Is(err, outbox.ErrNotFound): // done, and deleted since
			done++
		case err != nil:
			return false, err
		case in.Status == outbox.StatusDead:
			died++
		case in.Status.Final():
			done++
		}
	}
	ended := done + died
	stop := float64(died) > outbox.MostDiedAgain*float64(len(w.job.Canaries))
	if done != w.job.Counts.Done || died != w.job.Counts.DiedAgain || stop {
		err = w.save(ctx, func(j *outbox.Job) {
			j.Counts.Done, j.Counts.DiedAgain = done, died
			if stop && j.State == outbox.JobRunning {
				j.State, j.Finished = outbox.JobStopped, w.Now()
				j.Note = "it stopped itself: too many of its first letters died again"
			}
		})
	}
	return ended == int64(len(w.job.Canaries)), err
}

// letter is one of a batch, with what became of it.
type letter struct {
	in    outbox.Snapshot
	act   outbox.Act
	retry outbox.DeadRetry
	hand  outbox.Hand
	err   error
}

// batch changes the next letters, so many at most.
func (w *work) batch(ctx context.Context, most int) error {
	found, cursor, err := w.page(ctx, most)
	if err != nil {
		return err
	}
	var going []*letter
	var names []string
	counts := outbox.JobCounts{Refused: map[string]int64{}}
	due := w.job.Due
	var acts []outbox.Act
	for _, in := range found.letters {
		w.seen++
		if in.DoneBy(w.job.ID) { // it came again after a crash
			continue
		}
		counts.Seen++
		act := outbox.Act{Who: w.job.By, Via: "job", Op: string(w.job.Op), On: in.Name, Why: w.job.Why, Job: w.job.ID, Before: "dead (" + string(in.DeadReason) + ")"}
		l := &letter{in: in, hand: outbox.Hand{By: w.job.By, Why: w.job.Why, Job: w.job.ID}}
		if l.retry, l.err = w.decide(in); l.err != nil {
			counts.Refused[admin.Reason(l.err)]++
			act.Outcome, act.Code = outbox.ActRefused, admin.Reason(l.err)
			told, err := w.told(ctx, act)
			if err != nil {
				return err
			}
			if told {
				continue
			}
			acts = append(acts, act)
			continue
		}
		if w.job.Rate > 0 {
			due = later(due.Add(time.Duration(float64(time.Second)/w.job.Rate)), w.Now())
			l.hand.Due = due
		}
		act.Outcome = outbox.ActBegun
		l.act = act
		going, names, acts = append(going, l), append(names, in.Name), append(acts, act)
	}
	counts.Seen += found.missing
	if found.missing > 0 {
		counts.Refused[string(admin.IntentNotFound)] += found.missing
	}
	if len(going) > 0 {
		if err := w.save(ctx, func(j *outbox.Job) { j.Batch = names }); err != nil {
			return err
		}
	}
	begun, err := w.Audit.Begin(ctx, acts...)
	if err != nil {
		return err
	}
	i := 0
	for _, act := range begun {
		if act.Outcome == outbox.ActBegun {
			going[i].act = act
			i++
		}
	}
	w.change(ctx, going)
	var went []string
	var failure error
	ends := make([]outbox.Act, len(going))
	for i, l := range going {
		ends[i] = l.act
		switch {
		case l.err == nil:
			counts.Went++
			went = append(went, l.in.Name)
			ends[i].Outcome, ends[i].After = outbox.ActDone, after(w.job.Op)
		case errors.Is(l.err, outbox.ErrChanged):
			counts.Changed++
			ends[i].Outcome, ends[i].Code = outbox.ActRefused, string(admin.Changed)
		default:
			failure = l.err
			ends[i].Outcome = outbox.ActFailed
		}
	}
	if err := w.Audit.End(context.WithoutCancel(ctx), ends...); err != nil {
		return err
	}
	if failure != nil { // who goes on looks at the batch first, and at what is left of it again
		return failure
	}
	return w.save(ctx, func(j *outbox.Job) {
		j.Batch, j.Cursor, j.Due = nil, cursor, due
		j.Counts = plus(j.Counts, counts)
		j.Canaries = append(append([]string(nil), j.Canaries...), went[:min(len(went), max(0, rampSum(j.Ramp)-len(j.Canaries)))]...)
		if found.last && j.State == outbox.JobRunning {
			j.State, j.Finished = outbox.JobDone, w.Now()
		}
	})
}

// told reports whether the process that had the job before recorded this refusal already. It can have done so only for
// the page that it left unfinished.
func (w *work) told(ctx context.Context, refusal outbox.Act) (bool, error) {
	if w.seen > batch {
		return false, nil
	}
	acts, err := w.Audit.Acts(ctx, outbox.ActFilter{On: refusal.On, Job: refusal.Job})
	return slices.ContainsFunc(acts, func(a outbox.Act) bool { return a.Outcome == outbox.ActRefused && a.Code == refusal.Code }), err
}

// change changes the letters, several at once. Each is begun, so none is left half-way.
func (w *work) change(ctx context.Context, going []*letter) {
	ctx = context.WithoutCancel(ctx)
	next := make(chan *letter)
	var group sync.WaitGroup
	for range min(parallel, len(going)) {
		group.Go(func() {
			for l := range next {
				if w.job.Op == outbox.JobDiscard {
					l.err = w.Operator.Discard(ctx, l.in, l.hand)
				} else {
					l.err = w.Operator.Retry(ctx, l.in, l.retry, l.hand)
				}
			}
		})
	}
	for _, l := range going {
		next <- l
	}
	close(next)
	group.Wait()
}

// found is a page of letters.
type found struct {
	letters []outbox.Snapshot
	missing int64 // named, and no longer there
	last    bool
}

// page reads the next letters, and where the page after them begins.
func (w *work) page(ctx context.Context, most int) (found, string, error) {
	if len(w.job.IDs) == 0 {
		search := w.job.Filter
		search.Stage, search.After, search.Limit = outbox.StageDead, w.job.Cursor, most
		page, err := w.Reader.Find(ctx, search)
		return found{letters: page.Items, last: page.Next == ""}, page.Next, err
	}
	var f found
	names := w.job.IDs[min(len(w.job.IDs), position(w.job.Cursor)):]
	f.last = len(names) <= most
	names = names[:min(len(names), most)]
	for _, name := range names {
		in, err := w.Reader.Look(ctx, name)
		if errors.Is(err, outbox.ErrNotFound) {
			f.missing++
			continue
		}
		if err != nil {
			return f, "", err
		}
		f.letters = append(f.letters, in)
	}
	return f, place(position(w.job.Cursor) + len(names)), nil
}

// decide asks the rules about a letter.
func (w *work) decide(in outbox.Snapshot) (outbox.DeadRetry, error) {
	policy := w.Policy(in.Kind)
	if w.job.Op == outbox.JobDiscard {
		return outbox.DeadRetry{}, outbox.Discard(in.Intent, policy)
	}
	return outbox.RetryDead(in.Intent, policy, w.job.Even, w.Now())
}

// recover finds out what became of a batch that another process left unfinished.
func (w *work) recover(ctx context.Context) error {
	if len(w.job.Batch) == 0 {
		return nil
	}
	var went []string
	var ends []outbox.Act
	for _, name := range w.job.Batch {
		in, err := w.Reader.Look(ctx, name)
		gone := errors.Is(err, outbox.ErrNotFound)
		if err != nil && !gone {
			return err
		}
		changed := gone || in.DoneBy(w.job.ID)
		if changed {
			went = append(went, name)
		}
		acts, err := w.Audit.Acts(ctx, outbox.ActFilter{On: name, Job: w.job.ID})
		if err != nil {
			return err
		}
		for _, act := range acts {
			if act.Outcome != outbox.ActBegun {
				continue
			}
			if act.Outcome, act.Code = outbox.ActFailed, "interrupted"; changed {
				act.Outcome, act.Code, act.After = outbox.ActDone, "", after(w.job.Op)
			}
			ends = append(ends, act)
		}
	}
	if err := w.Audit.End(ctx, ends...); err != nil {
		return err
	}
	return w.save(ctx, func(j *outbox.Job) {
		j.Batch = nil
		j.Counts.Seen += int64(len(went))
		j.Counts.Went += int64(len(went))
		j.Canaries = append(append([]string(nil), j.Canaries...), went[:min(len(went), max(0, rampSum(j.Ramp)-len(j.Canaries)))]...)
	})
}
