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

// LookUp asks the stored events first, if there are any, then searches the Email Logs for the intent's e-mail: it lists those to its address since the first attempt, and
// compares the outbox_id of each. Not found is no proof until the log had time to follow. The error is an
// *outbox.Failure and means that SendGrid could not be asked or that its answer does not tell.
func (p *Provider) LookUp(ctx context.Context, in *outbox.Intent) (outbox.Receipt, bool, error) {
	email, ok := in.Payload.(*outbox.Email)
	if !ok {
		return outbox.Receipt{}, false, refused("the intent's payload is not an e-mail", nil)
	}
	since := in.FirstAttemptAt
	if since.IsZero() || in.Lease.At.Sub(since) > retention {
		return outbox.Receipt{}, false, cannotTell("the first attempt is unknown or older than SendGrid's log")
	}
	since = since.Add(-clockSkew)
	if p.events != nil {
		if id, found := p.events.Accepted(ctx, in.ID.String(), since); found {
			// The part before the first dot is the X-Message-Id (SendGrid, "Event Webhook Reference": sg_message_id).
			id, _, _ = strings.Cut(id, ".")
			return outbox.Receipt{Provider: Name, ID: providers.Token(id), Status: "accepted"}, true, nil
		}
	}
	candidates, more, f := p.candidates(ctx, email.To.Email, since)
	if f != nil {
		return outbox.Receipt{}, false, f
	}
	var vanished bool
	for _, c := range candidates {
		m, there, f := p.message(ctx, c.ID)
		switch {
		case f != nil:
			return outbox.Receipt{}, false, f
		case !there:
			vanished = true
		case m.Args[outbox.ReservedMetadata] == in.ID.String():
			return outbox.Receipt{Provider: Name, ID: providers.Token(m.ID), Status: providers.Token(m.Status)}, true, nil
		}
	}
	switch {
	case more:
		return outbox.Receipt{}, false, cannotTell("SendGrid's log holds too many e-mails to this address to compare each")
	case vanished:
		return outbox.Receipt{}, false, cannotTell("SendGrid's log lists an e-mail that it does not show")
	}
	return outbox.Receipt{}, false, nil
}

// candidates lists the e-mails to an address since an instant; more says that there are further ones.
func (p *Provider) candidates(ctx context.Context, to string, since time.Time) (found []message, more bool, f *outbox.Failure) {
	query := fmt.Sprintf("sg_message_id_created_at > TIMESTAMP %q", since.UTC().Format(time.RFC3339))
	limit := maxPage
	// How a quote inside a string is written is not documented; such an address is compared here instead.
	quotable := !strings.ContainsAny(to, `'"\`)
	if quotable {
		query, limit = "to_email = '"+to+"' AND "+query, maxCandidates+1
	}
	data, err := json.Marshal(map[string]any{"query": query, "limit": limit})
	if err != nil {
		return nil, false, refused("the query cannot be written", err)
	}
	var answer struct {
		Messages []message `json:"messages"`
	}
	call, f := p.ask(ctx, rest.Post, "/v3/logs", data, &answer)
	switch {
	case f != nil:
		return nil, false, f
	case answer.Messages == nil: // an empty list is a list; no list is no answer
		return nil, false, call.Unreadable(ctx, Name)
	}
	more = len(answer.Messages) >= limit
	found = answer.Messages
	if !quotable {
		found = slices.DeleteFunc(found, func(m message) bool { return !strings.EqualFold(m.To, to) })
	}
	if len(found) > maxCandidates {
		found, more = found[:maxCandidates], true
	}
	return found, more, nil
}

// message gets one e-mail from the log; not there is no failure.
func (p *Provider) message(ctx context.Context, id string) (m message, there bool, f *outbox.Failure) {
	call, f := p.ask(ctx, rest.Get, "/v3/logs/"+url.PathEscape(id), nil, &m)
	switch {
	case f != nil && call.Status() == http.StatusNotFound:
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
	switch {
	case f == nil && call.Status() == http.StatusOK && call.Whole() && json.Unmarshal(call.Body(), into) == nil:
		return call, nil
	case f == nil:
		f = call.Unreadable(ctx, Name)
	case f.Class == outbox.RateLimited:
		f.LaneOpen = true // SendGrid limits each endpoint by itself: the log's limit is not the lane's
	case f.Class == outbox.Permanent, f.Code == outbox.CodeForbidden:
		// A refused question says nothing about the e-mail, and a key that may send but not read is no reason to stop.
		f.Class, f.Code = outbox.Ambiguous, outbox.CodeCannotTell
		f.Message = "SendGrid refused to show its log; the API key needs the scope messages.read"
	}
	return call, f
}

func cannotTell(message string) *outbox.Failure {
	return &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodeCannotTell, Provider: Name, Message: message}
}
