package page

import (
	"cmp"
	"maps"
	"net/url"
	"slices"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/outbox"
)

const jobsShown = 100

func (p *Page) jobs(c *call) (content, error) {
	v := content{title: "Jobs", every: everyFew}
	list, err := polled(c, func() ([]admin.JobView, error) { return p.service.AllJobs(c.Context(), c.actor, jobsShown) })
	if err != nil {
		return v, err
	}
	v.live = jobsView(c, list)
	return v, nil
}

func (p *Page) job(c *call) (content, error) {
	job, err := p.service.JobOf(c.Context(), c.actor, c.PathValue("id"))
	if err != nil {
		return content{}, err
	}
	acts, err := p.service.Acts(c.Context(), c.actor, outbox.ActFilter{Job: job.ID, Limit: 20})
	if err != nil {
		return content{}, err
	}
	v := content{title: "Job " + job.ID, live: jobView(c, job, acts)}
	if !job.State.Ended() {
		v.every = everyFew / 2
	}
	return v, nil
}

func (p *Page) moveJob(c *call) (to string, err error) {
	id, op, why := c.PathValue("id"), c.PathValue("op"), c.PostForm.Get("why")
	ctx, operator := c.Context(), c.as(admin.RoleOperate)
	switch op {
	case "start":
		_, err = p.service.Start(ctx, operator, id)
	case "pause":
		_, err = p.service.PauseJob(ctx, operator, id, why)
	case "stop":
		_, err = p.service.StopJob(ctx, operator, id, why)
	case "approve":
		_, err = p.service.Approve(ctx, c.as(admin.RoleApprove), id, why)
	default:
		return "", errNoView
	}
	return "/jobs/" + url.PathEscape(id) + "?did=" + op, err
}

// count is a figure under a name.
type count struct {
	name string
	n    int64
}

// counted lists refusals, the largest first.
func counted(m map[string]int64) []count {
	var list []count
	for _, name := range slices.Sorted(maps.Keys(m)) {
		list = append(list, count{name, m[name]})
	}
	slices.SortStableFunc(list, func(a, b count) int { return cmp.Compare(b.n, a.n) })
	return list
}

// refusedBecause says a job's reason for a refusal in words.
func refusedBecause(reason string) string {
	switch admin.Code(reason) {
	case admin.AmbiguousVerdict:
		return "ambiguous: a person must say first whether they were sent"
	case admin.FinalForRecipient:
		return "the provider refused them for good"
	case admin.Expired:
		return "their time is over"
	case admin.MayHaveActed:
		return "the provider may have acted"
	case admin.Changed:
		return "changed meanwhile"
	case admin.IntentNotFound:
		return "not there any more"
	default:
		return clean(reason)
	}
}
