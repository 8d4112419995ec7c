package simulator

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"
)

// SendGrid's published limits ("Mail Send", limitations).
const (
	mailRecipients       = 1000
	mailPersonalizations = 1000
	mailCategories       = 10
	mailArgsBytes        = 10_000
)

type mailAddress struct {
	Email string `json:"email"`
	Name  string `json:"name"`
}

type personalization struct {
	To         []mailAddress     `json:"to"`
	CC         []mailAddress     `json:"cc"`
	BCC        []mailAddress     `json:"bcc"`
	Subject    string            `json:"subject"`
	CustomArgs map[string]string `json:"custom_args"`
}

type mailContent struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// mailRequest is the part of POST /v3/mail/send that has consequences here.
type mailRequest struct {
	Personalizations []personalization `json:"personalizations"`
	From             *mailAddress      `json:"from"`
	ReplyTo          *mailAddress      `json:"reply_to"`
	Subject          string            `json:"subject"`
	Content          []mailContent     `json:"content"`
	TemplateID       string            `json:"template_id"`
	Categories       []string          `json:"categories"`
	CustomArgs       map[string]string `json:"custom_args"`
	Attachments      []struct {
		Content  string `json:"content"`
		Filename string `json:"filename"`
	} `json:"attachments"`
	SendAt       int64 `json:"send_at"`
	MailSettings struct {
		SandboxMode struct {
			Enable bool `json:"enable"`
		} `json:"sandbox_mode"`
	} `json:"mail_settings"`
}

func readMail(body []byte) (m mailRequest, err error) {
	err = json.Unmarshal(body, &m)
	return m, err
}

// args are the custom arguments of one personalization over those of the whole request.
func (m *mailRequest) args(p personalization) map[string]string {
	if len(p.CustomArgs) == 0 {
		return m.CustomArgs
	}
	out := maps.Clone(m.CustomArgs)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, p.CustomArgs)
	return out
}

// problems is everything SendGrid would refuse (SendGrid, "Mail Send Errors").
func (m *mailRequest) problems() []mailError {
	var out []mailError
	wrong := func(field, format string, args ...any) {
		out = append(out, mailError{Message: fmt.Sprintf(format, args...), Field: optional(field),
			Help: new("http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html")})
	}
	address := func(field string, a mailAddress) {
		if !emailPattern.MatchString(a.Email) {
			wrong(field, "Does not contain a valid address.")
		}
	}
	if m.From == nil || m.From.Email == "" {
		wrong("from.email", "The from email does not contain a valid address.")
	} else {
		address("from.email", *m.From)
	}
	if m.ReplyTo != nil {
		address("reply_to.email", *m.ReplyTo)
	}
	if n := len(m.Personalizations); n == 0 {
		wrong("personalizations", "The personalizations field is required and must have at least one personalization.")
	} else if n > mailPersonalizations {
		wrong("personalizations", "There are at most %d personalizations.", mailPersonalizations)
	}
	recipients, argsSize := 0, 0
	for i, p := range m.Personalizations {
		field := fmt.Sprintf("personalizations.%d.", i)
		if len(p.To) == 0 {
			wrong(field+"to", "The to array is required for all personalization objects, and must have at least one email object with a valid email address.")
		}
		seen := map[string]bool{}
		for group, list := range map[string][]mailAddress{"to": p.To, "cc": p.CC, "bcc": p.BCC} {
			for j, a := range list {
				address(fmt.Sprintf("%s%s.%d.email", field, group, j), a)
				if lower := strings.ToLower(a.Email); seen[lower] {
					wrong(field+group, "Each email address in the personalization block should be unique between to, cc, and bcc.")
				} else {
					seen[lower] = true
				}
				recipients++
			}
		}
		if m.Subject == "" && p.Subject == "" && m.TemplateID == "" {
			wrong("subject", "The subject is required. You can get around this requirement if you use a template with a subject defined.")
		}
		for k, v := range m.args(p) {
			argsSize += len(k) + len(v)
		}
	}
	if recipients > mailRecipients {
		wrong("personalizations", "There are at most %d recipients.", mailRecipients)
	}
	if argsSize > mailArgsBytes {
		wrong("custom_args", "The custom_args have at most %d bytes.", mailArgsBytes)
	}
	if len(m.Categories) > mailCategories {
		wrong("categories", "There are at most %d categories.", mailCategories)
	}
	if len(m.Content) == 0 && m.TemplateID == "" {
		wrong("content", "Unless a valid template_id is provided, the content parameter is required.")
	}
	for i, part := range m.Content {
		if part.Type == "" || part.Value == "" {
			wrong(fmt.Sprintf("content.%d", i), "Both type and value of a content must be strings of at least one character.")
		}
		if i > 0 && part.Type == "text/plain" {
			wrong("content", "If present, text/plain must be first.")
		}
	}
	for i, a := range m.Attachments {
		if a.Content == "" || a.Filename == "" {
			wrong(fmt.Sprintf("attachments.%d", i), "An attachment needs content and filename.")
		}
	}
	return out
}

func (p *sendgridAPI) send(c *call, sc *sendgridCall) reply {
	if sc.mailErr != nil {
		return sendgridErrors(http.StatusBadRequest, mailError{Message: "Bad Request"})
	}
	m := &sc.mail
	if errs := m.problems(); len(errs) > 0 {
		return sendgridErrors(http.StatusBadRequest, errs...)
	}
	requestID := newID("", 22)
	rep := reply{status: http.StatusAccepted, header: http.Header{"X-Message-Id": {requestID}}}
	if m.MailSettings.SandboxMode.Enable {
		rep.status = http.StatusOK // validated only (SendGrid, "Sandbox Mode")
		return rep
	}
	if m.SendAt > c.now.Add(72*time.Hour).Unix() {
		return sendgridErrors(http.StatusBadRequest, mailError{Message: "Scheduling more than 72 hours in advance is not permitted.", Field: new("send_at")})
	}
	p.accept(c, m, requestID)
	return rep
}

// accept records one effect a personalization, and one log entry a recipient.
func (p *sendgridAPI) accept(c *call, m *mailRequest, requestID string) {
	var events []*logEntry
	p.mu.Lock()
	now := p.sim.Now() // under the lock, so that the log is in the order of its times
	n := 0
	for _, pers := range m.Personalizations {
		args := m.args(pers)
		subject := pers.Subject
		if subject == "" {
			subject = m.Subject
		}
		for _, list := range [][]mailAddress{pers.To, pers.CC, pers.BCC} {
			for _, a := range list {
				e := &logEntry{
					id: fmt.Sprintf("%s.recvd-%s-%d.0", requestID, requestID[:10], n), from: m.From.Email, to: a.Email,
					subject: subject, args: args, categories: m.Categories, template: m.TemplateID, at: now,
				}
				n++
				p.byID[e.id] = e
				p.byTo[strings.ToLower(a.Email)] = append(p.byTo[strings.ToLower(a.Email)], e)
				p.all = append(p.all, e)
				events = append(events, e)
			}
		}
	}
	p.mu.Unlock()
	for _, pers := range m.Personalizations {
		subject := pers.Subject
		if subject == "" {
			subject = m.Subject
		}
		p.sim.happened(Effect{
			Provider: ProviderSendGrid, Kind: "email", ID: requestID, OutboxID: m.args(pers)["outbox_id"],
			OutboxNS: m.args(pers)["outbox_ns"], OutboxKey: m.args(pers)["outbox_key"], At: now, Status: "processed",
			To: pers.To[0].Email, From: m.From.Email, Subject: subject,
		})
	}
	p.postEvents(events)
}
