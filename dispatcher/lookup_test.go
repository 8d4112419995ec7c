package dispatcher

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// answering is a provider that answers each look-up in one way.
type answering struct {
	Provider
	answer outbox.Answer
	err    error
}

func (a answering) LookUp(context.Context, *outbox.Intent) (outbox.Answer, error) {
	return a.answer, a.err
}

// TestLookUpIsPassedOnWhole: that an absence is certain, and what was done at the provider, reach the decision.
func TestLookUpIsPassedOnWhole(t *testing.T) {
	done := []outbox.Record{{What: outbox.WhatCancelAtProvider, Ref: "pi_1"}}
	unclear := &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodeCannotTell}
	for name, row := range map[string]struct {
		answer  outbox.Answer
		err     error
		event   outbox.Event
		certain bool
	}{
		"certainly absent": {outbox.Answer{Certain: true, Also: done}, nil, outbox.Absent, true},
		"absent so far":    {outbox.Answer{Also: done}, nil, outbox.Absent, false},
		"found":            {outbox.Answer{Found: true, Receipt: outbox.Receipt{ID: "pi_1"}, Also: done}, nil, outbox.Found, false},
		"not to be told":   {outbox.Answer{Also: done}, unclear, outbox.LookUpFailed, false},
	} {
		l := &lane{Lane: Lane{Provider: answering{answer: row.answer, err: row.err}, Timeout: time.Minute}, log: slog.New(slog.DiscardHandler)}
		v, _ := l.call(t.Context(), claimed{in: &outbox.Intent{}}, outbox.LookUp)
		if v.Event != row.event || v.Certain != row.certain || len(v.Also) != 1 || v.Receipt != row.answer.Receipt {
			t.Errorf("%s: %+v", name, v)
		}
	}
}
