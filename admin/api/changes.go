package api

import (
	"context"
	"net/http"

	"github.com/outboxd/outboxd/admin"
)

type because struct {
	Why string `json:"why"`
}

type retryBody struct {
	Why       string `json:"why"`
	EvenFinal bool   `json:"even_final"`
}

type resolveBody struct {
	Why      string `json:"why"`
	Sent     *bool  `json:"sent"`
	Evidence string `json:"evidence"`
}

// payloadPath ends the path that shows a payload. No answer of it is kept.
const payloadPath = "/payload"

// Paths of what takes longer than other reads.
const (
	evidencePath = "/evidence"
	doctorPath   = "/doctor"
)

type revealed struct{ Payload any }

type rateBody struct {
	Why  string   `json:"why"`
	Rate *float64 `json:"rate"` // calls a second; 0 takes it back
}

type laneChange struct {
	Kind    string
	Changed bool // false: it was so before
}

func (a *API) changes() {
	post := func(id, path, summary string, role admin.Role) what {
		return what{id: id, method: http.MethodPost, path: path, summary: summary, role: role}
	}
	registerBody(a, post("revealPayload", "/intents/{id}"+payloadPath, "See the payload, on record", admin.RoleReveal), func(ctx context.Context, c call, in because) (revealed, error) {
		name, err := intentOf(c)
		if err != nil {
			return revealed{}, err
		}
		payload, err := a.service.Reveal(ctx, c.actor, name, in.Why)
		return revealed{payload}, err
	})
	register(a, what{id: "askProvider", method: http.MethodGet, path: "/intents/{id}" + evidencePath, summary: "Ask the provider what its records show of an intent", role: admin.RoleOperate},
		func(ctx context.Context, c call) (admin.Evidence, error) {
			name, err := intentOf(c)
			if err != nil {
				return admin.Evidence{}, err
			}
			return a.service.Ask(ctx, c.actor, name)
		})
	registerBody(a, post("pauseLane", "/lanes/{kind}/pause", "Pause a lane", admin.RoleOperate), func(ctx context.Context, c call, in because) (laneChange, error) {
		return laneChange{c.path("kind"), true}, a.service.PauseLane(ctx, c.actor, c.path("kind"), in.Why)
	})
	registerBody(a, post("resumeLane", "/lanes/{kind}/resume", "End a pause or a hold of a lane", admin.RoleOperate), func(ctx context.Context, c call, in because) (laneChange, error) {
		stood, err := a.service.ResumeLane(ctx, c.actor, c.path("kind"), in.Why)
		return laneChange{c.path("kind"), stood}, err
	})
	registerBody(a, post("setLaneRate", "/lanes/{kind}/rate", "Slow a lane down to so many calls a second; 0 takes that back", admin.RoleOperate), func(ctx context.Context, c call, in rateBody) (laneChange, error) {
		if in.Rate == nil { // silence takes nothing back
			return laneChange{}, transport(http.StatusBadRequest, "bad_body", "rate is missing: calls a second, or 0 to take it back")
		}
		changed, err := a.service.SetRate(ctx, c.actor, c.path("kind"), *in.Rate, in.Why)
		return laneChange{c.path("kind"), changed}, err
	})
	registerBody(a, post("cancelIntent", "/intents/{id}/cancel", "Cancel what surely was not sent", admin.RoleOperate), func(ctx context.Context, c call, in because) (admin.Change, error) {
		name, err := intentOf(c)
		if err != nil {
			return admin.Change{}, err
		}
		return a.service.Cancel(ctx, c.actor, name, in.Why)
	})
	registerBody(a, post("retryIntent", "/intents/{id}/retry", "Retry a dead letter", admin.RoleOperate), func(ctx context.Context, c call, in retryBody) (admin.Change, error) {
		name, err := intentOf(c)
		if err != nil {
			return admin.Change{}, err
		}
		return a.service.Retry(ctx, c.actor, name, in.Why, in.EvenFinal)
	})
	registerBody(a, post("resolveIntent", "/intents/{id}/resolve", "Say whether an ambiguous intent was sent", admin.RoleOperate), func(ctx context.Context, c call, in resolveBody) (admin.Change, error) {
		name, err := intentOf(c)
		if err != nil {
			return admin.Change{}, err
		}
		if in.Sent == nil { // silence is no verdict
			return admin.Change{}, transport(http.StatusBadRequest, "bad_body", "sent is missing: true or false")
		}
		return a.service.Resolve(ctx, c.actor, name, in.Why, *in.Sent, in.Evidence)
	})
	registerBody(a, post("discardIntent", "/intents/{id}/discard", "Discard a dead letter", admin.RoleOperate), func(ctx context.Context, c call, in because) (admin.Change, error) {
		name, err := intentOf(c)
		if err != nil {
			return admin.Change{}, err
		}
		return a.service.Discard(ctx, c.actor, name, in.Why)
	})
}
