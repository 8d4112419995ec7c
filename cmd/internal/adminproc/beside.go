package adminproc

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/cmd/internal/doctor"
	"github.com/outboxd/outboxd/internal/timing"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

const (
	jobsEvery  = 15 * time.Second // between two counts of the jobs, with jitter
	jobsMost   = 500              // jobs that are counted, the newest
	jobStalled = 10 * time.Minute // without progress
	readyTime  = 2 * time.Second
)

// countJobs shows the jobs in the metrics until ctx ends.
func (p *process) countJobs(ctx context.Context) {
	type progress struct {
		seen  int64
		since time.Time
	}
	last := make(map[string]progress)
	for {
		asking, cancel := context.WithTimeout(ctx, askTime)
		list, err := p.desk.Jobs(asking, jobsMost)
		cancel()
		if err != nil && ctx.Err() == nil {
			p.Logger.Warn("counting the jobs failed; it is tried again", "err", err)
		}
		if err == nil {
			states, stalled, now := make(map[string]int), 0, make(map[string]progress)
			for _, j := range list {
				states[string(j.State)]++
				if j.State != outbox.JobRunning {
					continue
				}
				at, known := last[j.ID]
				if done := j.Counts.Seen + j.Counts.Done + j.Counts.DiedAgain; !known || at.seen != done {
					at = progress{done, time.Now()}
				}
				if now[j.ID] = at; time.Since(at.since) > jobStalled {
					stalled++
				}
			}
			last = now
			p.counts.Jobs(states, stalled)
		}
		if timing.Sleep(ctx, timing.Jitter(jobsEvery)) != nil {
			return
		}
	}
}

// takeCensus keeps the figures new where no worker does: often while somebody looks, else once a minute.
func (p *process) takeCensus(ctx context.Context) {
	var kinds []string
	for _, l := range p.Config.Lanes {
		kinds = append(kinds, l.Kind)
	}
	for taken := time.Now(); ; {
		if timing.Sleep(ctx, timing.Jitter(store.CensusEvery)) != nil {
			return
		}
		if !p.hub.Listened() && time.Since(taken) < time.Minute {
			continue
		}
		taken = time.Now()
		if _, err := p.db.TakeCensus(ctx, p.name, kinds); err != nil && ctx.Err() == nil {
			p.Logger.Debug("the census is not whole; pages show older figures", "err", err)
		}
	}
}

// physician is the doctor of the service.
type physician struct{ *process }

// Diagnose makes the checks of `outboxd doctor`, without asking the providers.
func (d physician) Diagnose(ctx context.Context) ([]admin.Line, error) {
	var lines []admin.Line
	_, err := doctor.Examine(ctx, doctor.Patient{Store: d.db, Schema: d.schema, Collection: d.Config.Mongo.Collection, Providers: d.Config.Providers},
		func(f doctor.Finding) error {
			text := f.Detail
			if f.Remedy != "" {
				text += ". To do: " + f.Remedy
			}
			lines = append(lines, admin.Line{Check: f.Check, OK: f.OK, Text: text})
			return nil
		})
	return lines, err
}

// answers keeps what changes with an Idempotency-Key were answered.
type answers struct{ *store.Desk }

// Reserve makes the key this request's, or returns what was sent and answered before.
func (a answers) Reserve(ctx context.Context, key, print string) (before string, kept admin.Answer, err error) {
	k, fresh, err := a.ReserveAnswer(ctx, key, print)
	if fresh || err != nil {
		return "", admin.Answer{}, err
	}
	return k.Print, admin.Answer{Status: k.Status, Type: k.Type, Body: k.Body}, nil
}

// Keep keeps an answer.
func (a answers) Keep(ctx context.Context, key string, answer admin.Answer) error {
	return a.KeepAnswer(ctx, key, store.Kept{Status: answer.Status, Type: answer.Type, Body: answer.Body})
}

// Release forgets a key.
func (a answers) Release(ctx context.Context, key string) error { return a.ReleaseAnswer(ctx, key) }

// readiness answers /readyz.
type readiness struct {
	ask      func(context.Context) error
	stopping atomic.Bool
}

func (r *readiness) stop() { r.stopping.Store(true) }

// ServeHTTP says whether people can be served, and if not, why.
func (r *readiness) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithTimeout(req.Context(), readyTime)
	defer cancel()
	answer := struct {
		Ready   bool     `json:"ready"`
		Reasons []string `json:"reasons,omitempty"`
	}{Ready: true}
	if err := r.ask(ctx); err != nil {
		answer.Ready, answer.Reasons = false, append(answer.Reasons, err.Error())
	}
	if r.stopping.Load() {
		answer.Ready, answer.Reasons = false, append(answer.Reasons, "the process is stopping")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !answer.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(answer) // a client that left does not want it
}
