package providertest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// fuzzPatience bounds what a provider makes of one answer, none of which has to be waited for.
const fuzzPatience = 10 * time.Second

// maxShown is the most that any text of a failure or a receipt may have, in bytes: what is stored is cut at less.
const maxShown = 1000

// Fuzz gives every step of the suite arbitrary answers, through the real SDK and a connection in memory. First come
// the good answers that lead up to the step, then always the same status, headers and body. If cut is above 0, only
// the first cut bytes are sent. Whatever comes, the provider must return a receipt, that there is none, or a failure
// of a known class and code. Its texts must be short, printable and free of what is forbidden. It must not panic.
func Fuzz(f *testing.F, suite Suite) {
	for n, step := range suite.Steps {
		for _, reply := range append([]Reply{step.Good}, step.After...) {
			f.Add(n, reply.Status, head(reply), []byte(reply.Body), 0)
			f.Add(n, reply.Status, head(reply), []byte(reply.Body), 60)
		}
		for _, status := range []int{100, 101, 204, 302, 400, 401, 402, 403, 404, 409, 429, 500, 503, 999} {
			body := "{}"
			if step.Error != nil && status >= 400 && status < 600 {
				body = step.Error(status)
			}
			f.Add(n, status, "Content-Type: application/json\r\nRetry-After: 3\r\n", []byte(body), 0)
			f.Add(n, status, "Content-Type: text/html\r\nX-RateLimit-Reset: 99999999999\r\n", []byte("<html>"+strings.Join(suite.Forbidden, " ")+"</html>"), 0)
		}
		for _, row := range step.Rows {
			f.Add(n, row.Reply.Status, head(row.Reply), []byte(row.Reply.Body), 0)
		}
		f.Add(n, 200, "Transfer-Encoding: chunked\r\n", []byte("5\r\n{}"), 0)
		f.Add(n, 200, "Content-Length: 5\r\nContent-Length: 7\r\n", []byte("null"), 0)
		f.Add(n, 200, "Content-Encoding: gzip\r\n", []byte("\x1f\x8b\x00"), 0)
	}
	f.Fuzz(func(t *testing.T, n, status int, headers string, body []byte, cut int) {
		step := suite.Steps[uint(n)%uint(len(suite.Steps))]
		if len(body) > 64<<10 || len(headers) > 16<<10 {
			return // larger is not stranger, and the suite has floods
		}
		answer := fmt.Appendf(nil, "HTTP/1.1 %03d Fuzzed\r\n%s\r\n%s", uint(status)%1000, headers, body)
		if cut > 0 {
			answer = answer[:min(cut, len(answer))]
		}
		transport := providers.NewTransport(providers.TransportConfig{Dial: inMemory(step.Before, answer)})
		defer transport.CloseIdleConnections()
		provider := suite.New(t, "http://provider.invalid", transport)
		ctx, cancel := context.WithTimeout(t.Context(), fuzzPatience)
		defer cancel()
		receipt, found, err := step.Run(ctx, provider)
		if ctx.Err() != nil {
			t.Fatal("the provider did not return in time")
		}
		check(t, suite, receipt, found, err)
	})
}

// head writes a reply's headers as they stand in an answer.
func head(r Reply) string {
	var b strings.Builder
	for name, value := range r.Header {
		fmt.Fprintf(&b, "%s: %s\r\n", name, value)
	}
	return b.String()
}

// inMemory returns a dialer whose connections answer the first requests by replies, and all others by the given bytes.
func inMemory(replies []Reply, answer []byte) func(context.Context, string, string) (net.Conn, error) {
	next := make(chan []byte, len(replies))
	for _, r := range replies {
		next <- fmt.Appendf(nil, "HTTP/1.1 %d OK\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s", r.Status, head(r), len(r.Body), r.Body)
	}
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() { // ends when the client closes its side, or has read the answer
			defer server.Close()
			req, err := http.ReadRequest(bufio.NewReader(server))
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			bytes := answer
			select {
			case bytes = <-next:
			default:
			}
			_, _ = server.Write(bytes) // a client that has read enough has closed
		}()
		return client, nil
	}
}

// check judges what a provider made of an answer.
func check(t *testing.T, suite Suite, receipt outbox.Receipt, found bool, err error) {
	t.Helper()
	shown := []string{receipt.Provider, receipt.ID, receipt.Status}
	if err != nil {
		f, ok := err.(*outbox.Failure) //nolint:errorlint // It must be this, and not wrap it.
		if !ok {
			t.Fatalf("the error is a %T", err)
		}
		if receipt != (outbox.Receipt{}) || found {
			t.Error("there is a receipt beside a failure")
		}
		if !slices.ContainsFunc(outbox.Codes(), func(c outbox.CodeInfo) bool { return c.Code == f.Code && slices.Contains(c.Classes, f.Class) }) {
			t.Errorf("%s is not listed as a code of class %s", f.Code, f.Class)
		}
		if f.RetryAfter < 0 || f.RetryAfter > 24*time.Hour || f.HTTPStatus < 0 || f.HTTPStatus > 999 {
			t.Errorf("to be repeated after %v, status %d", f.RetryAfter, f.HTTPStatus)
		}
		if f.Provider != suite.Name || f.Message == "" {
			t.Errorf("the failure is of %q and says %q", f.Provider, f.Message)
		}
		shown = []string{f.Error(), f.Message, f.ProviderCode, f.RequestID}
		for cause := f.Cause; cause != nil; cause = errors.Unwrap(cause) {
			shown = append(shown, cause.Error())
		}
	} else if found && receipt.Provider != suite.Name {
		t.Errorf("the receipt is of %q", receipt.Provider)
	}
	for _, text := range shown {
		if len(text) > maxShown || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("a text is too long or not printable: %.200q", text)
		}
		for _, forbidden := range suite.Forbidden {
			if strings.Contains(text, forbidden) {
				t.Errorf("%q shows in %q", forbidden, text)
			}
		}
	}
}
