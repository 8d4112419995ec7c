package twilio

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
	"github.com/outboxd/outboxd/providers/providertest"
)

// What must not show anywhere.
const (
	testToken = "NeverShowThisToken0123456789abcd"
	recipient = "+4915112345678"
	sender    = "+15550001111"
	content   = "Your secret code is 4711"
)

const (
	testSID    = "AC00000000000000000000000000000001"
	messageSID = "SM00000000000000000000000000000001"
)

func newProvider(tb testing.TB, url string, transport *providers.Transport) *Provider {
	tb.Helper()
	p, err := New(Config{AccountSID: testSID, AuthToken: testToken, URL: url, Transport: transport})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// began is the first attempt of the test's intent; it became ambiguous a minute later.
var began = time.Now().Add(-10 * time.Minute).Truncate(time.Second)

func newIntent() *outbox.Intent {
	return &outbox.Intent{
		ID: outbox.NewStringID("sms-17"), Namespace: "test", Kind: outbox.KindSMS, Status: outbox.StatusLeased, Attempts: 1,
		FirstAttemptAt: began, AmbiguousAt: began.Add(time.Minute), Lease: outbox.Lease{Token: "t", At: time.Now()},
		Payload: &outbox.SMS{To: recipient, From: sender, Body: content},
	}
}

// message is one message as Twilio shows it; change replaces fields of it.
func message(at time.Time, change ...string) string {
	text := fmt.Sprintf(`{"sid":%q,"account_sid":%q,"to":%q,"from":%q,"body":%q,"num_media":"0","direction":"outbound-api","status":"queued",
		"messaging_service_sid":null,"date_created":%q,"date_sent":null,"error_code":null}`,
		messageSID, testSID, recipient, sender, content, at.UTC().Format(time.RFC1123Z))
	return strings.NewReplacer(change...).Replace(text)
}

func page(next string, messages ...string) providertest.Reply {
	return providertest.JSON(200, fmt.Sprintf(`{"page":0,"page_size":100,"next_page_uri":%s,"messages":[%s]}`, next, strings.Join(messages, ",")))
}

// refusal is an error of Twilio's, with everything in it that must not show.
func refusal(status, code int) providertest.Reply {
	return providertest.JSON(status, fmt.Sprintf(`{"code":%d,"message":"%s to %s from %s","more_info":"https://www.twilio.com/docs/errors/%d","status":%d}`,
		code, content, recipient, sender, code, status)).With("Twilio-Request-Id", "RQ0123")
}

func errorFor(status int) string { return refusal(status, 29999).Body }

func want(class outbox.Class, code string) providertest.Want {
	return providertest.Want{Class: class, Code: code}
}

func both(from, to int, w providertest.Want) providertest.Status {
	return providertest.Status{From: from, To: to, Own: w, Other: w}
}

var (
	done     = providertest.Want{Class: outbox.Done, ReceiptID: messageSID}
	bad      = want(outbox.Ambiguous, outbox.CodeBadAnswer)
	untold   = want(outbox.Ambiguous, outbox.CodeCannotTell)
	limited  = want(outbox.RateLimited, outbox.CodeRateLimited)
	rejected = want(outbox.Permanent, outbox.CodeRejected)

	senderLimited = providertest.Want{Class: outbox.RateLimited, Code: outbox.CodeRateLimited, LaneOpen: true}
)

// errorTable is what the statuses mean, for the message and for questions alike.
func errorTable() []providertest.Status {
	return []providertest.Status{
		{From: 200, To: 299, Own: done, Other: bad},
		both(300, 399, want(outbox.Ambiguous, outbox.CodeRedirected)),
		{From: 400, To: 499, Own: want(outbox.Ambiguous, outbox.CodeUnclassified), Other: bad},
		both(401, 401, want(outbox.Hold, outbox.CodeUnauthorized)),
		both(408, 408, want(outbox.Ambiguous, outbox.CodeUnavailable)),
		{From: 429, To: 429, Own: senderLimited, Other: limited}, // by a code that is none of the whole account
		both(500, 599, want(outbox.Ambiguous, outbox.CodeServerError)),
		both(502, 504, want(outbox.Ambiguous, outbox.CodeUnavailable)),
	}
}

// suite is what the provider must make of each answer.
func suite() providertest.Suite {
	unread := providertest.Want{Class: outbox.Done} // created, and the rest of the answer is lost
	return providertest.Suite{
		Name: Name,
		New: func(tb testing.TB, url string, transport *providers.Transport) providertest.Provider {
			return newProvider(tb, url, transport)
		},
		Forbidden: []string{testToken, recipient, recipient[1:], sender, sender[1:], content, "secret"},
		CheckGood: providertest.JSON(200, fmt.Sprintf(`{"sid":%q,"status":"active"}`, testSID)),
		Steps: []providertest.Step{
			{
				Name: "send", Good: providertest.JSON(201, message(began)), Silence: outbox.Ambiguous, Broken: unread, Error: errorFor, Rows: sendRows(),
				Run: func(ctx context.Context, p providertest.Provider) (outbox.Receipt, bool, error) {
					receipt, err := p.Deliver(ctx, newIntent(), nil)
					return receipt, err == nil, err
				},
				Statuses: providertest.Strangers(append(errorTable(),
					providertest.Status{From: 201, To: 201, Own: done, Other: unread},
					both(400, 400, rejected),
					both(403, 403, want(outbox.Hold, outbox.CodeForbidden)),
					both(404, 405, want(outbox.Hold, outbox.CodeNotTheProvider)),
				)),
			},
			{
				Name: "list", Good: page("null", message(began)), Silence: outbox.Ambiguous, Broken: bad, Error: errorFor, Rows: listRows(), Question: true,
				Run: providertest.LookUp(newIntent),
				Statuses: providertest.Strangers(append(errorTable(),
					both(400, 400, untold),
					both(403, 403, untold),
					both(404, 405, want(outbox.Hold, outbox.CodeNotTheProvider)),
				)),
			},
		},
	}
}

func TestSuite(t *testing.T) {
	rows := providertest.Run(t, suite())
	if rows < 2500 {
		t.Errorf("the suite had %d rows, want at least 2500", rows)
	}
}

func sendRows() []providertest.Row {
	row := func(status, code int, class outbox.Class, ours string) providertest.Row {
		return providertest.Row{
			Name: fmt.Sprintf("%d/%d", status, code), Reply: refusal(status, code),
			Want: providertest.Want{Class: class, Code: ours, ProviderCode: fmt.Sprint(code), LaneOpen: class == outbox.RateLimited && code != 20429},
		}
	}
	wait := limited
	wait.RetryAfter = 3
	return []providertest.Row{
		row(401, 20003, outbox.Hold, outbox.CodeUnauthorized),
		row(400, 20003, outbox.Hold, outbox.CodeUnauthorized),
		row(403, 20005, outbox.Hold, outbox.CodeForbidden),
		row(404, 20404, outbox.Hold, outbox.CodeNotTheProvider),
		row(405, 20004, outbox.Hold, outbox.CodeNotTheProvider),
		row(429, 14107, outbox.RateLimited, outbox.CodeRateLimited), // of one sender to one recipient
		row(429, 20429, outbox.RateLimited, outbox.CodeRateLimited),
		row(400, 20429, outbox.RateLimited, outbox.CodeRateLimited),
		row(500, 20500, outbox.Ambiguous, outbox.CodeServerError),
		row(400, 20500, outbox.Ambiguous, outbox.CodeServerError),
		row(503, 20503, outbox.Ambiguous, outbox.CodeUnavailable),
		row(400, 20503, outbox.Ambiguous, outbox.CodeUnavailable),
		row(400, 21211, outbox.Permanent, outbox.CodeBadRecipient),
		row(400, 21265, outbox.Permanent, outbox.CodeBadRecipient),
		row(400, 21408, outbox.Permanent, outbox.CodeForbidden),
		row(403, 21408, outbox.Permanent, outbox.CodeForbidden),
		row(400, 21602, outbox.Permanent, outbox.CodeRejected),
		row(400, 21606, outbox.Permanent, outbox.CodeRejected),
		row(400, 21608, outbox.Permanent, outbox.CodeForbidden),
		row(400, 21610, outbox.Permanent, outbox.CodeOptedOut),
		row(400, 21611, outbox.RateLimited, outbox.CodeSenderQueueFull),
		row(429, 21611, outbox.RateLimited, outbox.CodeSenderQueueFull),
		row(400, 21612, outbox.Permanent, outbox.CodeBadRecipient),
		row(400, 21614, outbox.Permanent, outbox.CodeBadRecipient),
		row(400, 21617, outbox.Permanent, outbox.CodeRejected),
		row(400, 21635, outbox.Permanent, outbox.CodeBadRecipient),
		row(400, 30003, outbox.Permanent, outbox.CodeRejected),
		row(400, 99999, outbox.Permanent, outbox.CodeRejected),
		row(500, 21610, outbox.Ambiguous, outbox.CodeServerError), // a server error stays one, whatever code it brings
		{Name: "Retry-After", Reply: refusal(429, 20429).With("Retry-After", "3"), Want: wait},
		{Name: "429 of a gateway", Reply: providertest.Reply{Status: 429, Body: "slow down"}, Want: limited},
		{Name: "404 of a gateway", Reply: providertest.Reply{Status: 404, Body: "no such host here"}, Want: want(outbox.Hold, outbox.CodeNotTheProvider)},
		{Name: "accepted by a messaging service", Reply: providertest.JSON(201, message(began, `"queued"`, `"accepted"`)), Want: done},
		{Name: "created without a SID", Reply: providertest.JSON(201, `{"status":"queued"}`), Want: providertest.Want{Class: outbox.Done}},
		{Name: "a SID that is none", Reply: providertest.JSON(201, message(began, messageSID, recipient)), Want: providertest.Want{Class: outbox.Done}},
	}
}

func listRows() []providertest.Row {
	row := func(name string, w providertest.Want, messages ...string) providertest.Row {
		return providertest.Row{Name: name, Reply: page("null", messages...), Want: w}
	}
	absent := providertest.Want{}
	at := func(d time.Duration) string { return message(began.Add(d)) }
	return []providertest.Row{
		row("none", absent),
		row("another text at that time", untold, message(began, "4711", "4712")),
		row("another text a minute before", absent, message(began.Add(-time.Minute-clockSkew), "4711", "4712")),
		row("another text after the attempts", absent, message(began.Add(time.Minute+slack+time.Second), "4711", "4712")),
		row("ours, changed, after the attempts", untold, message(began.Add(time.Minute+slack+time.Second), "Your", "“Your”")),
		row("ours, changed, of a queue that lagged", untold, message(began.Add(time.Minute+clockSkew), "code", "códe")),
		row("a reply", absent, message(began, "outbound-api", "outbound-reply")),
		row("with media", absent, message(began, `"num_media":"0"`, `"num_media":"1"`)),
		row("with date_sent", done, message(began, `"date_sent":null`, `"date_sent":"Thu, 30 Jul 2026 20:12:31 +0000"`)),
		row("failed later", done, message(began, `"queued"`, `"failed"`)),
		row("ours between others", done, message(began, "4711", "4712", messageSID, "SMother"), at(0), message(began.Add(-time.Hour))),
		row("a second before the attempt", done, at(-time.Second)),
		row("shortly before the attempt", untold, at(-10*time.Second)),
		row("ours and one shortly before", untold, at(0), at(-10*time.Second)),
		row("long before the attempt", absent, at(-clockSkew-time.Second)),
		row("at the end of the attempts", done, at(time.Minute)),
		row("long after the attempts", absent, at(time.Minute+clockSkew+time.Second)),
		row("two like texts", untold, at(0), at(time.Second)),
		row("without a date", untold, message(began, began.UTC().Format(time.RFC1123Z), "")),
		row("without a SID", untold, message(began, messageSID, "")),
		{Name: "more pages, all of them older", Reply: page(`"/next"`, at(0), at(-time.Hour)), Want: done},
		{Name: "more pages within the time", Reply: page(`"/next"`, at(0), message(began, "4711", "4712")), Want: untold},
		{Name: "null", Reply: providertest.JSON(200, `{"messages":null}`), Want: bad},
	}
}
