package simulator

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// sms is one message. It is never changed: its status follows from its age.
type sms struct {
	sid, account, to, from, service, body string
	callback, outboxID                    string
	media                                 int
	created                               time.Time
	sent                                  time.Time // when it leaves the queue
}

const (
	smsCharacters  = 1600        // twilio.com/docs, "Error 21617"
	deliveredAfter = time.Second // from sent to delivered
)

var (
	e164           = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)
	senderPattern  = regexp.MustCompile(`^(\+[1-9][0-9]{6,14}|[0-9]{3,8}|[A-Za-z0-9 ]{0,10}[A-Za-z][A-Za-z0-9 ]{0,10})$`)
	servicePattern = regexp.MustCompile(`^MG[0-9a-fA-F]{32}$`)
)

type refusal struct {
	code    int
	message string
}

// Twilio's magic numbers (twilio.com/docs, "Test credentials"). Numbers that Twilio refuses only because they are not
// the account's own are accepted here.
var (
	magicFrom = map[string]refusal{
		"+15005550001": {21212, "The 'From' number is not a valid phone number"},
		"+15005550007": {21606, "The 'From' phone number is not a valid, SMS-capable phone number for your account"},
		"+15005550008": {21611, "This 'From' number has exceeded the maximum number of queued messages"},
	}
	magicTo = map[string]refusal{
		"+15005550001": {21211, "The 'To' number is not a valid phone number"},
		"+15005550002": {21612, "The message cannot be sent with the current combination of 'To' and 'From' parameters"},
		"+15005550003": {21408, "Permission to send an SMS has not been enabled for the region indicated by the 'To' number"},
		"+15005550004": {21610, "Attempt to send to unsubscribed recipient"},
		"+15005550009": {21614, "'To' number is not a valid mobile number"},
	}
)

// refuse says why the message is not created, or nil.
func refuse(form url.Values) *refusal {
	to, from, service := form.Get("To"), form.Get("From"), form.Get("MessagingServiceSid")
	magic, isMagic := magicTo[to]
	magicSender, isMagicSender := magicFrom[from]
	switch {
	case to == "":
		return &refusal{21604, "A 'To' phone number is required."}
	case from == "" && service == "":
		return &refusal{21603, "A 'From' phone number is required."}
	case form.Get("Body") == "" && form.Get("MediaUrl") == "" && form.Get("ContentSid") == "":
		return &refusal{21602, "Message body is required."}
	case utf8.RuneCountInString(form.Get("Body")) > smsCharacters:
		return &refusal{21617, "The concatenated message body exceeds the 1600 character limit"}
	case !e164.MatchString(to):
		return &refusal{21211, "The 'To' number is not a valid phone number"}
	case isMagic:
		return &magic
	case isMagicSender:
		return &magicSender
	case service != "" && !servicePattern.MatchString(service):
		return &refusal{21701, "The Messaging Service does not exist"}
	case from != "" && !senderPattern.MatchString(from):
		return &refusal{21212, "The 'From' number is not a valid phone number, shortcode, or alphanumeric sender ID"}
	}
	if v := form.Get("ValidityPeriod"); v != "" {
		if n, err := strconv.Atoi(v); err != nil || n < 1 || n > 36000 {
			return &refusal{21714, "The 'ValidityPeriod' must be between 1 and 36000 seconds"}
		}
	}
	if v := form.Get("StatusCallback"); v != "" {
		if u, err := url.Parse(v); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return &refusal{21609, "The 'StatusCallback' URL is not a valid URL"}
		}
	}
	return nil
}

func (p *twilioMessages) send(c *call, tc *twilioCall) reply {
	if no := refuse(tc.form); no != nil {
		return twilioError(http.StatusBadRequest, no.code, no.message)
	}
	m := &sms{
		account: tc.account, to: tc.form.Get("To"), from: tc.form.Get("From"), service: tc.form.Get("MessagingServiceSid"),
		body: tc.form.Get("Body"), media: len(tc.form["MediaUrl"]), callback: tc.form.Get("StatusCallback"), outboxID: c.outboxID,
	}
	prefix := "SM"
	if m.media > 0 {
		prefix = "MM"
	}
	m.sid = newSID(prefix)
	queue := time.Duration(p.sim.settings.queueDelay.Load())
	p.mu.Lock()
	m.created = p.sim.Now() // under the lock, so that the list is in the order of its times
	// A queue without delay still hands over only in the next second: Twilio never answers a creation with "sent".
	m.sent = m.created.Add(max(queue, time.Second))
	p.bySID[m.sid] = m
	p.byTo[m.to] = append(p.byTo[m.to], m)
	p.all = append(p.all, m)
	p.mu.Unlock()
	sender := m.from
	if sender == "" {
		sender = m.service
	}
	p.sim.happened(Effect{
		Provider: ProviderTwilio, Kind: "sms", ID: m.sid, OutboxID: m.outboxID,
		OutboxNS: labelOf(m.callback, "outbox_ns"), OutboxKey: labelOf(m.callback, "outbox_key"), At: m.created, Status: m.status(m.created),
		Account: m.account, To: m.to, From: sender, Body: m.body,
	})
	p.postStatus(m, queue)
	return jsonReply(http.StatusCreated, m.show(m.created))
}

