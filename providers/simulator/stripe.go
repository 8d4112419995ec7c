package simulator

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	stripeBodyLimit = 1 << 20
	stripeKeyLength = 255            // docs.stripe.com, "Idempotent requests"
	stripeKeyLife   = 24 * time.Hour // the same page: keys may be removed once they are at least 24 hours old
	stripeSelf      = "acct_1Simulated0000"
	stripeVersion   = "2023-10-16"
)

// stripeAPI is Stripe: PaymentIntents and the keys that protect them.
type stripeAPI struct {
	sim  *Sim
	keys keyStore

	mu      sync.Mutex // guards what follows; never held while a call waits
	intents map[string]*intent
	order   []*intent // by time of creation
}

func newStripe(s *Sim) *stripeAPI { return &stripeAPI{sim: s, intents: map[string]*intent{}} }

func (p *stripeAPI) reset() {
	p.keys.reset()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.intents, p.order = map[string]*intent{}, nil
}

func (p *stripeAPI) name() string     { return ProviderStripe }
func (p *stripeAPI) bodyLimit() int64 { return stripeBodyLimit }

// stripeCall is what identify has found out.
type stripeCall struct {
	id      string // the PaymentIntent in the path
	form    url.Values
	formErr error
	account string
}

func (p *stripeAPI) identify(c *call) {
	sc := &stripeCall{account: cmp.Or(c.req.Header.Get("Stripe-Account"), stripeSelf)}
	c.parsed = sc
	c.key = c.req.Header.Get("Idempotency-Key")
	c.route, sc.id = stripeRoute(c.req.Method, c.req.URL.Path)
	if c.req.Method == http.MethodPost {
		sc.form, sc.formErr = url.ParseQuery(string(c.body))
	} else {
		sc.form, sc.formErr = url.ParseQuery(c.req.URL.RawQuery)
	}
	c.outboxID, c.to = sc.form.Get("metadata[outbox_id]"), sc.form.Get("customer")
	if sc.id != "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		if pi := p.intents[sc.id]; pi != nil {
			c.outboxID, c.to = pi.Metadata["outbox_id"], deref(pi.Customer)
		}
	}
}

func stripeRoute(method, path string) (route, id string) {
	const root = "/v1/payment_intents"
	rest, isIntent := strings.CutPrefix(path, root)
	switch {
	case method == http.MethodGet && path == "/v1/account":
		return "account", ""
	case method == http.MethodGet && path == "/v1/balance":
		return "balance", ""
	case !isIntent:
		return routeUnknown, ""
	case rest == "" && method == http.MethodPost:
		return "create", ""
	case rest == "" && method == http.MethodGet:
		return "list", ""
	case rest == "/search" && method == http.MethodGet:
		return "search", ""
	}
	id, action, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	switch {
	case id == "" || !strings.HasPrefix(rest, "/"):
	case action == "" && method == http.MethodGet:
		return "retrieve", id
	case (action == "confirm" || action == "cancel") && method == http.MethodPost:
		return action, id
	}
	return routeUnknown, ""
}

func (p *stripeAPI) serve(c *call) reply {
	sc := c.parsed.(*stripeCall)
	rep := p.answer(c, sc)
	rep.header.Set("Request-Id", newID("req_", 14))
	rep.header.Set("Stripe-Version", cmp.Or(c.req.Header.Get("Stripe-Version"), stripeVersion))
	if c.req.Header.Get("Stripe-Account") != "" {
		rep.header.Set("Stripe-Account", sc.account)
	}
	return rep
}

