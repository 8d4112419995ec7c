package simulator

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

const (
	twilioPage    = 50   // messages a page, unless PageSize says otherwise
	twilioPageMax = 1000 // twilio.com/docs, "Message resource", PageSize
)

func (p *twilioMessages) fetch(c *call, tc *twilioCall) reply {
	p.mu.Lock()
	m := p.bySID[tc.sid]
	p.mu.Unlock()
	if m == nil || m.account != tc.account {
		return p.notFound(c)
	}
	return jsonReply(http.StatusOK, m.show(c.now))
}

// list shows the newest first. A message that was not sent yet has no date_sent, so that no DateSent filter finds it.
func (p *twilioMessages) list(c *call, tc *twilioCall) reply {
	size := twilioPage
	if text := tc.form.Get("PageSize"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return twilioError(http.StatusBadRequest, 20001, "Invalid PageSize")
		}
		size = min(n, twilioPageMax)
	}
	page, err := strconv.Atoi(tc.form.Get("Page"))
	if tc.form.Get("Page") != "" && (err != nil || page < 0) {
		return twilioError(http.StatusBadRequest, 20001, "Invalid Page")
	}
	days, ok := readDays(tc.form)
	if !ok {
		return twilioError(http.StatusBadRequest, 20001, "Invalid DateSent")
	}
	to, from, cursor := tc.form.Get("To"), tc.form.Get("From"), tc.form.Get("PageToken")
	p.mu.Lock()
	candidates := p.all
	if to != "" {
		candidates = p.byTo[to]
	}
	p.mu.Unlock() // messages are never changed, and an append never touches what this slice shows

	// Pages continue behind the last message of the page before, so that new messages do not shift them. Page alone,
	// without a token, counts from the newest.
	passed := cursor == ""
	skip := 0
	if passed {
		skip = page * size
	}
	shown := []smsView{}
	last := ""
	more := false
	for _, m := range slices.Backward(candidates) {
		if !passed {
			passed = "PA"+m.sid == cursor
			continue
		}
		view := m.show(c.now)
		if m.account != tc.account || (from != "" && (view.From == nil || *view.From != from)) || !days.match(m, c.now) {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		if len(shown) == size {
			more = true
			break
		}
		shown = append(shown, view)
		last = m.sid
	}
	uri := func(page int, token string) string {
		q := url.Values{"PageSize": {strconv.Itoa(size)}, "Page": {strconv.Itoa(page)}}
		for _, name := range []string{"To", "From", "DateSent", "DateSent<", "DateSent>"} {
			if v := tc.form.Get(name); v != "" {
				q.Set(name, v)
			}
		}
		if token != "" {
			q.Set("PageToken", token)
		}
		return c.req.URL.Path + "?" + q.Encode()
	}
	out := map[string]any{
		"messages": shown, "page": page, "page_size": size, "start": page * size, "end": max(page*size+len(shown)-1, 0),
		"uri": uri(page, cursor), "first_page_uri": uri(0, ""), "next_page_uri": nil, "previous_page_uri": nil,
	}
	if more {
		out["next_page_uri"] = uri(page+1, "PA"+last)
	}
	if page > 0 {
		out["previous_page_uri"] = uri(page-1, "")
	}
	return jsonReply(http.StatusOK, out)
}

// dayFilter holds the DateSent filters, whole days in GMT; the open ends are zero.
type dayFilter struct {
	on, until, since time.Time
}

func readDays(form url.Values) (f dayFilter, ok bool) {
	for name, into := range map[string]*time.Time{"DateSent": &f.on, "DateSent<": &f.until, "DateSent>": &f.since} {
		text := form.Get(name)
		if text == "" {
			continue
		}
		at, err := time.Parse(time.DateOnly, text)
		if err != nil {
			at, err = time.Parse(time.RFC3339, text)
		}
		if err != nil {
			return f, false
		}
		*into = dayOf(at)
	}
	return f, true
}

func dayOf(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

func (f dayFilter) match(m *sms, now time.Time) bool {
	if f.on.IsZero() && f.until.IsZero() && f.since.IsZero() {
		return true
	}
	if now.Before(m.sent) {
		return false
	}
	day := dayOf(m.sent)
	return (f.on.IsZero() || day.Equal(f.on)) && (f.until.IsZero() || !day.After(f.until)) && (f.since.IsZero() || !day.Before(f.since))
}
