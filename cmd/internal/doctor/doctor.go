// Package doctor checks what a deployment needs to work: the server, the schema, privileges, clocks, lanes, and what
// waits for nobody.
//
// A check looks and changes nothing. To prove a privilege, it makes a write that matches no document, or one in a
// transaction that is aborted. Each says what it found and, where that is not well, what to do. A check that cannot
// be made is a failed one; the others are made all the same.
package doctor

import (
	"context"
	"time"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/store"
)

// timeout bounds each check.
const timeout = 10 * time.Second

// Finding is what a check found.
type Finding struct {
	Check  string
	OK     bool
	Detail string
	Remedy string // what to do; empty if all is well
}

// Patient is the deployment to check.
type Patient struct {
	Store       *store.Store
	Schema      *migrations.Migrator
	Collection  string
	Providers   config.Providers
	Credentials bool // make a harmless authenticated call to each provider that is configured
}

// check is one check. It returns what it found, and what to do where that is not well.
type check struct {
	name string
	make func(context.Context, Patient) (detail, remedy string, err error)
	// remedy is what to do where the check itself fails.
	remedy string
}

// checks are made in this order.
var checks = []check{
	{"server", server, "see that MongoDB runs, as a replica set, that the URI names it and the user, and that the user may run hello and buildInfo"},
	{"schema", schema, "run `outboxd migrate`"},
	{"deletion", deletion, "grant the user readWrite on the database"},
	{"indexes", indexes, "grant the user readWrite on the database"},
	{"write concern", durableWrite, "a majority of the members must be up and keep a journal"},
	{"privileges", privileges, "grant the user readWrite on the database"},
	{"change stream", changeStream, "grant the action changeStream on the database; without it, intents are found up to a second later"},
	{"clock", clock, "see that the user may run hello"},
	{"lanes", lanes, "grant the user readWrite on the database"},
	{"served kinds", served, "grant the user readWrite on the database"},
	{"leases", leases, "grant the user readWrite on the database"},
	{"consequences", waits, "run `outboxd migrate`, which makes the index that this takes"},
	{"ambiguous dead letters", verdicts, "run `outboxd migrate`, which makes the index that this takes"},
	{"malformed intents", malformed, "run `outboxd migrate`, which makes the index that this takes"},
	{"foreign documents", foreign, "run `outboxd migrate`, which makes the index that this takes"},
}

// Unreachable is the finding where there is no database to examine: none that answers, or none that would do.
func Unreachable(err error) Finding {
	return Finding{Check: checks[0].name, Detail: err.Error(), Remedy: checks[0].remedy}
}

// Examine makes all checks and hands each finding to tell. It reports whether all is well.
func Examine(ctx context.Context, p Patient, tell func(Finding) error) (bool, error) {
	all := checks
	if p.Credentials {
		all = append(append([]check{}, checks...), credentials(p)...)
	}
	well := true
	for _, c := range all {
		f := c.run(ctx, p)
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		well = well && f.OK
		if err := tell(f); err != nil {
			return false, err
		}
	}
	return well, nil
}

func (c check) run(ctx context.Context, p Patient) Finding {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	detail, remedy, err := c.make(ctx, p)
	if err != nil {
		return Finding{Check: c.name, Detail: err.Error(), Remedy: c.remedy}
	}
	return Finding{Check: c.name, OK: remedy == "", Detail: detail, Remedy: remedy}
}
