package sendgrid

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sendgrid/rest"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

const (
	// clockSkew is how far SendGrid's clock may be behind the database's. It may be generous: an e-mail is known by its
	// outbox_id, not by its time.
	clockSkew = 10 * time.Minute
	// retention is for how long the log is trusted; SendGrid keeps it for 30 days (SendGrid, "Email Logs").
	retention = 29 * 24 * time.Hour
	// maxCandidates bounds the e-mails to one address that are looked at one by one.
	maxCandidates = 20
	// maxPage is the most that one query returns (SendGrid, "Email Logs"); there is no second page.
	maxPage = 1000
)

type message struct {
	ID     string            `json:"sg_message_id"`
	To     string            `json:"to_email"`
	Status string            `json:"status"`
	Args   map[string]string `json:"custom_args"`
}

// LookUp asks the stored events first, if there are any, and then searches the Email Logs for the intent's e-mail. It
// lists the e-mails to its address since the first attempt, and compares the labels of each. Not found is no proof
// until the log had time to follow. The error is an *outbox.Failure and means that SendGrid could not be asked or
// that its answer does not tell.
func (p *Provider) LookUp(ctx context.Context, in *outbox.Intent) (outbox.Answer, error) {
	email, ok := in.Payload.(*outbox.Email)
	if !ok {
		return outbox.Answer{}, refused("the intent's payload is not an e-mail", nil)
	}
	since := in.FirstAttemptAt
	if since.IsZero() || in.Lease.At.Sub(since) > retention {
		return outbox.Answer{}, cannotTell("the first attempt is unknown or older than SendGrid's log")
	}
	since = since.Add(-clockSkew)
	if p.events != nil {
		if id, there := p.events.Accepted(ctx, in.Labels(), since); there {
			// The part before the first dot is the X-Message-Id (SendGrid, "Event Webhook Reference": sg_message_id).
			id, _, _ = strings.Cut(id, ".")
			return found(outbox.Receipt{Provider: Name, ID: providers.Token(id), Status: "accepted"}), nil
		}
	}
	candidates, more, f := p.candidates(ctx, email.To.Email, since)
	if f != nil {
		return outbox.Answer{}, f
	}
	var vanished, unlabelled bool
	for _, c := range candidates {
		m, there, f := p.message(ctx, c.ID)
		switch {
		case f != nil:
			return outbox.Answer{}, f
		case !there:
			vanished = true
		case m.of(in):
			return found(outbox.Receipt{Provider: Name, ID: providers.Token(m.ID), Status: providers.Token(m.Status)}), nil
		case m.unlabelled(in):
			unlabelled = true
		}
	}
	switch {
	case unlabelled:
		return outbox.Answer{}, cannotTell("SendGrid's log shows an e-mail with this outbox_id and without a namespace, sent by older code for this intent or for another outbox")
	case more:
		return outbox.Answer{}, cannotTell("SendGrid's log holds too many e-mails to this address to compare each")
	case vanished:
		return outbox.Answer{}, cannotTell("SendGrid's log lists an e-mail that it does not show")
	}
	return outbox.Answer{}, nil
}

func found(r outbox.Receipt) outbox.Answer { return outbox.Answer{Receipt: r, Found: true} }

// of reports whether the e-mail carries the intent's labels, all of them.
func (m message) of(in *outbox.Intent) bool {
	for name, value := range in.Labels() {
		if m.Args[name] != value {
			return false
		}
	}
	return true
}

// unlabelled reports whether the e-mail carries the intent's outbox_id alone, as older code sent it.
func (m message) unlabelled(in *outbox.Intent) bool {
	return m.Args[outbox.ReservedMetadata] == in.ID.String() && m.Args[outbox.ReservedNamespace] == "" && m.Args[outbox.ReservedKey] == ""
}

