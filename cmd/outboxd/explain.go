package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/migrations"
)

type explainCmd struct {
	File string `arg:"" optional:"" default:"-" name:"FILE" help:"The error as JSON or Extended JSON: its errInfo, or whatever holds one, such as a server's reply or a driver's error. A dash, the default, reads standard input."`
	JSON bool   `help:"One JSON object for each reason: {path, rule, text, missing, unknown}."`
}

func (explainCmd) Help() string {
	return `MongoDB's error 121 carries an errInfo that explains which rule of the contract a document broke. It is long, and its
consideredValue repeats the document: telephone numbers, addresses. This command prints one line for each reason, without any
value. Exit code 1 if there is no errInfo of a validator in what it reads.

How to print the errInfo of a caught error e as JSON:
  mongosh   EJSON.stringify(e.errInfo)
  Node      EJSON.stringify(e.errInfo), EJSON from the package bson
  Python    bson.json_util.dumps(e.details)
  Java      e.getError().getDetails().toJson() of a MongoWriteException`
}

func (c explainCmd) Run(p *program) error {
	text, name, err := p.read(c.File)
	if err != nil {
		return err
	}
	infos, err := errInfos(text)
	if err != nil {
		return fmt.Errorf("%s is not JSON: %w; `outboxd explain --help` tells how to print an error's errInfo as JSON", name, err)
	}
	var reasons []migrations.Reason
	for _, info := range infos {
		raw, err := bson.Marshal(info)
		if err != nil {
			return fmt.Errorf("read the errInfo: %w", err)
		}
		reasons = append(reasons, migrations.ReasonsOf(raw)...)
	}
	if len(reasons) == 0 {
		return fmt.Errorf("%s holds no errInfo of an error 121 of the outbox's validator", name)
	}
	for _, r := range reasons {
		if err := c.say(p, r); err != nil {
			return err
		}
	}
	return nil
}

func (c explainCmd) say(p *program, r migrations.Reason) error {
	if !c.JSON {
		_, err := fmt.Fprintln(p.out, term.Clean(r.String()))
		return err
	}
	list := func(names []string) []string { return append([]string{}, names...) }
	return p.json(bson.D{{Key: "path", Value: r.Path}, {Key: "rule", Value: r.Rule}, {Key: "text", Value: r.Text},
		{Key: "missing", Value: list(r.Missing)}, {Key: "unknown", Value: list(r.Unknown)}})
}

// errInfos returns every errInfo in a text of one or more JSON values. The text is read as plain JSON: an errInfo
// repeats values of the document that was refused, and none of those needs to be understood.
func errInfos(text []byte) ([]map[string]any, error) {
	var found []map[string]any
	dec := json.NewDecoder(bytes.NewReader(text))
	for {
		var v any
		switch err := dec.Decode(&v); {
		case errors.Is(err, io.EOF):
			return found, nil
		case err != nil:
			return nil, fmt.Errorf("at byte %d: %w", dec.InputOffset(), err)
		}
		found = append(found, findErrInfos(v)...)
	}
}

// findErrInfos looks for documents that hold the server's explanation, whose root is an operator.
func findErrInfos(v any) []map[string]any {
	var found []map[string]any
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			found = append(found, findErrInfos(item)...)
		}
	case map[string]any:
		if details, ok := v["details"].(map[string]any); ok {
			if _, ok := details["operatorName"]; ok {
				return append(found, map[string]any{"details": withoutValues(details)})
			}
		}
		if _, ok := v["operatorName"]; ok { // the explanation without its errInfo around it
			return append(found, map[string]any{"details": withoutValues(v)})
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			found = append(found, findErrInfos(v[name])...)
		}
	}
	return found
}

// withoutValues takes away what repeats values of the document.
func withoutValues(v any) any {
	switch v := v.(type) {
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = withoutValues(item)
		}
		return list
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, value := range v {
			if name != "consideredValue" && name != "consideredValues" {
				out[name] = withoutValues(value)
			}
		}
		return out
	default:
		return v
	}
}
