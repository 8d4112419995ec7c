package simulator

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	stripePage    = 10  // objects a page, unless limit says otherwise
	stripePageMax = 100 // docs.stripe.com, "Pagination"
)

var (
	listParams     = strings.Fields("customer created created{} limit starting_after ending_before expand[]")
	searchParams   = strings.Fields("query limit page expand[]")
	retrieveParams = strings.Fields("client_secret expand[]")
	expandOnly     = strings.Fields("expand[]") // of balance and account
)

func (p *stripeAPI) retrieve(sc *stripeCall) reply {
	if bad := badParam(sc.form, retrieveParams); bad != nil {
		return bad.reply()
	}
	p.mu.Lock()
	pi := p.intents[sc.id]
	if pi == nil || pi.account != sc.account {
		p.mu.Unlock()
		return noSuchIntent(sc.id)
	}
	shown := *pi
	p.mu.Unlock()
	return jsonReply(http.StatusOK, shown)
}

func (p *stripeAPI) balance(sc *stripeCall) reply {
	if bad := badParam(sc.form, expandOnly); bad != nil {
		return bad.reply()
	}
	total := map[string]int64{"usd": 0}
	p.mu.Lock()
	for _, pi := range p.order {
		if pi.account == sc.account {
			total[pi.Currency] += pi.AmountReceived
		}
	}
	p.mu.Unlock()
	type funds struct {
		Amount   int64  `json:"amount"`
		Currency string `json:"currency"`
	}
	pending, available := []funds{}, []funds{}
	for currency, amount := range total {
		pending = append(pending, funds{amount, currency})
		available = append(available, funds{0, currency})
	}
	byCurrency := func(a, b funds) int { return strings.Compare(a.Currency, b.Currency) }
	slices.SortFunc(pending, byCurrency)
	slices.SortFunc(available, byCurrency)
	return jsonReply(http.StatusOK, map[string]any{"object": "balance", "livemode": false, "available": available, "pending": pending})
}

// own is the account that asks.
func (p *stripeAPI) own(sc *stripeCall) reply {
	if bad := badParam(sc.form, expandOnly); bad != nil {
		return bad.reply()
	}
	return jsonReply(http.StatusOK, map[string]any{
		"id": sc.account, "object": "account", "charges_enabled": true, "payouts_enabled": true,
		"details_submitted": true, "country": "US", "default_currency": "usd", "type": "standard", "metadata": map[string]string{},
	})
}

func pageSize(form url.Values) (int, *stripeError) {
	if form.Get("limit") == "" {
		return stripePage, nil
	}
	n, err := strconv.Atoi(form.Get("limit"))
	if err != nil || n < 1 || n > stripePageMax {
		return 0, stripeInvalid("", "limit", "Invalid limit: want 1 to 100.")
	}
	return n, nil
}

