package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

type findCmd struct {
	mongoFlags
	outputFlag
	ID           string            `placeholder:"TEXT" help:"Whose _id begins with it, or is it as a whole."`
	Kind         string            `placeholder:"KIND" predictor:"kind" help:"Of this kind."`
	Status       string            `placeholder:"STATUS" predictor:"status" help:"waiting, in-doubt (with --kind), done, dead or cancelled. Default: waiting, or dead where a flag is for dead letters."`
	Reason       string            `placeholder:"REASON" predictor:"reason" help:"Of dead letters: permanent, exhausted, expired, ambiguous or invalid."`
	Code         string            `placeholder:"CODE" predictor:"code" help:"Of dead letters: whose last error has this code."`
	ProviderCode string            `placeholder:"CODE" help:"Of dead letters: whose last error has this code of the provider's."`
	Meta         map[string]string `name:"metadata" placeholder:"KEY=VALUE" help:"With this value in the metadata; needs an index that begins with metadata.KEY."`
	ProviderID   string            `placeholder:"ID" help:"The provider's own id of what it did (pi_…, SM…); needs an index that begins with result.id."`
	Since        string            `placeholder:"TIME" help:"Ended since then: a duration such as 24h or 7d, or an RFC 3339 instant."`
	Until        string            `placeholder:"TIME" help:"Of dead letters: dead by then."`
	Limit        string            `placeholder:"N" help:"Of one page, 1 to 500. Default: 50."`
	After        string            `placeholder:"CURSOR" help:"The page after the one that told this."`
	JSON         bool              `help:"One JSON object for each: {_id, kind, status, in_doubt, dead_reason, code, attempts, at, metadata}. Where there is more, the last line is {next}, for --after."`
}

func (findCmd) Help() string {
	return `Finds intents without their payloads. "At" is when an intent ended; of one that waits, when it is due. Every search is served by
an index; one that none serves is refused, since it would read the whole outbox. What comes or goes between two pages moves
nothing: a page begins behind the last row of the one before.

  outboxd find --id order-7
  outboxd find --kind sms --status dead --code opted_out --since 7d
  outboxd find --metadata order=o77`
}

// statuses are the values of --status.
func statuses() []outbox.Stage {
	return []outbox.Stage{outbox.StageWaiting, outbox.StageInDoubt, outbox.StageDone, outbox.StageDead, outbox.StageCancelled}
}

// search reads the flags; its error lists every problem.
func (c findCmd) search(src config.Source, now time.Time) (outbox.Search, error) {
	filter, err := (deadFilter{Kind: c.Kind, Reason: c.Reason, Code: c.Code, Since: c.Since, Limit: c.Limit}).filter(src, now)
	problems, _ := errors.AsType[config.Problems](err)
	bad := func(flag, format string, args ...any) {
		problems = append(problems, config.Problem{Where: "flag --" + flag, Text: fmt.Sprintf(format, args...)})
	}
	s := outbox.Search{ID: c.ID, Kind: c.Kind, Stage: outbox.Stage(c.Status), Reason: outbox.DeadReason(c.Reason), Code: c.Code, ProviderCode: c.ProviderCode,
		Metadata: c.Meta, ProviderID: c.ProviderID, Since: filter.Since, After: c.After, Limit: filter.Limit}
	ofDead := s.Reason != "" || s.Code != "" || s.ProviderCode != "" || c.Until != ""
	byName := s.ID != "" || s.ProviderID != "" || len(s.Metadata) > 0
	if c.Until != "" {
		if s.Until, err = since(c.Until, now); err != nil {
			bad("until", "%v", err)
		}
	}
	switch {
	case s.Stage != "" && !slices.Contains(statuses(), s.Stage):
		bad("status", "%q is no status to look for; there are waiting, in-doubt, done, dead, cancelled", c.Status)
	case s.Stage == "" && ofDead:
		s.Stage = outbox.StageDead
	case s.Stage == "" && c.Kind != "" && !byName:
		s.Stage = outbox.StageWaiting
	case s.Stage == outbox.StageInDoubt && c.Kind == "":
		bad("kind", "is required with --status in-doubt")
	}
	switch ended := slices.Contains([]outbox.Stage{outbox.StageDone, outbox.StageDead, outbox.StageCancelled}, s.Stage); {
	case ofDead && s.Stage != outbox.StageDead:
		bad("status", "must be dead with --reason, --code, --provider-code or --until")
	case byName && (ofDead || c.Since != ""):
		bad("id", "--metadata and --provider-id go with --kind and --status alone")
	case c.Since != "" && !ended:
		bad("since", "needs --status done, dead or cancelled: what waits has not ended")
	}
	if s.Limit > 500 {
		bad("limit", "is %d, must be at most 500; --after gets the next page", s.Limit)
	}
	if s.Stage == "" && !byName {
		bad("id", "or another flag that chooses is required; `outboxd find --help` lists them")
	}
	if len(problems) > 0 {
		return s, problems
	}
	return s, nil
}

