package page

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/outbox"
)

func stages() []string {
	return []string{string(outbox.StageWaiting), string(outbox.StageInDoubt), string(outbox.StageDone), string(outbox.StageDead), string(outbox.StageCancelled)}
}

func reasons() []string {
	return []string{string(outbox.ReasonPermanent), string(outbox.ReasonExhausted), string(outbox.ReasonExpired), string(outbox.ReasonAmbiguous), string(outbox.ReasonInvalid)}
}

// found is the view of a search.
type found struct {
	search outbox.Search
	asked  bool // something was asked for
	list   admin.List
	next   string
	kinds  []string
	meta   string // "key=value"
	since  string // as it was written
	until  string
}

// plain reports whether dead letters were chosen by what a job can choose them by.
func (f found) plain() bool {
	s := f.search
	return s.Stage == outbox.StageDead && s.ID == "" && s.ProviderID == "" && len(s.Metadata) == 0 && (s.Kind != "" || s.Reason != "" || s.Code != "" || !s.Since.IsZero())
}

func (p *Page) intents(c *call) (content, error) {
	v := content{title: "Intents"}
	f := found{meta: c.query("meta"), since: c.query("since"), until: c.query("until")}
	problem := c.search(&f)
	lanes, err := p.service.Lanes(c.Context(), c.actor)
	if err != nil {
		return v, err
	}
	for _, l := range lanes {
		f.kinds = append(f.kinds, l.Kind)
	}
	if f.search.Kind != "" && !slices.Contains(f.kinds, f.search.Kind) {
		f.kinds = append(f.kinds, f.search.Kind)
	}
	if f.asked && problem == nil {
		f.list, problem = p.service.Find(c.Context(), c.actor, f.search)
		f.next = p.seal(listOf("intents", c.URL.Query()), f.list.Next)
	}
	v.rest = intentsView(c, f)
	return v, problem
}

// search reads the query. One field finds by the intent's id, by the provider's, or by metadata.
func (c *call) search(f *found) error {
	s := outbox.Search{ID: c.query("id"), Kind: c.query("kind"), Stage: outbox.Stage(c.query("status")), Reason: outbox.DeadReason(c.query("reason")),
		Code: c.query("code"), ProviderCode: c.query("provider_code"), ProviderID: c.query("provider_id")}
	switch q := c.query("q"); {
	case q == "":
	case strings.HasPrefix(q, "pi_"), len(q) == 34 && (strings.HasPrefix(q, "SM") || strings.HasPrefix(q, "MM")):
		s.ProviderID = q
	case strings.Contains(q, "=") && f.meta == "":
		f.meta = q
	default:
		s.ID = q
	}
	for name := range c.URL.Query() {
		if key, ok := strings.CutPrefix(name, "meta."); ok && f.meta == "" {
			f.meta = key + "=" + c.query(name)
		}
	}
	f.search, f.asked = s, s.ID+s.Kind+string(s.Stage)+string(s.Reason)+s.Code+s.ProviderCode+s.ProviderID+f.meta+f.since+f.until != ""
	if f.meta != "" {
		key, value, ok := strings.Cut(f.meta, "=")
		if !ok || key == "" {
			return &badField{"metadata is found by key=value, such as order=o77"}
		}
		s.Metadata = map[string]string{key: value}
	}
	if s.Stage != "" && !slices.Contains(stages(), string(s.Stage)) {
		return &badField{"there is no such status"}
	}
	if s.Stage == "" && s.ID == "" && s.ProviderID == "" && len(s.Metadata) == 0 && f.asked { // what is chosen by kind or reason is dead or nothing
		s.Stage = outbox.StageDead
		if s.Reason == "" && s.Code == "" && s.ProviderCode == "" {
			s.Stage = outbox.StageWaiting
		}
	}
	var err error
	if s.Since, err = instant(f.since, time.Now()); err != nil {
		return err
	}
	if s.Until, err = instant(f.until, time.Now()); err != nil {
		return err
	}
	f.search = s
	after, ok := c.page.unseal(listOf("intents", c.URL.Query()), c.query("after"))
	if !ok {
		return errSealed
	}
	f.search.After = after
	return nil
}

// listOf names a list with its filter: a position is good for that alone.
func listOf(name string, q url.Values) string {
	for _, field := range []string{"after", "did", "live"} {
		q.Del(field)
	}
	for field, values := range q {
		if len(values) == 0 || values[0] == "" {
			q.Del(field)
		}
	}
	return name + "?" + q.Encode()
}

// more is the URL of the next page.
func (c *call) more(next string) string {
	q := c.URL.Query()
	q.Del("did")
	q.Set("after", next)
	return c.page.config.BasePath + c.path + "?" + q.Encode()
}

// instant reads how long ago something was ("6h", "3d"), or when ("2026-11-27T02:14Z").
func instant(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if n, err := strconv.Atoi(strings.TrimSuffix(text, "d")); err == nil && strings.HasSuffix(text, "d") && n >= 0 && n < 10_000 {
		return now.Add(-time.Duration(n) * 24 * time.Hour), nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, &badField{"a time is written as 6h, 3d, 2026-11-27 or 2026-11-27T02:14Z (UTC)"}
}