// list shows the newest first. Unlike search it is exact at once (docs.stripe.com, "Search").
func (p *stripeAPI) list(sc *stripeCall) reply {
	if bad := badParam(sc.form, listParams); bad != nil {
		return bad.reply()
	}
	limit, bad := pageSize(sc.form)
	if bad != nil {
		return bad.reply()
	}
	span, bad := readSpan(sc.form)
	if bad != nil {
		return bad.reply()
	}
	after, before, customer := sc.form.Get("starting_after"), sc.form.Get("ending_before"), sc.form.Get("customer")
	if after != "" && before != "" {
		return stripeInvalid("", "starting_after", "You cannot use both starting_after and ending_before.").reply()
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	for _, cursor := range []string{after, before} {
		if cursor != "" && (p.intents[cursor] == nil || p.intents[cursor].account != sc.account) {
			return noSuchIntent(cursor)
		}
	}
	found := []intent{}
	more := false
	passed := after == ""
	for _, pi := range slices.Backward(p.order) {
		if pi.ID == before || pi.Created < span.from {
			break // older ones are older still
		}
		if !passed {
			passed = pi.ID == after
			continue
		}
		if pi.account != sc.account || pi.Created > span.to || (customer != "" && deref(pi.Customer) != customer) {
			continue
		}
		if len(found) == limit && before == "" {
			more = true
			break
		}
		found = append(found, *pi)
	}
	if before != "" && len(found) > limit { // the page that ends before the cursor, not the first of all
		found, more = found[len(found)-limit:], true
	}
	return jsonReply(http.StatusOK, map[string]any{"object": "list", "url": "/v1/payment_intents", "has_more": more, "data": found})
}

// timeSpan is a closed interval of seconds.
type timeSpan struct{ from, to int64 }

func readSpan(form url.Values) (timeSpan, *stripeError) {
	span := timeSpan{from: 0, to: 1<<63 - 1}
	for name := range form {
		if !strings.HasPrefix(name, "created") {
			continue
		}
		at, err := strconv.ParseInt(form.Get(name), 10, 64)
		if err != nil {
			return span, stripeInvalid("parameter_invalid_integer", name, "Invalid timestamp: must be an integer")
		}
		switch name {
		case "created":
			span.from, span.to = max(span.from, at), min(span.to, at)
		case "created[gte]":
			span.from = max(span.from, at)
		case "created[gt]":
			span.from = max(span.from, at+1)
		case "created[lte]":
			span.to = min(span.to, at)
		case "created[lt]":
			span.to = min(span.to, at-1)
		default:
			return span, stripeInvalid("parameter_unknown", name, "Received unknown parameter: "+name)
		}
	}
	return span, nil
}

var searchClause = regexp.MustCompile(`^\s*(-?)(metadata\[["']([^"']+)["']\]|status|customer|currency|amount|created)\s*(:|<=|>=|<|>)\s*["']?([^"']*)["']?\s*$`)

// search finds what is older than the lag; the query language is the part of docs.stripe.com, "Search", that is needed
// for metadata, status, customer, currency, amount and created, joined by AND.
func (p *stripeAPI) search(c *call, sc *stripeCall) reply {
	if bad := badParam(sc.form, searchParams); bad != nil {
		return bad.reply()
	}
	limit, bad := pageSize(sc.form)
	if bad != nil {
		return bad.reply()
	}
	if sc.form.Get("query") == "" {
		return stripeInvalid("parameter_missing", "query", "Missing required param: query.").reply()
	}
	var tests []func(*intent) bool
	for clause := range strings.SplitSeq(sc.form.Get("query"), " AND ") {
		test := readClause(clause)
		if test == nil {
			return stripeInvalid("", "query", "The query cannot be parsed.").reply()
		}
		tests = append(tests, test)
	}
	skip := 0
	if page := sc.form.Get("page"); page != "" {
		n, err := strconv.Atoi(page)
		if err != nil || n < 0 {
			return stripeInvalid("", "page", "Invalid page.").reply()
		}
		skip = n
	}
	horizon := c.now.Add(-time.Duration(p.sim.settings.searchLag.Load()))

	p.mu.Lock()
	defer p.mu.Unlock()
	found := []intent{}
	matches := 0
	for _, pi := range slices.Backward(p.order) {
		if pi.account != sc.account || pi.born.After(horizon) || slices.ContainsFunc(tests, func(t func(*intent) bool) bool { return !t(pi) }) {
			continue
		}
		if matches++; matches > skip && len(found) < limit {
			found = append(found, *pi)
		}
	}
	more := matches > skip+len(found)
	var next *string
	if more {
		next = new(strconv.Itoa(skip + len(found)))
	}
	return jsonReply(http.StatusOK, map[string]any{
		"object": "search_result", "url": "/v1/payment_intents/search", "has_more": more, "next_page": next, "data": found,
	})
}

// readClause is nil for what is not understood.
func readClause(clause string) func(*intent) bool {
	m := searchClause.FindStringSubmatch(clause)
	if m == nil {
		return nil
	}
	negate, field, key, op, value := m[1] == "-", m[2], m[3], m[4], m[5]
	number := func(get func(*intent) int64) func(*intent) bool {
		want, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return nil
		}
		return func(pi *intent) bool {
			got := get(pi)
			ok := map[string]bool{":": got == want, "<": got < want, "<=": got <= want, ">": got > want, ">=": got >= want}[op]
			return ok != negate
		}
	}
	text := func(get func(*intent) string) func(*intent) bool {
		if op != ":" {
			return nil
		}
		return func(pi *intent) bool { return (get(pi) == value) != negate }
	}
	switch field {
	case "status":
		return text(func(pi *intent) string { return pi.Status })
	case "customer":
		return text(func(pi *intent) string { return deref(pi.Customer) })
	case "currency":
		return text(func(pi *intent) string { return pi.Currency })
	case "amount":
		return number(func(pi *intent) int64 { return pi.Amount })
	case "created":
		return number(func(pi *intent) int64 { return pi.Created })
	}
	return text(func(pi *intent) string { return pi.Metadata[key] })
}
