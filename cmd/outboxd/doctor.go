package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/doctor"
	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/store"
)

type doctorCmd struct {
	mongoFlags
	outputFlag
	Credentials bool `help:"Also make one harmless authenticated call to each provider."`
	JSON        bool `help:"One JSON object for each check: {check, ok, detail, remedy}."`
}

func (doctorCmd) Help() string {
	return `Looks at the server, the schema, privileges, clocks, lanes, and intents that no worker serves. If something is wrong, it says what
to do, and the exit code is 1. It changes nothing. Run it with the user and the environment of a worker.`
}

func (c doctorCmd) Run(p *program) error {
	m, err := config.LoadMongo(p.source)
	keys, keysErr := config.LoadProviders(p.source)
	if err := config.Join(err, keysErr); err != nil {
		return err
	}
	tell := func(f doctor.Finding) error {
		if form := c.form(c.JSON); form != formTable {
			return p.object(form, findingDoc(f))
		}
		_, err := fmt.Fprintln(p.out, findingText(f, term.NewStyle(p.out, p.env)))
		return err
	}
	connected := false
	err = p.withStore(func(ctx context.Context, s *store.Store) error {
		connected = true
		well, err := doctor.Examine(ctx, doctor.Patient{
			Store: s, Schema: migrations.New(s.Database(), m.Collection), Collection: m.Collection, Providers: keys, Credentials: c.Credentials,
		}, tell)
		if err == nil && !well {
			return &exitError{code: exitFailed}
		}
		return err
	})
	if err == nil || connected || errors.Is(err, context.Canceled) {
		return err
	}
	if err := tell(doctor.Unreachable(err)); err != nil {
		return err
	}
	return &exitError{code: exitFailed}
}

func findingDoc(f doctor.Finding) bson.D {
	doc := bson.D{{Key: "check", Value: f.Check}, {Key: "ok", Value: f.OK}, {Key: "detail", Value: f.Detail}, {Key: "remedy", Value: nil}}
	if f.Remedy != "" {
		doc[3].Value = f.Remedy
	}
	return doc
}

// findingText writes a finding: a line if all is well, else the remedy below it.
func findingText(f doctor.Finding, style term.Style) string {
	const indent = "      "
	verdict, mark := "ok  ", style.Green
	if !f.OK {
		verdict, mark = "FAIL", style.Red
	}
	text := strings.TrimPrefix(term.Wrap(f.Check+": "+f.Detail, indent), indent)
	text = mark(verdict) + "  " + text
	if f.Remedy != "" {
		text += "\n" + term.Wrap("-> "+f.Remedy, indent)
	}
	return text
}
