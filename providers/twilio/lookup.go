package twilio

import (
	"context"
	"strconv"
	"time"

	api "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/outboxd/outboxd/outbox"
)

const (
	// pageSize is how many messages to one number are looked at, newest first. It keeps the answer well below
	// providers.MaxAnswer.
	pageSize = 100
	// slack is the time before the first attempt within which a like text counts as this one: Twilio's times have whole
	// seconds.
	slack = 2 * time.Second
	// clockSkew is how far Twilio's clock and the database's may be apart. A like text that near, but outside the
	// attempts' time, could be this one or another's.
	clockSkew = 2 * time.Minute
)

// verdict is what one message of the list is to the intent.
type verdict int

const (
	another  verdict = iota // not this one
	ours                    // this one, or one exactly like it
	doubtful                // a like one whose time does not settle whose it is
	changed                 // its text is another, but it may be this one all the same
)

// LookUp searches the messages to the intent's number for its text. It finds exactly one like it within the time of
// the attempts; two like it, or one of doubtful time, cannot be told apart from other intents' messages. Another text
// of the same sender and time is doubtful as well, since Twilio changes texts on their way. The error is an
// *outbox.Failure and means that Twilio could not be asked or that its answer does not tell.
func (p *Provider) LookUp(ctx context.Context, in *outbox.Intent) (outbox.Answer, error) {
	sms, ok := in.Payload.(*outbox.SMS)
	if !ok {
		return outbox.Answer{}, notAnSMS()
	}
	if in.FirstAttemptAt.IsZero() {
		return outbox.Answer{}, cannotTell("the time of the first attempt is unknown")
	}
	messages, whole, f := p.list(ctx, in, sms)
	if f != nil {
		return outbox.Answer{}, f
	}
	var found []*api.ApiV2010Message
	var others bool
	for i := range messages {
		switch compare(in, sms, &messages[i]) {
		case doubtful:
			return outbox.Answer{}, cannotTell("Twilio shows a like text to this number, just outside the time of the attempts")
		case ours:
			found = append(found, &messages[i])
		case changed:
			others = true
		case another:
		}
	}
	switch {
	case len(found) > 1:
		return outbox.Answer{}, cannotTell("Twilio shows several like texts to this number")
	case !whole:
		return outbox.Answer{}, cannotTell("Twilio shows too many messages to this number to compare all")
	case len(found) == 0 && others:
		return outbox.Answer{}, cannotTell("Twilio shows another text of this sender to this number at the time of the attempts; it may be this one, changed on its way")
	case len(found) == 0:
		return outbox.Answer{}, nil
	}
	receipt := receiptOf(found[0])
	if receipt.ID == "" {
		return outbox.Answer{}, cannotTell("Twilio shows the text without a SID")
	}
	return outbox.Answer{Receipt: receipt, Found: true}, nil
}

// list gets the newest messages to the number. It has no filter by date: date_sent is not set while a message waits
// in Twilio's queue, so that such a filter would hide it. whole says that the page reaches back to before the first
// attempt.
func (p *Provider) list(ctx context.Context, in *outbox.Intent, sms *outbox.SMS) (messages []api.ApiV2010Message, whole bool, f *outbox.Failure) {
	service, call := p.service(ctx)
	params := (&api.ListMessageParams{}).SetTo(sms.To).SetPageSize(pageSize)
	if sms.From != "" {
		params.SetFrom(sms.From)
	}
	page, err := service.PageMessage(params, "", "")
	f = failure(ctx, call)
	switch {
	case f == nil && err == nil && call.Whole() && page.Messages != nil:
	case f == nil:
		return nil, false, call.Unreadable(ctx, Name)
	case f.Class == outbox.Permanent, f.Code == outbox.CodeForbidden:
		// A refused question says nothing about the message, and credentials that may send but not read are no reason
		// to stop.
		f.Class, f.Code, f.Message = outbox.Ambiguous, outbox.CodeCannotTell, "Twilio refused to list the messages to this number"
		return nil, false, f
	default:
		return nil, false, f
	}
	whole = page.NextPageUri == nil
	if n := len(page.Messages); !whole && n > 0 {
		oldest, ok := created(&page.Messages[n-1])
		whole = ok && oldest.Before(in.FirstAttemptAt.Add(-clockSkew))
	}
	return page.Messages, whole, nil
}

// compare says what a listed message is to the intent. Twilio changes texts on their way, so that another text of the
// same time is no proof that it is another message.
func compare(in *outbox.Intent, sms *outbox.SMS, m *api.ApiV2010Message) verdict {
	if text(m.NumMedia) != strconv.Itoa(len(sms.MediaURLs)) || text(m.Direction) != "outbound-api" {
		return another
	}
	if sms.MessagingServiceSID != "" && text(m.MessagingServiceSid) != sms.MessagingServiceSID {
		return another
	}
	at, ok := created(m)
	v := judge(in, at, ok)
	switch same := text(m.Body) == sms.Body; {
	case same || v == another:
		return v
	case alike(text(m.Body), sms.Body), v == ours && !at.After(lastAttempt(in).Add(slack)):
		return changed
	default:
		return another
	}
}

// judge says what a message is to the intent by its time alone.
func judge(in *outbox.Intent, at time.Time, known bool) verdict {
	since := in.FirstAttemptAt
	switch {
	case !known:
		return doubtful
	case at.Before(since.Add(-clockSkew)):
		return another
	case at.Before(since.Add(-slack)):
		return doubtful
	case !at.After(lastAttempt(in).Add(clockSkew)):
		return ours
	case in.Lease.Reclaimed: // an attempt that nobody recorded may have been later
		return doubtful
	default:
		return another
	}
}

// lastAttempt is when the last recorded attempt had ended.
func lastAttempt(in *outbox.Intent) time.Time {
	at := in.AmbiguousAt
	if n := len(in.History); n > 0 {
		if end := in.History[n-1].At.Add(in.History[n-1].Took); end.After(at) {
			at = end
		}
	}
	return at
}

// created is when Twilio created a message (RFC 2822, in GMT).
func created(m *api.ApiV2010Message) (time.Time, bool) {
	at, err := time.Parse(time.RFC1123Z, text(m.DateCreated))
	return at, err == nil
}

func cannotTell(message string) *outbox.Failure {
	return &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodeCannotTell, Provider: Name, Message: message}
}
