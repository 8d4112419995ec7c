package page

import (
	"slices"
	"strconv"
	"time"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/outbox"
)

func (p *Page) lanes(c *call) (content, error) {
	v := content{title: "Lanes"}
	lanes, err := polled(c, func() ([]admin.Lane, error) { return p.service.Lanes(c.Context(), c.actor) })
	if err != nil {
		return v, err
	}
	v.live, v.rest, v.every = lanesView(c, lanes), lanesForms(c, lanes), everyFew
	return v, nil
}

func (p *Page) changeLane(c *call) (to string, err error) {
	kind, why := c.PostForm.Get("kind"), c.PostForm.Get("why")
	ctx, operator := c.Context(), c.as(admin.RoleOperate)
	did := "pause-lane"
	switch c.PostForm.Get("op") {
	case "pause":
		err = p.service.PauseLane(ctx, operator, kind, why)
	case "resume":
		var stood bool
		if stood, err = p.service.ResumeLane(ctx, operator, kind, why); stood {
			did = "resume-lane"
		} else {
			did = "resume-none"
		}
	case "rate":
		rate, bad := strconv.ParseFloat(trim(c.PostForm.Get("rate")), 64)
		if bad != nil || rate == 0 {
			return "", &badField{"the rate is a number of calls a second, such as 5 or 0.5"}
		}
		did = "rate-set"
		_, err = p.service.SetRate(ctx, operator, kind, rate, why)
	case "rate-off":
		var changed bool
		if changed, err = p.service.SetRate(ctx, operator, kind, 0, why); changed {
			did = "rate-off"
		} else {
			did = "rate-none"
		}
	default:
		err = errStrange
	}
	return "/lanes?did=" + did, err
}

// rateOf says what rate a lane keeps to, and why a person set it.
func rateOf(l admin.Lane) string {
	switch {
	case !l.Slowed():
		return orElse(l.Rate, "unlimited")
	case l.Rate != "":
		return clean(l.Limit + " instead of " + l.Rate + ": " + l.LimitWhy)
	default:
		return clean(l.Limit + ": " + l.LimitWhy)
	}
}

func (p *Page) workers(c *call) (content, error) {
	v := content{title: "Workers", every: everyFew}
	list, err := polled(c, func() ([]outbox.Worker, error) { return p.service.Workers(c.Context(), c.actor) })
	if err != nil {
		return v, err
	}
	v.live = workersView(c, list, time.Now())
	return v, nil
}

func (p *Page) doctor(c *call) (content, error) {
	v := content{title: "Doctor"}
	list, err := p.service.Diagnose(c.Context(), c.actor)
	if err != nil {
		return v, err
	}
	v.rest = doctorView(list)
	return v, nil
}

const auditPage = 50

func (p *Page) audit(c *call) (content, error) {
	v := content{title: "Audit"}
	f := outbox.ActFilter{Who: c.query("who"), On: c.query("on"), Job: c.query("job"), Op: c.query("op"), Limit: auditPage}
	list := listOf("audit", c.URL.Query())
	since, err := instant(c.query("since"), time.Now())
	if err != nil {
		v.rest = auditView(c, nil, "")
		return v, err
	}
	f.Since = since
	before, ok := p.unseal(list, c.query("after"))
	if !ok {
		return v, errSealed
	}
	f.Before = before
	acts, err := p.service.Acts(c.Context(), c.actor, f)
	if err != nil {
		return v, err
	}
	next := ""
	if len(acts) == auditPage {
		next = p.seal(list, acts[auditPage-1].ID)
	}
	v.rest = auditView(c, acts, next)
	return v, nil
}

// point is what was done within one step of a chart.
type point struct {
	at time.Time
	outbox.RateCounters
}

// chart is the view of the figures of minutes.
type chart struct {
	kind   string
	kinds  []string
	hours  int
	points []point
}

// spans are how long a chart may be, in hours, and its steps.
func spans() map[int]time.Duration {
	return map[int]time.Duration{1: time.Minute, 6: 5 * time.Minute, 24: 20 * time.Minute, 168: 2 * time.Hour}
}

func (p *Page) rates(c *call) (content, error) {
	v := content{title: "Rates"}
	ch := chart{kind: c.query("kind"), hours: 1}
	if text := c.query("hours"); text != "" {
		hours, err := strconv.Atoi(text)
		if spans()[hours] == 0 || err != nil {
			return v, &badField{"a chart shows 1, 6, 24 or 168 hours"}
		}
		ch.hours = hours
	}
	lanes, err := p.service.Lanes(c.Context(), c.actor)
	if err != nil {
		return v, err
	}
	for _, l := range lanes {
		ch.kinds = append(ch.kinds, l.Kind)
	}
	step := spans()[ch.hours]
	until := time.Now().Truncate(step)
	from := until.Add(-time.Duration(ch.hours) * time.Hour)
	sums, err := p.service.RatesBy(c.Context(), c.actor, ch.kind, from, until, step)
	if err != nil {
		return v, err
	}
	for at := from; at.Before(until); at = at.Add(step) {
		ch.points = append(ch.points, point{at: at})
	}
	for _, m := range sums {
		if i := int(m.Minute.Sub(from) / step); i >= 0 && i < len(ch.points) {
			ch.points[i].Add(m.RateCounters)
		}
	}
	slices.Reverse(ch.points)
	v.rest = ratesView(c, ch)
	return v, nil
}

// total sums the chart up, for people who do not see it.
func (ch chart) total() outbox.RateCounters {
	var sum outbox.RateCounters
	for _, p := range ch.points {
		sum.Add(p.RateCounters)
	}
	return sum
}