func (c findCmd) Run(p *program) error {
	_, err := c.search(p.source, time.Time{}) // before anything is connected, so that all problems are told
	if _, mongoErr := config.LoadMongo(p.source); err != nil || mongoErr != nil {
		return config.Join(mongoErr, err)
	}
	return p.withDesk(func(ctx context.Context, d *desk) error {
		search, err := c.search(p.source, d.store.Now())
		if err != nil {
			return err
		}
		list, err := d.Find(ctx, d.actor, search)
		if _, not := errors.AsType[*outbox.NotIndexed](err); not || errors.Is(err, store.ErrCursor) {
			return wrongUse("find: %w", err)
		}
		if err != nil {
			return err
		}
		if form := c.form(c.JSON); form != formTable {
			return c.objects(p, form, list)
		}
		return c.table(p, list)
	})
}

func (c findCmd) objects(p *program, form string, list admin.List) error {
	for _, r := range list.Rows {
		if err := p.object(form, rowDoc(r)); err != nil {
			return err
		}
	}
	if list.Next == "" {
		return nil
	}
	return p.object(form, bson.D{{Key: "next", Value: list.Next}})
}

func rowDoc(r admin.Row) bson.D {
	metadata := bson.D{}
	for _, key := range slices.Sorted(maps.Keys(r.Metadata)) {
		metadata = append(metadata, bson.E{Key: key, Value: r.Metadata[key]})
	}
	return bson.D{{Key: "_id", Value: namedID(r.Name)}, {Key: "kind", Value: r.Kind}, {Key: "status", Value: r.Status}, {Key: "in_doubt", Value: r.InDoubt},
		{Key: "dead_reason", Value: orNull(string(r.Reason))}, {Key: "code", Value: orNull(r.Code)}, {Key: "attempts", Value: r.Attempts},
		{Key: "at", Value: orNone(r.At)}, {Key: "metadata", Value: metadata}}
}

// orNone is the instant, nil if there is none.
func orNone(at time.Time) any {
	if at.IsZero() {
		return nil
	}
	return at
}

// namedID returns the _id that a name of the store's means. A string that could be anything else has quotation marks.
func namedID(name string) any {
	if oid, err := bson.ObjectIDFromHex(name); err == nil {
		return oid
	}
	var typed struct {
		ID bson.RawValue `bson:"_id"`
	}
	for _, text := range []string{name, `{"$uuid": ` + strconv.Quote(name) + `}`} {
		if bson.UnmarshalExtJSON([]byte(`{"_id": `+text+`}`), false, &typed) == nil && typed.ID.Type != bson.TypeRegex {
			return typed.ID
		}
	}
	return name
}

func (c findCmd) table(p *program, list admin.List) error {
	if len(list.Rows) == 0 && list.Next != "" {
		_, err := fmt.Fprintf(p.out, "No intent fits among those that were looked at. There may be more: the same command with --after %s\n", list.Next)
		return err
	}
	if len(list.Rows) == 0 {
		_, err := fmt.Fprintln(p.out, "No intent fits."+kindHint(c.Kind))
		return err
	}
	table := term.NewTable(term.Column{Name: "AT (UTC)"}, term.Column{Name: "KIND"}, term.Column{Name: "STATUS"}, term.Column{Name: "WHY"},
		term.Column{Name: "TRIES", Right: true}, term.Column{Name: "ID", Flex: true, Whole: true})
	for _, r := range list.Rows {
		at, status := "-", string(r.Status)
		if !r.At.IsZero() {
			at = r.At.UTC().Format(time.DateTime)
		}
		if r.InDoubt {
			status += ", in doubt"
		}
		table.Row(at, r.Kind, status, strings.TrimSpace(string(r.Reason)+" "+r.Code), strconv.Itoa(r.Attempts), r.Name)
	}
	if err := table.Write(p.out, term.NewStyle(p.out, p.env)); err != nil || list.Next == "" {
		return err
	}
	_, err := fmt.Fprintf(p.out, "There is more: the same command with --after %s\n", list.Next)
	return err
}

// kindHint says that a kind which finds nothing may be a typing error, or a kind of one's own.
func kindHint(kind string) string {
	if kind == "" {
		return ""
	}
	if err := laneKind(kind).check(); err != nil {
		return " Mind the kind: " + err.Error() + ", unless it is one of yours."
	}
	return ""
}