func (m *sms) status(now time.Time) string {
	switch {
	case now.Before(m.sent) && m.service != "":
		return "accepted"
	case now.Before(m.sent):
		return "queued"
	case now.Before(m.sent.Add(deliveredAfter)):
		return "sent"
	}
	return "delivered"
}

func (m *sms) path() string {
	return "/" + twilioVersion + "/Accounts/" + m.account + "/Messages/" + m.sid
}

// smsView is a message as Twilio writes it (Twilio's OpenAPI file, api.v2010.account.message).
type smsView struct {
	AccountSID      string            `json:"account_sid"`
	APIVersion      string            `json:"api_version"`
	Body            string            `json:"body"`
	DateCreated     string            `json:"date_created"`
	DateSent        *string           `json:"date_sent"` // null while the message is queued
	DateUpdated     string            `json:"date_updated"`
	Direction       string            `json:"direction"`
	ErrorCode       *int              `json:"error_code"`
	ErrorMessage    *string           `json:"error_message"`
	From            *string           `json:"from"` // null until a Messaging Service has chosen a sender
	ServiceSID      *string           `json:"messaging_service_sid"`
	NumMedia        string            `json:"num_media"`
	NumSegments     string            `json:"num_segments"`
	Price           *string           `json:"price"`
	PriceUnit       string            `json:"price_unit"`
	SID             string            `json:"sid"`
	Status          string            `json:"status"`
	SubresourceURIs map[string]string `json:"subresource_uris"`
	To              string            `json:"to"`
	URI             string            `json:"uri"`
}

func (m *sms) show(now time.Time) smsView {
	v := smsView{
		AccountSID: m.account, APIVersion: twilioVersion, Body: m.body, DateCreated: m.created.UTC().Format(rfc2822),
		DateUpdated: m.created.UTC().Format(rfc2822), Direction: "outbound-api", From: optional(m.from), ServiceSID: optional(m.service),
		NumMedia: strconv.Itoa(m.media), NumSegments: m.segments(), PriceUnit: "USD", SID: m.sid, Status: m.status(now),
		SubresourceURIs: map[string]string{"media": m.path() + "/Media.json"}, To: m.to, URI: m.path() + ".json",
	}
	if !now.Before(m.sent) {
		v.DateSent = new(m.sent.UTC().Format(rfc2822))
		v.DateUpdated = *v.DateSent
		if v.From == nil {
			v.From = new("+15005550006") // the number a Messaging Service would have chosen
		}
	} else if m.service != "" {
		v.NumSegments = "0" // not known before a sender is chosen
	}
	return v
}

// segments counts 160 GSM-7 characters for one message and 153 for each of several; 70 and 67 beyond plain ASCII.
func (m *sms) segments() string {
	one, each := 160, 153
	n := utf8.RuneCountInString(m.body)
	if strings.ContainsFunc(m.body, func(r rune) bool { return r > 127 }) {
		one, each = 70, 67
	}
	if n <= one {
		return "1"
	}
	return strconv.Itoa((n + each - 1) / each)
}

// postStatus tells the message's callback that it was sent and delivered; there is no callback for the first status
// (twilio.com/docs, "Outbound Message Status in Status Callbacks").
func (p *twilioMessages) postStatus(m *sms, delay time.Duration) {
	if !p.sim.cfg.StatusCallbacks || m.callback == "" {
		return
	}
	var posts []message
	for _, status := range []string{"sent", "delivered"} {
		form := url.Values{
			"MessageSid": {m.sid}, "SmsSid": {m.sid}, "AccountSid": {m.account}, "MessageStatus": {status}, "SmsStatus": {status},
			"To": {m.to}, "From": {m.from}, "ApiVersion": {twilioVersion},
		}
		if m.service != "" {
			form.Set("MessagingServiceSid", m.service)
		}
		posts = append(posts, message{
			url: m.callback, contentType: "application/x-www-form-urlencoded",
			header: http.Header{"User-Agent": {"TwilioProxy/1.1"}, "I-Twilio-Idempotency-Token": {newID("", 36)}},
			body:   []byte(form.Encode()),
		})
	}
	p.sim.outgoing.post(delay, posts...)
}
