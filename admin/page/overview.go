package page

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/outbox"
)

const (
	everyFew  = 5 * time.Second
	everyMore = 10 * time.Second
)

func (p *Page) overview(c *call) (content, error) {
	o, err := polled(c, func() (admin.Overview, error) { return p.service.Overview(c.Context(), c.actor) })
	if err != nil {
		return content{}, err
	}
	return content{title: "Overview", live: overviewView(c, o), every: everyFew}, nil
}

// needLink returns where a person looks at what needs them.
func needLink(c *call, n admin.Need) (url templ.SafeURL, text string) {
	switch n.Link {
	case "lane":
		return c.link("/lanes", "kind", n.Kind), "Open the lane"
	case "in-doubt":
		return c.link("/intents", "kind", n.Kind, "status", string(outbox.StageInDoubt)), "See them"
	case "ambiguous":
		return c.link("/intents", "kind", n.Kind, "status", string(outbox.StageDead), "reason", string(outbox.ReasonAmbiguous)), "Answer them"
	case "unwritten":
		return c.link("/intents", "kind", n.Kind, "status", string(outbox.StageWaiting)), "See what waits"
	case "workers":
		return c.link("/workers"), "See the workers"
	default:
		return "", ""
	}
}

// mark is a sign for a lane's state, so that colour alone tells nothing.
func mark(state string) string {
	switch state {
	case admin.LaneOpen:
		return "●"
	case admin.LaneGated:
		return "◐"
	case admin.LanePaused:
		return "Ⅱ"
	case admin.LaneHeld:
		return "■"
	default:
		return "▲"
	}
}

// spark is the last hour as bars, one a minute.
type spark struct {
	path  string
	last  int64 // within the last whole minute
	total int64
	most  int64
}

const (
	sparkMinutes = 60
	sparkHeight  = 24
)

// sparkOf draws one figure of the minutes before now.
func sparkOf(minutes []outbox.RateMinute, now time.Time, figure func(outbox.RateCounters) int64) spark {
	var s spark
	var bars [sparkMinutes]int64
	first := now.Truncate(time.Minute).Add(-sparkMinutes * time.Minute)
	for _, m := range minutes {
		i := int(m.Minute.Sub(first) / time.Minute)
		if i < 0 || i >= sparkMinutes {
			continue // the minute that is not over is not drawn
		}
		bars[i] += figure(m.RateCounters)
		s.total += figure(m.RateCounters)
		s.most = max(s.most, bars[i])
	}
	s.last = bars[sparkMinutes-1]
	var b strings.Builder
	for i, n := range bars {
		if n == 0 {
			continue
		}
		h := math.Max(1, float64(n)/float64(s.most)*sparkHeight)
		fmt.Fprintf(&b, "M%d %dv-%.1fh1.5v%.1fz", 2*i, sparkHeight, h, h)
	}
	s.path = b.String()
	return s
}

func doneOf(c outbox.RateCounters) int64 { return c.Done }
func deadOf(c outbox.RateCounters) int64 { return c.Dead }

// text is what the picture shows, for people who do not see it.
func (s spark) text(what string) string {
	return fmt.Sprintf("%s in the last hour: %s, at most %s a minute", what, number(s.total), number(s.most))
}
