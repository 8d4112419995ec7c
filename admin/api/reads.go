package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/outbox"
)

// page is one page of a list.
type page[T any] struct {
	Items []T
	Next  string
}

var searchQuery = []string{"id", "kind", "status", "reason", "code", "provider_code", "meta.*", "provider_id", "since", "until", "after", "limit", "format"}

// get describes an operation that reads.
func get(id, path, summary string, query ...string) what {
	return what{id: id, method: http.MethodGet, path: path, summary: summary, role: admin.RoleRead, query: query}
}

func findIntents() what {
	return get("findIntents", "/intents", "Find intents; with format=ndjson all that fit, one a line", searchQuery...)
}

func listActs() what {
	return get("listActs", "/audit", "See what people did: all of it with the role operate, else your own; with format=ndjson one record a line",
		"who", "on", "job", "op", "since", "after", "limit", "format")
}

func (a *API) reads() {
	register(a, get("getOverview", "/overview", "See how the outbox stands"), func(ctx context.Context, c call) (admin.Overview, error) {
		return a.service.Overview(ctx, c.actor)
	})
	register(a, get("listLanes", "/lanes", "List the lanes"), func(ctx context.Context, c call) (page[admin.Lane], error) {
		lanes, err := a.service.Lanes(ctx, c.actor)
		return page[admin.Lane]{Items: lanes}, err
	})
	register(a, get("getLane", "/lanes/{kind}", "See one lane"), a.lane)
	register(a, get("listWorkers", "/workers", "List the workers"), func(ctx context.Context, c call) (page[outbox.Worker], error) {
		workers, err := a.service.Workers(ctx, c.actor)
		return page[outbox.Worker]{Items: workers}, err
	})
	register(a, findIntents(), a.find)
	register(a, get("getIntent", "/intents/{id}", "See one intent, masked"), func(ctx context.Context, c call) (admin.Shown, error) {
		name, err := intentOf(c)
		if err != nil {
			return admin.Shown{}, err
		}
		return a.service.Show(ctx, c.actor, name)
	})
	register(a, get("groupDead", "/dead/groups", "Group dead letters by kind, reason and code", "kind"), func(ctx context.Context, c call) (page[outbox.Group], error) {
		groups, err := a.service.Groups(ctx, c.actor, c.query("kind"))
		return page[outbox.Group]{Items: groups}, err
	})
	register(a, get("getRates", "/rates", "See the figures of each minute", "kind", "from", "until"), a.rates)
	register(a, get("diagnose", doctorPath, "Check the deployment"), func(ctx context.Context, c call) (page[admin.Line], error) {
		lines, err := a.service.Diagnose(ctx, c.actor)
		return page[admin.Line]{Items: lines}, err
	})
	register(a, listActs(), a.acts)
}

func (a *API) lane(ctx context.Context, c call) (admin.Lane, error) {
	lanes, err := a.service.Lanes(ctx, c.actor)
	if err != nil {
		return admin.Lane{}, err
	}
	if i := slices.IndexFunc(lanes, func(l admin.Lane) bool { return l.Kind == c.path("kind") }); i >= 0 {
		return lanes[i], nil
	}
	return admin.Lane{}, &admin.Error{Code: admin.LaneUnknown, Text: "this deployment has no lane of that kind"}
}

func (a *API) find(ctx context.Context, c call) (page[admin.Row], error) {
	s := outbox.Search{ID: c.query("id"), Kind: c.query("kind"), Stage: outbox.Stage(c.query("status")), Reason: outbox.DeadReason(c.query("reason")),
		Code: c.query("code"), ProviderCode: c.query("provider_code"), ProviderID: c.query("provider_id")}
	for name := range c.r.URL.Query() {
		if key, ok := strings.CutPrefix(name, "meta."); ok {
			if s.Metadata == nil {
				s.Metadata = make(map[string]string)
			}
			s.Metadata[key] = c.query(name)
		}
	}
	list := c.listOf("intents")
	var errs [4]error
	s.Since, errs[0] = c.instant("since")
	s.Until, errs[1] = c.instant("until")
	s.Limit, errs[2] = c.limit()
	s.After, errs[3] = a.unseal(list, c.query("after"))
	for _, err := range errs {
		if err != nil {
			return page[admin.Row]{}, err
		}
	}
	switch s.Stage {
	case "", outbox.StageWaiting, outbox.StageInDoubt, outbox.StageDone, outbox.StageDead, outbox.StageCancelled:
	default:
		return page[admin.Row]{}, transport(http.StatusBadRequest, "bad_query", "status must be waiting, in-doubt, done, dead or cancelled")
	}
	found, err := a.service.Find(ctx, c.actor, s)
	return page[admin.Row]{Items: found.Rows, Next: a.seal(list, found.Next)}, err
}

func (a *API) rates(ctx context.Context, c call) (page[outbox.RateMinute], error) {
	from, err := c.instant("from")
	if err != nil {
		return page[outbox.RateMinute]{}, err
	}
	until, err := c.instant("until")
	if err != nil {
		return page[outbox.RateMinute]{}, err
	}
	minutes, err := a.service.Rates(ctx, c.actor, c.query("kind"), from, until)
	return page[outbox.RateMinute]{Items: minutes}, err
}

func (a *API) acts(ctx context.Context, c call) (page[outbox.Act], error) {
	f := outbox.ActFilter{Who: c.query("who"), On: c.query("on"), Job: c.query("job"), Op: c.query("op")}
	list := c.listOf("audit")
	var errs [3]error
	f.Since, errs[0] = c.instant("since")
	f.Limit, errs[1] = c.limit()
	f.Before, errs[2] = a.unseal(list, c.query("after"))
	for _, err := range errs {
		if err != nil {
			return page[outbox.Act]{}, err
		}
	}
	acts, err := a.service.Acts(ctx, c.actor, f)
	p := page[outbox.Act]{Items: acts}
	if n := len(acts); n > 0 && n == f.Limit {
		p.Next = a.seal(list, acts[n-1].ID)
	}
	return p, err
}

// listOf names a list with its filter: a cursor is good for that alone.
func (c call) listOf(name string) string {
	query := c.r.URL.Query()
	for _, shape := range []string{"after", "limit", "format"} { // of the answer, not of the list
		query.Del(shape)
	}
	return name + "?" + query.Encode()
}

func (c call) instant(name string) (time.Time, error) {
	text := c.query(name)
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, transport(http.StatusBadRequest, "bad_query", "%s must be an instant like 2026-11-27T02:14:00Z", name)
	}
	return at, nil
}

const (
	defaultLimit = 50
	maxLimit     = 500
)

func (c call) limit() (int, error) {
	text := c.query("limit")
	if format := c.query("format"); format != "" && format != "json" && format != ndjson {
		return 0, transport(http.StatusBadRequest, "bad_query", "format must be json or ndjson")
	}
	if text == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		return 0, transport(http.StatusBadRequest, "bad_query", "limit must be 1 to %d", maxLimit)
	}
	return n, nil
}

func intentOf(c call) (string, error) {
	name, ok := nameOf(c.path("id"))
	if !ok {
		return "", transport(http.StatusBadRequest, "bad_id", "the id in the path must be the `id` of a list: the name in base64url")
	}
	return name, nil
}
