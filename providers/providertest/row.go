package providertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// row runs one row against the scripted server.
func (h *harness) row(t *testing.T, step Step, row Row) {
	t.Helper()
	h.timed(t, step, row, patience)
}

func (h *harness) timed(t *testing.T, step Step, row Row, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	h.under(ctx, t, step, row)
}

func (h *harness) under(ctx context.Context, t *testing.T, step Step, row Row) {
	t.Helper()
	h.rows.Add(1)
	if row.After == nil && row.Want.Class == outbox.Done {
		row.After = step.After
	}
	script := slices.Concat(step.Before, []Reply{row.Reply}, row.After)
	h.server.Script(script...)
	receipt, found, err := step.Run(ctx, h.provider)

	want, got := len(script), len(h.server.Requests())
	// A question that went unanswered may have been asked twice by net/http, which changes nothing.
	if got != want && !(step.Question && row.Reply.Fault != None && got == want+1) {
		t.Errorf("%s: the server got %d requests, want %d", row.Name, got, want)
	}
	switch row.Want.Class {
	case outbox.Done, "":
		h.success(t, row, receipt, found, err)
	default:
		if found || receipt != (outbox.Receipt{}) {
			t.Errorf("%s: there is a receipt beside a failure", row.Name)
		}
		h.failure(t, row.Name, err, row.Want)
	}
}

func (h *harness) success(t *testing.T, row Row, receipt outbox.Receipt, found bool, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v, want no error", row.Name, err)
		return
	}
	if found != (row.Want.Class == outbox.Done) {
		t.Errorf("%s: found is %v", row.Name, found)
	}
	if found && receipt.Provider != h.suite.Name {
		t.Errorf("%s: the receipt is of %q", row.Name, receipt.Provider)
	}
	if row.Want.ReceiptID != "" && receipt.ID != row.Want.ReceiptID {
		t.Errorf("%s: the receipt's id is %q, want %q", row.Name, receipt.ID, row.Want.ReceiptID)
	}
	h.clean(t, row.Name, fmt.Sprintf("%+v", receipt))
}

// failure compares a failure with what is wanted, and searches all that it shows.
func (h *harness) failure(t *testing.T, name string, err error, want Want) {
	t.Helper()
	f, ok := errors.AsType[*outbox.Failure](err)
	if !ok {
		t.Errorf("%s: the error is %v, want %s/%s", name, err, want.Class, want.Code)
		return
	}
	if f.Class != want.Class || f.Code != want.Code {
		t.Errorf("%s: %s/%s, want %s/%s", name, f.Class, f.Code, want.Class, want.Code)
	}
	if want.ProviderCode != "" && f.ProviderCode != want.ProviderCode {
		t.Errorf("%s: the provider's code is %q, want %q", name, f.ProviderCode, want.ProviderCode)
	}
	if f.LaneOpen != want.LaneOpen {
		t.Errorf("%s: LaneOpen is %v", name, f.LaneOpen)
	}
	if after := time.Duration(want.RetryAfter) * time.Second; f.RetryAfter != after {
		t.Errorf("%s: to be repeated after %v, want %v", name, f.RetryAfter, after)
	}
	if f.Provider != h.suite.Name {
		t.Errorf("%s: the failure is of %q", name, f.Provider)
	}
	if f.Message == "" {
		t.Errorf("%s: there is no message", name)
	}
	if !slices.ContainsFunc(outbox.Codes(), func(c outbox.CodeInfo) bool { return c.Code == f.Code && slices.Contains(c.Classes, f.Class) }) {
		t.Errorf("%s: %s is not listed as a code of class %s", name, f.Code, f.Class)
	}
	type bare outbox.Failure // without its methods, so that every field is shown
	h.clean(t, name, f.Error(), fmt.Sprintf("%+v", bare(*f)), fmt.Sprintf("%#v", bare(*f)))
	for cause := f.Cause; cause != nil; cause = errors.Unwrap(cause) {
		h.clean(t, name, cause.Error(), fmt.Sprintf("%#v", cause))
	}
}

// clean searches texts for what is forbidden.
func (h *harness) clean(t *testing.T, name string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		for _, forbidden := range h.suite.Forbidden {
			if strings.Contains(text, forbidden) {
				t.Errorf("%s: %q shows in %q", name, forbidden, text)
			}
		}
	}
}
