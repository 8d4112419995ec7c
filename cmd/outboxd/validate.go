package main

import (
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/extjson"
	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

type validateCmd struct {
	File              string   `arg:"" optional:"" name:"FILE" help:"The documents as JSON or MongoDB Extended JSON: one, an array, or one after another (such as one on each line). A dash reads standard input."`
	Config            string   `placeholder:"FILE" predictor:"file" help:"The workers' file of policies, to check write_back against its write_back.collections, and kinds against its kinds ($$OUTBOXD_CONFIG). Without it any collection passes."`
	AllowUnknownKinds bool     `help:"Let kinds pass that this outboxd has no payload for. Without it, a mistyped kind is found."`
	Serve             string   `placeholder:"ADDR" help:"Check what is posted to this loopback address, such as 127.0.0.1:8429, instead of a file; port 0 takes a free one. For unit tests of producers in any language."`
	kinds             []string // that the file of policies lists

	JSON bool `help:"One JSON object for each document: {line, kind, valid, reasons: [{line, path, text}]}."`
}

func (validateCmd) Help() string {
	return `A document is checked as a producer's insert, by the rules of the collection's validator and of the worker together.
Nothing is connected to. Each reason names the file, the line and the field, and never a value. Exit code 1 if any document breaks
the contract, 2 if the file cannot be read.

A date is an object in Extended JSON: {"$date": "2027-01-31T09:00:00Z"}. For a document without an _id, one is assumed.

With --serve, nothing is read. POST documents to the address that is printed. The answer is one JSON object:
{valid, documents: [{line, kind, valid, reasons: [{line, path, text}]}]}.`
}

func (c validateCmd) Run(p *program) error {
	rules := outbox.Rules{AnyWriteBack: true}
	if c.Config != "" || p.env("OUTBOXD_CONFIG") != "" {
		policies, err := config.LoadPolicies(p.source)
		if err != nil {
			return err
		}
		rules = outbox.Rules{WriteBack: policies.WriteBack}
		c.kinds = policies.Kinds
	}
	switch {
	case c.Serve != "" && c.File != "":
		return wrongUse("validate takes either a file or --serve")
	case c.Serve != "":
		return c.serve(p, rules)
	case c.File == "":
		return wrongUse("validate takes a file, or - for standard input, or --serve")
	}
	text, name, err := p.read(c.File)
	if err != nil {
		return err
	}
	documents, broken := extjson.Parse(text)
	bad := 0
	for _, d := range documents {
		reasons, kind, err := c.check(d, rules)
		if err != nil {
			return err
		}
		if len(reasons) > 0 {
			bad++
		}
		if err := c.say(p, name, d, kind, reasons); err != nil {
			return err
		}
	}
	switch {
	case broken != nil:
		return fmt.Errorf("%s: %w", name, broken)
	case len(documents) == 0:
		return fmt.Errorf("%s holds no document", name)
	case bad > 0:
		return fmt.Errorf("%d of %d documents break the contract", bad, len(documents))
	case c.JSON:
		return nil
	}
	_, err = fmt.Fprintf(p.out, "%d valid.\n", len(documents))
	return err
}

// reason is one way in which a document breaks the contract, and where.
type reason struct {
	outbox.Problem
	line int
}

// check returns what is wrong with a document, in the order of its lines.
func (c validateCmd) check(d *extjson.Document, rules outbox.Rules) (reasons []reason, kind string, err error) {
	problems := slices.Clone(d.Problems)
	if d.BSON != nil {
		in, err := store.ParseInsert(d.BSON, rules)
		if err != nil {
			return nil, "", fmt.Errorf("read the document of line %d: %w", d.Line, err)
		}
		kind = in.Kind
		problems = append(problems, in.Problems...)
		if !c.AllowUnknownKinds {
			problems = append(problems, c.unknownKinds(in.Document, "")...)
		}
	}
	for _, p := range problems {
		if p.Text == "must be a Date" {
			p.Text += `, {"$date": "2027-01-31T09:00:00Z"} in Extended JSON`
		}
		reasons = append(reasons, reason{p, d.LineOf(p.Path)})
	}
	slices.SortStableFunc(reasons, func(a, b reason) int { return a.line - b.line })
	return reasons, kind, nil
}

// unknownKinds reports kinds in an intent and in its follow-ups that are neither of this release nor listed in the file
// of policies.
func (c validateCmd) unknownKinds(doc map[string]any, path string) []outbox.Problem {
	var problems []outbox.Problem
	known := append([]string{outbox.KindCharge, outbox.KindEmail, outbox.KindSMS}, c.kinds...)
	if kind, ok := doc["kind"].(string); ok && kind != "" && !slices.Contains(known, kind) {
		problems = append(problems, outbox.Problem{Path: path + "kind",
			Text: "is none of " + strings.Join(known, ", ") + ": the collection refuses what is not registered (--config FILE with its kinds, or --allow-unknown-kinds)"})
	}
	for _, field := range []string{"on_done", "on_dead"} {
		list, _ := doc[field].([]any)
		for i, item := range list {
			if followUp, ok := item.(map[string]any); ok {
				problems = append(problems, c.unknownKinds(followUp, fmt.Sprintf("%s%s.%d.", path, field, i))...)
			}
		}
	}
	return problems
}

func (c validateCmd) say(p *program, name string, d *extjson.Document, kind string, reasons []reason) error {
	if !c.JSON {
		for _, r := range reasons {
			if _, err := fmt.Fprintf(p.out, "%s:%d: %s\n", name, r.line, strings.TrimSpace(term.Clean(r.String()))); err != nil {
				return err
			}
		}
		return nil
	}
	return p.json(told(d, kind, reasons))
}

// told is what is said of a document as JSON.
func told(d *extjson.Document, kind string, reasons []reason) bson.D {
	list := bson.A{}
	for _, r := range reasons {
		list = append(list, bson.D{{Key: "line", Value: int32(r.line)}, {Key: "path", Value: r.Path}, {Key: "text", Value: r.Text}})
	}
	return bson.D{{Key: "line", Value: int32(d.Line)}, {Key: "kind", Value: kind}, {Key: "valid", Value: len(reasons) == 0}, {Key: "reasons", Value: list}}
}
