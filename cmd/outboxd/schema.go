package main

import (
	"fmt"

	"github.com/outboxd/outboxd/migrations"
)

type schemaCmd struct {
	Kind              string `placeholder:"KIND" help:"Only the schema of this kind: charge, email or sms."`
	Format            string `enum:"json,bson,typescript" default:"json" help:"json: JSON Schema (draft 7) of what a producer writes. bson: the collection's validator. typescript: types for the driver of Node.js. Default: ${default}."`
	AllowUnknownKinds bool   `help:"With kinds that this outboxd has no payload for. Without it, a mistyped kind is refused."`
}

func (schemaCmd) Help() string {
	return `The JSON Schema describes what a producer writes: an intent in status pending, as relaxed Extended JSON. It is derived from
the same data as the collection's validator, so that a document which fits one fits the other. Validators and code generators
take it without options; each kind is a type of its own.`
}

func (c schemaCmd) Run(p *program) error {
	o := migrations.SchemaOptions{Kind: c.Kind, OtherKinds: c.AllowUnknownKinds}
	if c.Format == "bson" {
		if o != (migrations.SchemaOptions{}) {
			return wrongUse("flag --format: the collection's validator is one for all kinds; leave out --kind and --allow-unknown-kinds")
		}
		schema, err := migrations.BSONSchema()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.out, "%s\n", schema)
		return err
	}
	generate := migrations.JSONSchema
	if c.Format == "typescript" {
		generate = migrations.TypeScript
	}
	schema, err := generate(o)
	if err != nil {
		return wrongUse("flag --kind: %w", err)
	}
	_, err = fmt.Fprintf(p.out, "%s\n", schema)
	return err
}
