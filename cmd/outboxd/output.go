package main

import (
	"fmt"

	"github.com/goccy/go-yaml"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// The forms of --output.
const (
	formTable = "table"
	formJSON  = "json"
	formYAML  = "yaml"
)

// outputFlag says in which form a command writes what it lists.
type outputFlag struct {
	Output string `short:"o" enum:"table,json,yaml" default:"table" placeholder:"FORM" help:"table, json or yaml. --json is short for json."`
}

// form is the form that the flags ask for.
func (o outputFlag) form(json bool) string {
	if json {
		return formJSON
	}
	return o.Output
}

// json prints a document as one line of relaxed Extended JSON.
func (p *program) json(doc any) error { return p.object(formJSON, doc) }

// object prints a document for programs: as one line of relaxed Extended JSON, or as one document of a stream of YAML
// that says the same.
func (p *program) object(form string, doc any) error {
	line, err := bson.MarshalExtJSON(doc, false, false)
	if err != nil {
		return fmt.Errorf("write a document as Extended JSON: %w", err)
	}
	if form == formYAML {
		if line, err = yaml.JSONToYAML(line); err != nil {
			return fmt.Errorf("write a document as YAML: %w", err)
		}
		line = append([]byte("---\n"), line[:len(line)-1]...)
	}
	_, err = p.out.Write(append(line, '\n'))
	return err
}

// orNull is the text, nil if it is empty.
func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}