func (p *stripeAPI) answer(c *call, sc *stripeCall) reply {
	if rep, ok := p.authenticate(c, sc); !ok {
		return rep
	}
	if sc.formErr != nil {
		return stripeInvalid("", "", "Invalid request: the parameters are not form-encoded.").reply()
	}
	switch c.route {
	case "create":
		in, bad := readCreate(sc.form)
		return p.keyed(c, sc, bad, func() reply { return p.create(c, sc, in) })
	case "confirm":
		in, bad := readConfirm(sc.form)
		return p.keyed(c, sc, bad, func() reply { return p.confirm(c, sc, in) })
	case "cancel":
		reason, bad := readCancel(sc.form)
		return p.keyed(c, sc, bad, func() reply { return p.cancel(c, sc, reason) })
	}
	if !c.begin() {
		return reply{header: http.Header{}}
	}
	switch {
	case c.forced != nil: // reads have no key: the forced answer is given once and stored nowhere
		return cloneReply(*c.forced)
	case c.route == "retrieve":
		return p.retrieve(sc)
	case c.route == "list":
		return p.list(sc)
	case c.route == "search":
		return p.search(c, sc)
	case c.route == "account":
		return p.own(sc)
	case c.route == "balance":
		return p.balance(sc)
	}
	return stripeError{status: http.StatusNotFound, Type: "invalid_request_error",
		Message: "Unrecognized request URL (" + c.req.Method + ": " + c.req.URL.Path + ")."}.reply()
}

// authenticate takes the key as bearer token or as the user name of basic authentication, as Stripe does.
func (p *stripeAPI) authenticate(c *call, sc *stripeCall) (reply, bool) {
	key, bearer := strings.CutPrefix(c.req.Header.Get("Authorization"), "Bearer ")
	if !bearer {
		key, _, _ = c.req.BasicAuth()
	}
	if key == "" {
		return stripeError{status: http.StatusUnauthorized, Type: "invalid_request_error",
			Message: "You did not provide an API key."}.reply(), false
	}
	if want := p.sim.cfg.StripeKey; want != "" && key != want {
		return stripeError{status: http.StatusUnauthorized, Type: "invalid_request_error", Message: "Invalid API Key provided."}.reply(), false
	}
	if !strings.HasPrefix(sc.account, "acct_") {
		return stripeError{status: http.StatusForbidden, Type: "invalid_request_error", Code: "account_invalid",
			Message: "The provided key does not have access to this account (or that account does not exist)."}.reply(), false
	}
	return reply{}, true
}

// keyed runs execute under the request's idempotency key. Refused parameters and conflicts are not saved; whatever
// execution answers is, a 402 and a 500 included (docs.stripe.com, "Idempotent requests", "Low-level error handling").
func (p *stripeAPI) keyed(c *call, sc *stripeCall, bad *stripeError, execute func() reply) reply {
	if len(c.key) > stripeKeyLength {
		return stripeInvalid("", "", "The idempotency key is longer than 255 characters.").reply()
	}
	if bad != nil {
		return bad.reply()
	}
	run := func() (reply, bool) {
		if !c.begin() {
			return reply{header: http.Header{}}, false
		}
		var rep reply
		if !c.skip {
			rep = execute()
		}
		if c.forced != nil {
			rep = cloneReply(*c.forced)
		}
		return rep, true
	}
	if c.key == "" {
		rep, _ := run()
		return rep
	}
	fingerprint := c.req.Method + " " + c.req.URL.Path + "?" + sc.form.Encode()
	rec, found := p.keys.claim(sc.account+"\x00"+c.key, fingerprint, c.now)
	switch found {
	case keyBusy:
		return stripeError{status: http.StatusConflict, Type: "invalid_request_error", Code: "idempotency_key_in_use",
			Message: "There is currently another in-progress request using this idempotency key."}.reply()
	case keyMismatch:
		return stripeError{status: http.StatusBadRequest, Type: "idempotency_error",
			Message: "Keys for idempotent requests can only be used with the same endpoint and the same parameters they were first used with."}.reply()
	case keyReplay:
		rep := cloneReply(rec.answer)
		rep.header.Set("Idempotent-Replayed", "true")
		rep.header.Set("Original-Request", rec.request)
		rep.header.Set("Idempotency-Key", c.key)
		return rep
	}
	rep, executed := run()
	if !executed {
		p.keys.forget(rec)
		return rep
	}
	p.keys.save(rec, rep)
	rep = cloneReply(rep)
	rep.header.Set("Original-Request", rec.request)
	rep.header.Set("Idempotency-Key", c.key)
	return rep
}

func cloneReply(rep reply) reply {
	rep.header = rep.header.Clone()
	if rep.header == nil {
		rep.header = http.Header{}
	}
	return rep
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
