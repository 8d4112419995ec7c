package api

import (
	"context"
	"net/http"
	"time"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/outbox"
)

// filterBody chooses dead letters.
type filterBody struct {
	Kind         string            `json:"kind"`
	Reason       string            `json:"reason"`
	Code         string            `json:"code"`
	ProviderCode string            `json:"provider_code"`
	Metadata     map[string]string `json:"metadata"`
	Since        time.Time         `json:"since"`
	Until        time.Time         `json:"until"`
}

type jobBody struct {
	Op        string     `json:"op"`
	Filter    filterBody `json:"filter"`
	IDs       []string   `json:"ids"`
	Why       string     `json:"why"`
	Rate      float64    `json:"rate"`
	Ramp      []int      `json:"ramp"`
	EvenFinal bool       `json:"even_final"`
}

func (a *API) jobs() {
	register(a, what{id: "listJobs", method: http.MethodGet, path: "/jobs", summary: "List the newest jobs", role: admin.RoleRead, query: []string{"limit"}},
		func(ctx context.Context, c call) (page[admin.JobView], error) {
			limit, err := c.limit()
			if err != nil {
				return page[admin.JobView]{}, err
			}
			jobs, err := a.service.AllJobs(ctx, c.actor, limit)
			return page[admin.JobView]{Items: jobs}, err
		})
	register(a, what{id: "getJob", method: http.MethodGet, path: "/jobs/{id}", summary: "See one job", role: admin.RoleRead}, func(ctx context.Context, c call) (admin.JobView, error) {
		return a.service.JobOf(ctx, c.actor, c.path("id"))
	})
	registerBody(a, what{id: "planJob", method: http.MethodPost, path: "/jobs", summary: "Plan a job: a dry run, which changes nothing", role: admin.RoleOperate, status: http.StatusCreated}, a.plan)
	register(a, what{id: "startJob", method: http.MethodPost, path: "/jobs/{id}/start", summary: "Start a job, or go on with it", role: admin.RoleOperate}, func(ctx context.Context, c call) (admin.JobView, error) {
		return a.service.Start(ctx, c.actor, c.path("id"))
	})
	for _, m := range []struct {
		id, verb, summary string
		role              admin.Role
		move              func(context.Context, admin.Actor, string, string) (admin.JobView, error)
	}{
		{"pauseJob", "pause", "Pause a job", admin.RoleOperate, a.service.PauseJob},
		{"stopJob", "stop", "End a job", admin.RoleOperate, a.service.StopJob},
		{"approveJob", "approve", "Agree to somebody else's job", admin.RoleApprove, a.service.Approve},
	} {
		registerBody(a, what{id: m.id, method: http.MethodPost, path: "/jobs/{id}/" + m.verb, summary: m.summary, role: m.role}, func(ctx context.Context, c call, in because) (admin.JobView, error) {
			return m.move(ctx, c.actor, c.path("id"), in.Why)
		})
	}
}

func (a *API) plan(ctx context.Context, c call, in jobBody) (admin.JobView, error) {
	r := admin.JobRequest{Op: outbox.JobOp(in.Op), Why: in.Why, Rate: in.Rate, Ramp: in.Ramp, EvenFinal: in.EvenFinal, Filter: outbox.Search{
		Kind: in.Filter.Kind, Reason: outbox.DeadReason(in.Filter.Reason), Code: in.Filter.Code, ProviderCode: in.Filter.ProviderCode,
		Metadata: in.Filter.Metadata, Since: in.Filter.Since, Until: in.Filter.Until,
	}}
	if r.Op != outbox.JobRetry && r.Op != outbox.JobDiscard {
		return admin.JobView{}, transport(http.StatusBadRequest, "bad_body", "op must be retry or discard")
	}
	for _, id := range in.IDs {
		name, ok := nameOf(id)
		if !ok {
			return admin.JobView{}, transport(http.StatusBadRequest, "bad_body", "ids must be those of a list")
		}
		r.IDs = append(r.IDs, name)
	}
	return a.service.Plan(ctx, c.actor, r)
}
