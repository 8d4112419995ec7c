package page

import (
	"cmp"
	"errors"
	"net/url"
	"strconv"
	"time"

	"github.com/a-h/templ"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/outbox"
)

func (p *Page) dead(c *call) (content, error) {
	v := content{title: "Dead letters", every: everyMore}
	groups, err := polled(c, func() ([]outbox.Group, error) { return p.service.Groups(c.Context(), c.actor, c.query("kind")) })
	if err != nil {
		return v, err
	}
	v.live = deadView(c, groups, time.Now())
	return v, nil
}

// remedyOf says what a dead letter wants of a person.
func remedyOf(reason outbox.DeadReason, code string) string {
	switch reason {
	case outbox.ReasonExhausted:
		return "The last attempt had no effect. Retry once the provider works again."
	case outbox.ReasonAmbiguous:
		return "Ask the provider, then say whether it was sent."
	case outbox.ReasonExpired:
		return "Its time is over, so it is never sent. Write a new intent if it is still wanted."
	case outbox.ReasonInvalid:
		return "It breaks the contract. Mend the program that writes it."
	case outbox.ReasonPermanent:
	}
	for _, known := range outbox.Codes() {
		if known.Code == code {
			return known.Remedy
		}
	}
	return ""
}

// finalWhy says why the rules refuse to repeat what a group died of, whoever is in it; empty: they do not.
func finalWhy(g outbox.Group, now time.Time) string {
	like := &outbox.Intent{Kind: g.Kind, Status: outbox.StatusDead, DeadReason: g.Reason,
		Document: map[string]any{"last_error": map[string]any{"code": g.Code}}}
	_, err := outbox.RetryDead(like, outbox.Policy{}, false, now)
	if refusal, ok := errors.AsType[*outbox.Refusal](err); ok && refusal.Cause == outbox.RefusedFinal {
		return refusal.Why
	}
	return ""
}

func groupQuery(g outbox.Group) []string {
	return []string{"kind", g.Kind, "reason", string(g.Reason), "code", g.Code, "provider_code", g.ProviderCode}
}

func groupLetters(c *call, g outbox.Group) templ.SafeURL {
	return c.link("/intents", append([]string{"status", string(outbox.StageDead)}, groupQuery(g)...)...)
}

func groupPlan(c *call, op outbox.JobOp, g outbox.Group) templ.SafeURL {
	return c.link("/dead/plan", append([]string{"op", string(op)}, groupQuery(g)...)...)
}

// wish is what a person wants a job to do, as the form has it.
type wish struct {
	admin.JobRequest
	since, until, rate string
	ramp               bool
	hidden             [][2]string // what the form carries along
}

// wishOf reads a form or a query.
func wishOf(values url.Values, posted bool) (wish, error) {
	get := func(name string) string { return trim(values.Get(name)) }
	w := wish{since: get("since"), until: get("until"), rate: get("rate"), ramp: !posted || values.Get("ramp") != ""}
	w.Op, w.Why, w.EvenFinal = outbox.JobOp(cmp.Or(get("op"), string(outbox.JobRetry))), values.Get("why"), values.Get("even") != ""
	w.Filter = outbox.Search{Kind: get("kind"), Reason: outbox.DeadReason(get("reason")), Code: get("code"), ProviderCode: get("provider_code")}
	for _, name := range []string{"op", "kind", "reason", "code", "provider_code", "since", "until"} {
		if value := get(name); value != "" {
			w.hidden = append(w.hidden, [2]string{name, value})
		}
	}
	for _, id := range values["letter"] {
		name, ok := nameOf(id)
		if !ok {
			return w, errStrange
		}
		w.IDs, w.hidden = append(w.IDs, name), append(w.hidden, [2]string{"letter", id})
	}
	if !w.ramp || w.Op == outbox.JobDiscard {
		w.Ramp = []int{}
	}
	var err error
	if w.rate != "" {
		if w.Rate, err = strconv.ParseFloat(w.rate, 64); err != nil {
			return w, &badField{"the rate is a number of letters a second, such as 5 or 0.5"}
		}
	}
	if w.Filter.Since, err = instant(w.since, time.Now()); err != nil {
		return w, err
	}
	w.Filter.Until, err = instant(w.until, time.Now())
	return w, err
}

// planning is the form for a dry run.
func (p *Page) planning(c *call) (content, error) {
	values := c.URL.Query()
	if c.PostForm != nil {
		values = c.PostForm
	}
	w, err := wishOf(values, c.PostForm != nil)
	v := content{title: "Plan a retry"}
	if w.Op == outbox.JobDiscard {
		v.title = "Plan a discard"
	}
	if c.problem != "" {
		err = nil // it is said already
	}
	v.rest = planForm(c, w)
	return v, err
}

func (p *Page) plan(c *call) (to string, err error) {
	w, err := wishOf(c.PostForm, true)
	if err != nil {
		return "", err
	}
	job, err := p.service.Plan(c.Context(), c.as(admin.RoleOperate), w.JobRequest)
	return "/jobs/" + job.ID + "?did=plan", err
}