// candidates lists the e-mails to an address since an instant; more says that there are further ones. Whether the log
// keeps the address as it was sent or in lower case, and whether it tells the two apart, is not documented: both are
// asked for.
func (p *Provider) candidates(ctx context.Context, to string, since time.Time) (found []message, more bool, f *outbox.Failure) {
	query := fmt.Sprintf("sg_message_id_created_at > TIMESTAMP %q", since.UTC().Format(time.RFC3339))
	if strings.ContainsAny(to, `'"\`) {
		// How a quote inside a string is written is not documented either; such an address is compared here instead.
		found, f = p.list(ctx, query, maxPage)
		more = len(found) >= maxPage
		found = slices.DeleteFunc(found, func(m message) bool { return !strings.EqualFold(m.To, to) })
	} else {
		for _, spelling := range spellings(to) {
			var list []message
			if list, f = p.list(ctx, "to_email = '"+spelling+"' AND "+query, maxCandidates+1); f != nil {
				break
			}
			more = more || len(list) > maxCandidates
			for _, m := range list {
				if !slices.ContainsFunc(found, func(other message) bool { return other.ID == m.ID }) {
					found = append(found, m)
				}
			}
		}
	}
	if f != nil {
		return nil, false, f
	}
	if len(found) > maxCandidates {
		found, more = found[:maxCandidates], true
	}
	return found, more, nil
}

// spellings are the ways in which the log may keep an address: as it was sent, with the domain in lower case, and in
// lower case altogether.
func spellings(to string) []string {
	lower := to
	if at := strings.LastIndexByte(to, '@'); at >= 0 {
		lower = to[:at] + strings.ToLower(to[at:])
	}
	return slices.Compact([]string{to, lower, strings.ToLower(to)})
}

// list returns what the log shows for a query, at most limit e-mails.
func (p *Provider) list(ctx context.Context, query string, limit int) ([]message, *outbox.Failure) {
	data, err := json.Marshal(map[string]any{"query": query, "limit": limit})
	if err != nil {
		return nil, refused("the query cannot be written", err)
	}
	var answer struct {
		Messages []message `json:"messages"`
	}
	call, f := p.ask(ctx, rest.Post, "/v3/logs", data, &answer)
	switch {
	case f != nil:
		return nil, f
	case answer.Messages == nil: // an empty list is a list; no list is no answer
		return nil, call.Unreadable(ctx, Name)
	}
	return answer.Messages, nil
}

// message gets one e-mail from the log; not there is no failure.
func (p *Provider) message(ctx context.Context, id string) (m message, there bool, f *outbox.Failure) {
	call, f := p.ask(ctx, rest.Get, "/v3/logs/"+url.PathEscape(id), nil, &m)
	switch {
	case f != nil && call.Status() == http.StatusNotFound && f.Code == outbox.CodeCannotTell: // SendGrid says so itself
		return message{}, false, nil
	case f == nil && m.ID != id:
		f = call.Unreadable(ctx, Name)
	}
	return m, f == nil, f
}

// ask sends a question and decodes its answer.
func (p *Provider) ask(ctx context.Context, method rest.Method, path string, body []byte, into any) (*providers.Call, *outbox.Failure) {
	call := p.send(ctx, method, path, body)
	f := failure(ctx, call)
	_, own := firstError(call)
	switch {
	case f == nil && call.Status() == http.StatusOK && call.Whole() && json.Unmarshal(call.Body(), into) == nil:
		return call, nil
	case f == nil:
		f = call.Unreadable(ctx, Name)
	case f.Class == outbox.RateLimited:
		f.LaneOpen = true // SendGrid limits each endpoint by itself: the log's limit is not the lane's
	case f.Class == outbox.Permanent, f.Code == outbox.CodeForbidden, f.Code == outbox.CodeNotTheProvider && own:
		// A refused question says nothing about the e-mail, and a key that may send but not read is no reason to stop.
		f.Class, f.Code = outbox.Ambiguous, outbox.CodeCannotTell
		f.Message = "SendGrid refused to show its log; the API key needs the scope messages.read"
	}
	return call, f
}

func cannotTell(message string) *outbox.Failure {
	return &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodeCannotTell, Provider: Name, Message: message}
}
