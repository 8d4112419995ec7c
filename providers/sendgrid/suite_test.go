package sendgrid

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
	"github.com/outboxd/outboxd/providers/providertest"
)

// What must not show anywhere.
const (
	testKey   = "SG.NeverShowThis.AtAll"
	recipient = "reader@private.example"
	sender    = "shop@private.example"
	subject   = "Your confidential order"
	content   = "Dear Mr. Reader, here is your secret"
	metaValue = "internal-note-4711"
)

const messageID = "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0"

func newProvider(tb testing.TB, url string, transport *providers.Transport) *Provider {
	tb.Helper()
	p, err := New(Config{APIKey: testKey, URL: url, Transport: transport})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func newIntent() *outbox.Intent {
	now := time.Now()
	return &outbox.Intent{
		ID: outbox.NewStringID("mail-17"), Namespace: "test", Kind: outbox.KindEmail, Status: outbox.StatusLeased, Attempts: 1,
		FirstAttemptAt: now.Add(-time.Minute), AmbiguousAt: now.Add(-time.Minute), Lease: outbox.Lease{Token: "t", At: now},
		Metadata: map[string]string{"note": metaValue},
		Payload: &outbox.Email{
			From: outbox.Address{Email: sender, Name: "Shop"}, To: outbox.Address{Email: recipient}, Subject: subject, Text: content,
		},
	}
}

func listed(ids ...string) string {
	list := ""
	for _, id := range ids {
		if list != "" {
			list += ","
		}
		list += fmt.Sprintf(`{"from_email":%q,"sg_message_id":%q,"subject":%q,"to_email":%q,"status":"delivered","sg_message_id_created_at":"2026-01-01T00:00:00Z"}`,
			sender, id, subject, recipient)
	}
	return `{"messages":[` + list + `]}`
}

func shown(id, outboxID string) string {
	return fmt.Sprintf(`{"from_email":%q,"sg_message_id":%q,"subject":%q,"to_email":%q,"status":"delivered","custom_args":{"outbox_id":%q,"outbox_ns":"test","outbox_key":"s0","note":%q},"events":[]}`,
		sender, id, subject, recipient, outboxID, metaValue)
}

// mailErrors is an error's body, with everything in it that must not show.
func mailErrors(field string) string {
	quoted := "null"
	if field != "" {
		quoted = strconv.Quote(field)
	}
	return fmt.Sprintf(`{"errors":[{"message":"%s to %s: %s","field":%s,"help":null}]}`, subject, recipient, content, quoted)
}

func want(class outbox.Class, code string) providertest.Want {
	return providertest.Want{Class: class, Code: code}
}

func both(from, to int, w providertest.Want) providertest.Status {
	return providertest.Status{From: from, To: to, Own: w, Other: w}
}

var (
	done       = providertest.Want{Class: outbox.Done}
	accepted   = providertest.Reply{Status: 202, Header: map[string]string{"X-Message-Id": "14c5d75ce93.dfd.64b469"}}
	bad        = want(outbox.Ambiguous, outbox.CodeBadAnswer)
	strange    = want(outbox.Ambiguous, outbox.CodeUnclassified)
	rejected   = want(outbox.Permanent, outbox.CodeRejected)
	untold     = want(outbox.Ambiguous, outbox.CodeCannotTell)
	limited    = want(outbox.RateLimited, outbox.CodeRateLimited)
	logLimited = providertest.Want{Class: outbox.RateLimited, Code: outbox.CodeRateLimited, LaneOpen: true}
)

// errorTable is what the statuses of failure mean, for the e-mail and for questions alike.
func errorTable() []providertest.Status {
	return []providertest.Status{
		both(300, 399, want(outbox.Ambiguous, outbox.CodeRedirected)),
		both(400, 499, strange),
		both(401, 401, want(outbox.Hold, outbox.CodeUnauthorized)),
		both(408, 408, want(outbox.Ambiguous, outbox.CodeUnavailable)),
		both(500, 599, want(outbox.Ambiguous, outbox.CodeServerError)),
		both(502, 504, want(outbox.Ambiguous, outbox.CodeUnavailable)),
	}
}

func sendTable() []providertest.Status {
	return providertest.Strangers(append(errorTable(),
		both(200, 299, strange),
		providertest.Status{From: 200, To: 200, Own: done, Other: bad, Empty: done},
		both(202, 202, done),
		both(400, 400, rejected),
		both(403, 403, want(outbox.Hold, outbox.CodeForbidden)),
		both(404, 405, want(outbox.Hold, outbox.CodeNotTheProvider)),
		both(406, 406, rejected), both(413, 413, rejected), both(415, 415, rejected), both(451, 451, rejected),
		both(429, 429, limited),
	))
}

func questionTable(good providertest.Want) []providertest.Status {
	return providertest.Strangers(append(errorTable(),
		both(200, 299, bad),
		providertest.Status{From: 200, To: 200, Own: good, Other: bad},
		both(400, 400, untold), both(403, 406, untold), both(413, 413, untold), both(415, 415, untold), both(451, 451, untold),
		both(429, 429, logLimited),
	))
}

var lookUp = providertest.LookUp(newIntent)

func errorFor(int) string { return mailErrors("") }

// suite is what the provider must make of each answer.
func suite() providertest.Suite {
	found := providertest.Want{Class: outbox.Done, ReceiptID: messageID}
	foundMessage := providertest.JSON(200, shown(messageID, "mail-17"))
	log := providertest.Step{
		Name: "log", Before: []providertest.Reply{providertest.JSON(200, listed(messageID))}, Good: foundMessage, Run: lookUp, Question: true,
		Silence: outbox.Ambiguous, Broken: bad, Error: errorFor,
		Statuses: questionTable(found),
		Rows: []providertest.Row{
			{Name: "of another intent", Reply: providertest.JSON(200, shown(messageID, "mail-18"))},
			{Name: "without custom_args", Reply: providertest.JSON(200, fmt.Sprintf(`{"sg_message_id":%q}`, messageID))},
			{Name: "another e-mail than asked for", Reply: providertest.JSON(200, shown("other", "mail-17")), Want: bad},
		},
	}
	return providertest.Suite{
		Name: Name,
		New: func(tb testing.TB, url string, transport *providers.Transport) providertest.Provider {
			return newProvider(tb, url, transport)
		},
		Forbidden: []string{testKey, recipient, sender, subject, content, metaValue},
		CheckGood: providertest.JSON(200, `{"scopes":["mail.send"]}`),
		Steps: []providertest.Step{
			{
				Name: "send", Good: accepted, Silence: outbox.Ambiguous, Broken: done, Error: errorFor, Statuses: sendTable(), Rows: sendRows(),
				Run: func(ctx context.Context, p providertest.Provider) (outbox.Receipt, bool, error) {
					receipt, err := p.Deliver(ctx, newIntent(), nil)
					return receipt, err == nil, err
				},
			},
			{
				Name: "list", Good: providertest.JSON(200, listed(messageID)), After: []providertest.Reply{foundMessage}, Run: lookUp, Question: true,
				Silence: outbox.Ambiguous, Broken: bad, Error: errorFor, Statuses: questionTable(found), Rows: listRows(),
			},
			log,
		},
	}
}

func TestSuite(t *testing.T) {
	rows := providertest.Run(t, suite())
	if rows < 4000 {
		t.Errorf("the suite had %d rows, want at least 4000", rows)
	}
}

func sendRows() []providertest.Row {
	errors := func(status int, field string) providertest.Reply {
		return providertest.JSON(status, mailErrors(field))
	}
	coded := func(w providertest.Want, code string) providertest.Want { w.ProviderCode = code; return w }
	wait := func(seconds int) providertest.Want { w := limited; w.RetryAfter = seconds; return w }
	return []providertest.Row{
		{Name: "accepted", Reply: accepted, Want: providertest.Want{Class: outbox.Done, ReceiptID: "14c5d75ce93.dfd.64b469"}},
		{Name: "accepted without an id", Reply: providertest.Reply{Status: 202}, Want: done},
		{Name: "accepted with an id that is none", Reply: providertest.Reply{Status: 202}.With("X-Message-Id", recipient), Want: done},
		{Name: "sandbox", Reply: providertest.Reply{Status: 200}, Want: done},
		{Name: "sender not verified", Reply: errors(403, "from"), Want: coded(want(outbox.Permanent, outbox.CodeForbidden), "from")},
		{Name: "temporarily blocked", Reply: errors(403, ""), Want: want(outbox.Hold, outbox.CodeForbidden)},
		{Name: "no credits", Reply: providertest.JSON(401, `{"errors":[{"message":"Maximum credits exceeded","field":null,"help":null}]}`), Want: want(outbox.Hold, outbox.CodeUnauthorized)},
		{Name: "bad recipient", Reply: errors(400, "personalizations.0.to.0.email"), Want: coded(want(outbox.Permanent, outbox.CodeBadRecipient), "personalizations.0.to.0.email")},
		{Name: "bad template", Reply: errors(400, "template_id"), Want: coded(rejected, "template_id")},
		{Name: "a field that is no field", Reply: errors(400, "to "+recipient), Want: rejected},
		{Name: "too large", Reply: errors(413, ""), Want: rejected},
		{Name: "no such path", Reply: errors(404, ""), Want: want(outbox.Hold, outbox.CodeNotTheProvider)},
		{Name: "a limit that names a field", Reply: errors(429, "from"), Want: providertest.Want{Class: outbox.RateLimited, Code: outbox.CodeRateLimited, LaneOpen: true}},
		{Name: "too many requests", Reply: providertest.JSON(429, `{"errors":[{"field":null,"message":"too many requests"}]}`), Want: limited},
		{Name: "Retry-After in seconds", Reply: errors(429, "").With("Retry-After", "7"), Want: wait(7)},
		{Name: "Retry-After as a date", Reply: errors(429, "").With("Retry-After", "@date+30"), Want: wait(30)},
		{Name: "X-RateLimit-Reset", Reply: errors(429, "").With("X-RateLimit-Reset", "@epoch+20"), Want: wait(20)},
		{Name: "X-RateLimit-Reset by a clock that is ahead", Reply: skewed(errors(429, "").With("X-RateLimit-Reset", "@epoch+20"), time.Hour), Want: wait(20)},
		{Name: "Retry-After by a clock that is behind", Reply: skewed(errors(429, "").With("Retry-After", "@date+30"), -time.Hour), Want: wait(30)},
		{Name: "Retry-After in the past", Reply: errors(429, "").With("Retry-After", "@date+-30"), Want: limited},
		{Name: "Retry-After below zero", Reply: errors(429, "").With("Retry-After", "-5"), Want: limited},
		{Name: "Retry-After without an end", Reply: errors(429, "").With("Retry-After", "1e300"), Want: wait(24 * 60 * 60)},
		{Name: "Retry-After that is no number", Reply: errors(429, "").With("Retry-After", "NaN"), Want: limited},
		{Name: "X-RateLimit-Reset in the past", Reply: errors(429, "").With("X-RateLimit-Reset", "@epoch+-3600"), Want: limited},
		{Name: "X-RateLimit-Reset that is nonsense", Reply: errors(429, "").With("X-RateLimit-Reset", "tomorrow"), Want: limited},
		{Name: "Retry-After wins over X-RateLimit-Reset", Reply: errors(429, "").With("Retry-After", "7").With("X-RateLimit-Reset", "@epoch+60"), Want: wait(7)},
		{Name: "server error with limits", Reply: errors(500, "").With("X-RateLimit-Reset", "@epoch+60"), Want: want(outbox.Ambiguous, outbox.CodeServerError)},
	}
}

func skewed(r providertest.Reply, by time.Duration) providertest.Reply {
	r.Skew = by
	return r
}

func listRows() []providertest.Row {
	many := make([]string, maxCandidates+1)
	after := make([]providertest.Reply, maxCandidates)
	for i := range many {
		many[i] = "id" + strconv.Itoa(i)
		if i < maxCandidates {
			after[i] = providertest.JSON(200, shown(many[i], "mail-18"))
		}
	}
	return []providertest.Row{
		{Name: "none", Reply: providertest.JSON(200, listed())},
		{
			Name: "the second one", Reply: providertest.JSON(200, listed("first", messageID)),
			After: []providertest.Reply{providertest.JSON(200, shown("first", "mail-18")), providertest.JSON(200, shown(messageID, "mail-17"))},
			Want:  providertest.Want{Class: outbox.Done, ReceiptID: messageID},
		},
		{
			Name: "one that vanished, then the right one", Reply: providertest.JSON(200, listed("first", messageID)),
			After: []providertest.Reply{providertest.JSON(404, mailErrors("")), providertest.JSON(200, shown(messageID, "mail-17"))},
			Want:  providertest.Want{Class: outbox.Done, ReceiptID: messageID},
		},
		{Name: "too many to compare", Reply: providertest.JSON(200, listed(many...)), After: after, Want: untold},
		{Name: "null", Reply: providertest.JSON(200, `{"messages":null}`), Want: bad},
	}
}
