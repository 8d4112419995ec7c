package outboxdtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/producer"
)

// Reason is one rule of the contract that a document breaks, as [producer.Reasons] has it of a refusal.
type Reason = producer.Reason

// Check returns why the collection's validator would refuse a document; nil if it would take it. The document is a
// [*producer.Intent], or anything that the driver writes as a document. kinds are registered beside charge, email and
// sms. It returns an error if the document cannot be encoded. It may be called by many goroutines at once.
func Check(document any, kinds ...string) ([]Reason, error) {
	raw, err := bson.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("encoding the document: %w", err)
	}
	c, err := contract()
	if err != nil {
		return nil, err
	}
	f := &finding{}
	c.schema.check(value(raw), Reason{}, f)
	c.queries(raw, f)
	registered(raw, slices.Concat(builtIn(), kinds), f)
	return f.reasons, nil
}

// Valid fails the test with the reasons unless the collection's validator would take the document.
func Valid(tb testing.TB, document any, kinds ...string) {
	tb.Helper()
	reasons, err := Check(document, kinds...)
	if err != nil {
		tb.Fatal(err)
	}
	for _, r := range reasons {
		tb.Errorf("the outbox would refuse the document: %s", r)
	}
}

func builtIn() []string { return []string{"charge", "email", "sms"} }

// finding gathers reasons, each once.
type finding struct{ reasons []Reason }

func (f *finding) add(r Reason) {
	for _, known := range f.reasons {
		if known.Path == r.Path && known.Text == r.Text && slices.Equal(known.Missing, r.Missing) && slices.Equal(known.Unknown, r.Unknown) {
			return
		}
	}
	f.reasons = append(f.reasons, r)
}

// below returns the reason for a field of what r is about.
func below(r Reason, field string) Reason {
	r.Path = strings.TrimPrefix(r.Path+"."+field, ".")
	return r
}
