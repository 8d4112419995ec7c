package simulator

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	sendgridBodyLimit = 30 << 20 // "less than 30 MB" in all (SendGrid, "Mail Send", limitations)
	sendgridRate      = 10_000   // what the rate headers show a minute; nothing is refused by it
)

// sendgridAPI is SendGrid: mail/send and the log of what it accepted.
type sendgridAPI struct {
	sim *Sim

	mu   sync.Mutex // guards what follows; never held while a call waits
	byID map[string]*logEntry
	byTo map[string][]*logEntry // by lower-case recipient, by time of creation
	all  []*logEntry            // by time of creation

	window  atomic.Int64 // the minute that counted belongs to
	counted atomic.Int64
}

func newSendGrid(s *Sim) *sendgridAPI {
	p := &sendgridAPI{sim: s}
	p.reset()
	return p
}

func (p *sendgridAPI) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byID, p.byTo, p.all = map[string]*logEntry{}, map[string][]*logEntry{}, nil
}

func (p *sendgridAPI) name() string     { return ProviderSendGrid }
func (p *sendgridAPI) bodyLimit() int64 { return sendgridBodyLimit }

// sendgridCall is what identify has found out.
type sendgridCall struct {
	id      string // the message in the path
	mail    mailRequest
	mailErr error
}

func (p *sendgridAPI) identify(c *call) {
	sc := &sendgridCall{}
	c.parsed = sc
	path, method := c.req.URL.Path, c.req.Method
	switch id, isLog := strings.CutPrefix(path, "/v3/logs/"); {
	case path == "/v3/mail/send" && method == http.MethodPost:
		c.route = "send"
		sc.mail, sc.mailErr = readMail(c.body)
		if sc.mailErr == nil && len(sc.mail.Personalizations) > 0 {
			first := sc.mail.Personalizations[0]
			c.outboxID = sc.mail.args(first)["outbox_id"]
			if len(first.To) > 0 {
				c.to = first.To[0].Email
			}
		}
	case path == "/v3/logs" && method == http.MethodPost:
		c.route = "logs"
	case isLog && id != "" && method == http.MethodGet:
		c.route, sc.id = "log", id
	case path == "/v3/scopes" && method == http.MethodGet:
		c.route = "scopes"
	default:
		c.route = routeUnknown
	}
}

func (p *sendgridAPI) serve(c *call) reply {
	rep := p.answer(c, c.parsed.(*sendgridCall))
	if rep.header == nil {
		rep.header = http.Header{}
	}
	p.rateHeaders(rep.header)
	return rep
}

// rateHeaders are on every answer (SendGrid, "Rate Limits"); spelled as SendGrid spells them, which is not the form
// into which Go's client brings them.
func (p *sendgridAPI) rateHeaders(h http.Header) {
	now := time.Now()
	minute := now.Unix() / 60
	if old := p.window.Swap(minute); old != minute {
		p.counted.Store(0)
	}
	h["X-RateLimit-Limit"] = []string{strconv.Itoa(sendgridRate)}
	h["X-RateLimit-Remaining"] = []string{strconv.FormatInt(max(sendgridRate-p.counted.Add(1), 0), 10)}
	h["X-RateLimit-Reset"] = []string{strconv.FormatInt((minute+1)*60, 10)}
}

func (p *sendgridAPI) answer(c *call, sc *sendgridCall) reply {
	key, ok := strings.CutPrefix(c.req.Header.Get("Authorization"), "Bearer ")
	if !ok || key == "" {
		return sendgridErrors(http.StatusUnauthorized, mailError{Message: "Permission denied, wrong credentials"})
	}
	if want := p.sim.cfg.SendGridKey; want != "" && key != want {
		return sendgridErrors(http.StatusUnauthorized, mailError{Message: "The provided authorization grant is invalid, expired, or revoked"})
	}
	if !c.begin() {
		return reply{}
	}
	switch c.route {
	case "send":
		return p.send(c, sc)
	case "logs":
		return p.findLogs(c)
	case "log":
		return p.showLog(c, sc)
	case "scopes":
		return jsonReply(http.StatusOK, map[string][]string{"scopes": {"mail.send", "messages.read"}})
	}
	if path := c.req.URL.Path; path == "/v3/mail/send" || path == "/v3/logs" {
		return sendgridErrors(http.StatusMethodNotAllowed, mailError{Message: "method not allowed"})
	}
	return sendgridErrors(http.StatusNotFound, mailError{Message: "not found"})
}

// mailError is one entry of an error answer; field and help are null where they say nothing.
type mailError struct {
	Message string  `json:"message"`
	Field   *string `json:"field"`
	Help    *string `json:"help"`
}

func sendgridErrors(status int, errs ...mailError) reply {
	return jsonReply(status, map[string]any{"errors": errs})
}

// failure is SendGrid's way of saying a status without a cause of its own.
func (p *sendgridAPI) failure(status int) reply {
	message := strings.ToLower(http.StatusText(status))
	switch {
	case status == http.StatusTooManyRequests:
		message = "too many requests"
	case status == http.StatusUnauthorized:
		message = "The provided authorization grant is invalid, expired, or revoked"
	case status == http.StatusForbidden:
		message = "The from address does not match a verified Sender Identity."
	case status == http.StatusRequestEntityTooLarge:
		message = "The total size of your email must not exceed 30 MB."
	case status < 400:
		return reply{status: status, header: http.Header{}}
	}
	return sendgridErrors(status, mailError{Message: message})
}
