package main

import (
	"fmt"

	"github.com/outboxd/outboxd/migrations"
)

type schemaCmd struct {
	Kind string `placeholder:"KIND" help:"Only the schema of this kind: charge, email or sms."`
}

func (schemaCmd) Help() string {
	return `The schema (draft 2020-12) describes what a producer writes: an intent in status pending, as relaxed Extended JSON. It
is derived from the same data as the collection's validator, so that a document which fits one fits the other.`
}

func (c schemaCmd) Run(p *program) error {
	schema, err := migrations.JSONSchema(c.Kind)
	if err != nil {
		return wrongUse("flag --kind: %w", err)
	}
	_, err = fmt.Fprintf(p.out, "%s\n", schema)
	return err
}
