package simulator

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	twilioBodyLimit = 1 << 20
	twilioVersion   = "2010-04-01"
	rfc2822         = time.RFC1123Z // Twilio's dates; always in GMT
)

// twilioMessages is Twilio's Messages resource and what is needed around it.
type twilioMessages struct {
	sim *Sim

	mu    sync.Mutex // guards what follows; never held while a call waits
	bySID map[string]*sms
	byTo  map[string][]*sms // by recipient, by time of creation
	all   []*sms            // by time of creation
}

func newTwilio(s *Sim) *twilioMessages {
	p := &twilioMessages{sim: s}
	p.reset()
	return p
}

func (p *twilioMessages) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bySID, p.byTo, p.all = map[string]*sms{}, map[string][]*sms{}, nil
}

func (p *twilioMessages) name() string     { return ProviderTwilio }
func (p *twilioMessages) bodyLimit() int64 { return twilioBodyLimit }

// twilioCall is what identify has found out.
type twilioCall struct {
	account, sid string
	form         url.Values
	formErr      error
}

var twilioPath = regexp.MustCompile(`^/2010-04-01/Accounts/([A-Za-z0-9]+)(?:/Messages(?:/([A-Za-z0-9]+))?)?\.json$`)

func (p *twilioMessages) identify(c *call) {
	tc := &twilioCall{}
	c.parsed = tc
	c.route = routeUnknown
	if m := twilioPath.FindStringSubmatch(c.req.URL.Path); m != nil {
		tc.account, tc.sid = m[1], m[2]
		switch messages := strings.Contains(c.req.URL.Path, "/Messages"); {
		case !messages && c.req.Method == http.MethodGet:
			c.route = "account"
		case messages && tc.sid == "" && c.req.Method == http.MethodPost:
			c.route = "send"
		case messages && tc.sid == "" && c.req.Method == http.MethodGet:
			c.route = "list"
		case messages && tc.sid != "" && c.req.Method == http.MethodGet:
			c.route = "fetch"
		}
	}
	if c.req.Method == http.MethodPost {
		tc.form, tc.formErr = url.ParseQuery(string(c.body))
	} else {
		tc.form, tc.formErr = url.ParseQuery(c.req.URL.RawQuery)
	}
	c.to = tc.form.Get("To")
	c.outboxID = labelOf(tc.form.Get("StatusCallback"), "outbox_id")
}

// labelOf is a label of an intent in the query of its status callback.
func labelOf(callback, name string) string {
	u, err := url.Parse(callback)
	if err != nil {
		return "" // no URL, no identity; the validation says so where it matters
	}
	return u.Query().Get(name)
}

func (p *twilioMessages) serve(c *call) reply {
	rep := p.answer(c, c.parsed.(*twilioCall))
	if rep.header == nil {
		rep.header = http.Header{}
	}
	rep.header["Twilio-Request-Id"] = []string{newSID("RQ")}
	rep.header["Twilio-Concurrent-Requests"] = []string{"1"}
	return rep
}

func (p *twilioMessages) answer(c *call, tc *twilioCall) reply {
	if rep, ok := p.authenticate(c, tc); !ok {
		return rep
	}
	if tc.formErr != nil {
		return twilioError(http.StatusBadRequest, 20001, "The parameters are not form-encoded")
	}
	if !c.begin() {
		return reply{}
	}
	switch c.route {
	case "send":
		return p.send(c, tc)
	case "list":
		return p.list(c, tc)
	case "fetch":
		return p.fetch(c, tc)
	case "account":
		return jsonReply(http.StatusOK, map[string]any{
			"sid": tc.account, "owner_account_sid": tc.account, "friendly_name": "Simulated", "status": "active", "type": "Full",
			"auth_token": "", "date_created": c.now.UTC().Format(rfc2822), "date_updated": c.now.UTC().Format(rfc2822),
			"uri":              "/" + twilioVersion + "/Accounts/" + tc.account + ".json",
			"subresource_uris": map[string]string{"messages": "/" + twilioVersion + "/Accounts/" + tc.account + "/Messages.json"},
		})
	}
	return p.notFound(c)
}

func (p *twilioMessages) authenticate(c *call, tc *twilioCall) (reply, bool) {
	user, password, ok := c.req.BasicAuth()
	cfg := p.sim.cfg
	switch {
	case !ok || user == "" || password == "",
		cfg.TwilioSID != "" && user != cfg.TwilioSID,
		cfg.TwilioToken != "" && password != cfg.TwilioToken,
		tc.account != "" && user != tc.account && !strings.HasPrefix(user, "SK"):
		return twilioError(http.StatusUnauthorized, 20003, "Authenticate"), false
	}
	return reply{}, true
}

func (p *twilioMessages) notFound(c *call) reply {
	return twilioError(http.StatusNotFound, 20404, "The requested resource "+c.req.URL.Path+" was not found")
}

func twilioError(status, code int, message string) reply {
	return jsonReply(status, map[string]any{
		"code": code, "message": message, "status": status,
		"more_info": fmt.Sprintf("https://www.twilio.com/docs/errors/%d", code),
	})
}

// failure is Twilio's way of saying a status without a cause of its own.
func (p *twilioMessages) failure(status int) reply {
	switch status {
	case http.StatusTooManyRequests:
		return twilioError(status, 20429, "Too Many Requests")
	case http.StatusUnauthorized:
		return twilioError(status, 20003, "Authenticate")
	case http.StatusForbidden:
		return twilioError(status, 20003, "Permission Denied")
	case http.StatusNotFound:
		return twilioError(status, 20404, "The requested resource was not found")
	case http.StatusInternalServerError:
		return twilioError(status, 20500, "An internal server error has occurred")
	case http.StatusServiceUnavailable:
		return twilioError(status, 20503, "Service unavailable")
	case http.StatusBadRequest:
		return twilioError(status, 20001, "Bad request")
	}
	return twilioError(status, 20000+status%1000, http.StatusText(status))
}
