package main

import (
	"cmp"
	"context"
	"fmt"
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

type deadCmd struct {
	List    deadListCmd    `cmd:"" help:"List dead letters, the newest first."`
	Groups  deadGroupsCmd  `cmd:"" help:"Group dead letters by kind, reason and code."`
	Show    deadShowCmd    `cmd:"" help:"Show one intent with everything in it."`
	Retry   deadRetryCmd   `cmd:"" help:"Make dead letters pending again, where that cannot double an effect."`
	Discard deadDiscardCmd `cmd:"" help:"End dead letters that nobody wants any more."`
	Export  deadExportCmd  `cmd:"" help:"Write dead letters whole, as mongoimport takes them."`
}

func (deadCmd) Help() string {
	return `A dead letter is an intent that will not be tried again by itself: the provider said no for good (permanent), its attempts are
used up (exhausted), its time is over (expired), the document breaks the contract (invalid), or nobody can know whether the
provider acted (ambiguous). Dead letters are never deleted by themselves.`
}

// deadFilter chooses dead letters.
type deadFilter struct {
	Kind   string `placeholder:"KIND" predictor:"kind" help:"Of this kind."`
	Reason string `placeholder:"REASON" predictor:"reason" help:"permanent, exhausted, expired, ambiguous or invalid."`
	Code   string `placeholder:"CODE" predictor:"code" help:"Whose last error has this code."`
	Since  string `placeholder:"TIME" help:"Dead since then: a duration such as 24h or 7d, or an RFC 3339 instant."`
	Limit  string `placeholder:"N" help:"At most so many."`
}

// chosen reports whether any flag chooses.
func (f deadFilter) chosen() bool {
	return f.Kind != "" || f.Reason != "" || f.Code != "" || f.Since != "" || f.Limit != ""
}

// search is what the flags choose, for a job. They were checked before.
func (f deadFilter) search(now time.Time) outbox.Search {
	s := outbox.Search{Kind: f.Kind, Reason: outbox.DeadReason(f.Reason), Code: f.Code}
	if f.Since != "" {
		s.Since, _ = since(f.Since, now)
	}
	return s
}

// filter reads the flags; its error lists every problem.
func (f deadFilter) filter(src config.Source, now time.Time) (store.Filter, error) {
	filter := store.Filter{Kind: f.Kind, Reason: outbox.DeadReason(f.Reason), Code: f.Code}
	var problems config.Problems
	bad := func(flag, format string, args ...any) {
		problems = append(problems, config.Problem{Where: "flag --" + flag, Text: fmt.Sprintf(format, args...)})
	}
	if _, given := src.Flags["reason"]; given && !slices.Contains(deadReasons(), filter.Reason) {
		bad("reason", "%q is no reason; there are permanent, exhausted, expired, ambiguous, invalid", f.Reason)
	}
	if _, given := src.Flags["code"]; given && !slices.ContainsFunc(outbox.Codes(), func(c outbox.CodeInfo) bool { return c.Code == f.Code }) {
		bad("code", "%q is no code; docs/codes.md lists them", f.Code)
	}
	if _, given := src.Flags["since"]; given {
		var err error
		if filter.Since, err = since(f.Since, now); err != nil {
			bad("since", "%v", err)
		}
	}
	if _, given := src.Flags["limit"]; given {
		n, err := strconv.Atoi(f.Limit)
		if err != nil || n < 1 {
			bad("limit", "%q is no number above 0", f.Limit)
		}
		filter.Limit = n
	}
	if len(problems) > 0 {
		return filter, problems
	}
	return filter, nil
}

// deadReasons are the values of --reason.
func deadReasons() []outbox.DeadReason {
	return []outbox.DeadReason{outbox.ReasonPermanent, outbox.ReasonExhausted, outbox.ReasonExpired, outbox.ReasonAmbiguous, outbox.ReasonInvalid}
}

// since reads a duration back from now, or an instant.
func since(text string, now time.Time) (time.Time, error) {
	if d, err := span(text); err == nil && d > 0 {
		return now.Add(-d), nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	return time.Time{}, fmt.Errorf("%q is neither a duration such as 24h or 7d nor an instant such as 2026-01-31T08:00:00Z", text)
}

// span reads a duration, which may also be a number of days.
func span(text string) (time.Duration, error) {
	days, ok := strings.CutSuffix(text, "d")
	if !ok {
		return time.ParseDuration(text)
	}
	n, err := strconv.ParseUint(days, 10, 16)
	return time.Duration(n) * 24 * time.Hour, err
}

type deadListCmd struct {
	mongoFlags
	outputFlag
	deadFilter
	JSON bool `help:"One JSON object for each: {_id, kind, dead_reason, dead_at, attempts, last_error, metadata}."`
}

func (deadListCmd) Help() string {
	return `The newest first, without payloads.

  outboxd dead list --kind charge --reason permanent --since 24h`
}

func (c deadListCmd) Run(p *program) error {
	return c.run(p, func(ctx context.Context, s *store.Store, filter store.Filter) error {
		if form := c.form(c.JSON); form != formTable {
			return c.lines(ctx, p, s, filter, form)
		}
		return c.table(ctx, p, s, filter)
	})
}

// run runs a command on the dead letters that the flags choose.
func (f deadFilter) run(p *program, do func(context.Context, *store.Store, store.Filter) error) error {
	_, err := f.filter(p.source, time.Time{}) // before anything is connected, so that all problems are told
	if _, mongoErr := config.LoadMongo(p.source); err != nil || mongoErr != nil {
		return config.Join(mongoErr, err)
	}
	return p.withStore(func(ctx context.Context, s *store.Store) error {
		filter, err := f.filter(p.source, s.Now())
		if err != nil {
			return err
		}
		return do(ctx, s, filter)
	})
}

// listed are the fields of a dead letter that a listing shows: no payload.
var listed = []string{"_id", "kind", "dead_reason", "dead_at", "attempts", "last_error", "metadata"}

func (c deadListCmd) lines(ctx context.Context, p *program, s *store.Store, filter store.Filter, form string) error {
	for doc, err := range s.Dead(ctx, filter) {
		if err != nil {
			return err
		}
		var line bson.D
		for _, field := range listed {
			e := bson.E{Key: field} // null where the document has none, so that each line has all fields
			if v, err := doc.LookupErr(field); err == nil {
				e.Value = v
			}
			line = append(line, e)
		}
		if err := p.object(form, line); err != nil {
			return err
		}
	}
	return nil
}

// tableMost is how many rows a table has at most unless --limit says otherwise: it is held in memory to be laid out.
const tableMost = 1000

func (c deadListCmd) table(ctx context.Context, p *program, s *store.Store, filter store.Filter) error {
	cut := filter.Limit == 0
	if cut {
		filter.Limit = tableMost + 1
	}
	table := term.NewTable(term.Column{Name: "DEAD AT (UTC)"}, term.Column{Name: "KIND"}, term.Column{Name: "REASON"},
		term.Column{Name: "TRIES", Right: true}, term.Column{Name: "CODE"}, term.Column{Name: "ID", Flex: true, Whole: true})
	rows := 0
	for doc, err := range s.Dead(ctx, filter) {
		if err != nil {
			return err
		}
		if rows++; cut && rows > tableMost {
			break
		}
		at := "-"
		if t, ok := doc.Lookup("dead_at").TimeOK(); ok {
			at = t.UTC().Format("2006-01-02 15:04")
		}
		attempts, _ := doc.Lookup("attempts").AsInt64OK()
		table.Row(at, text(doc, "kind"), text(doc, "dead_reason"), strconv.FormatInt(attempts, 10), strings.TrimSpace(text(doc, "last_error", "code")+" "+text(doc, "last_error", "provider_code")), idText(doc.Lookup("_id")))
	}
	if rows == 0 {
		_, err := fmt.Fprintln(p.out, "No dead letter fits."+kindHint(c.Kind))
		return err
	}
	if err := table.Write(p.out, term.NewStyle(p.out, p.env)); err != nil {
		return err
	}
	if cut && rows > tableMost {
		_, err := fmt.Fprintf(p.out, "These are the newest %d; --limit or --json shows more.\n", tableMost)
		return err
	}
	return nil
}

type deadExportCmd struct {
	mongoFlags
	deadFilter
	Why  string `placeholder:"TEXT" help:"Why, for the audit."`
	By   string `placeholder:"NAME" help:"Who exports. Default: $$USER and the host's name."`
	JSON bool   `help:"As without it: one document a line."`
}

func (deadExportCmd) Help() string {
	return `Writes one document a line, as relaxed Extended JSON, with everything in it: payloads hold your customers' data. The audit records
who exported what, and why.

  outboxd dead export --kind charge --since 24h --why "for the bank" >charges.json`
}

func (c deadExportCmd) Run(p *program) error {
	_, err := c.filter(p.source, time.Time{})
	_, mongoErr := config.LoadMongo(p.source)
	if err := config.Join(mongoErr, err, note("why", c.Why), note("by", c.By)); err != nil {
		return err
	}
	return p.withDesk(func(ctx context.Context, d *desk) error {
		d.actor.Who = cmp.Or(c.By, d.actor.Who)
		filter, err := c.filter(p.source, d.store.Now())
		if err != nil {
			return err
		}
		what := admin.Describe(outbox.Job{Filter: c.search(d.store.Now())})
		return d.Export(ctx, d.actor, what, orNoReason(c.Why), func(ctx context.Context) error {
			for doc, err := range d.store.Dead(ctx, filter) {
				if err != nil {
					return err
				}
				if err := p.json(doc); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

type deadShowCmd struct {
	mongoFlags
	outputFlag
	revealFlags
	ID   string `arg:"" help:"The intent's _id as dead list shows it: an ObjectId's hex, a UUID, or the string."`
	JSON bool   `help:"The document as one line of JSON."`
}

func (deadShowCmd) Help() string {
	return `Shows an intent's document with all its fields. Payloads are masked, since they hold your customers' data, and so is what the
contract does not know. With --reveal they are shown, and the audit records who did so and why.

  outboxd dead show order-7
  outboxd dead show order-7 --reveal --why "ticket 4711"`
}

func (c deadShowCmd) Run(p *program) error {
	if err := c.check(); err != nil {
		return err
	}
	return p.withDesk(func(ctx context.Context, d *desk) error {
		d.actor.Who = cmp.Or(c.By, d.actor.Who)
		in, err := d.store.Look(ctx, c.ID)
		if err != nil {
			return found(err)
		}
		doc, err := c.document(ctx, d, c.ID, in)
		if err != nil {
			return err
		}
		if form := c.form(c.JSON); form != formTable {
			return p.object(form, doc)
		}
		return c.show(p, rawOf(in), doc)
	})
}

// show writes the document for a person: what became of it first, then all of it.
func (c deadShowCmd) show(p *program, doc bson.Raw, shown any) error {
	style := term.NewStyle(p.out, p.env)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", style.Bold(term.Cut(term.Clean(text(doc, "kind")+" "+idText(doc.Lookup("_id"))), term.Width)))
	status := text(doc, "status")
	if reason := text(doc, "dead_reason"); reason != "" {
		status += ": " + reason
	}
	fmt.Fprintf(&b, "%s\n", style.Yellow(term.Clean(status)))
	if code := text(doc, "last_error", "code"); code != "" && text(doc, "status") == string(outbox.StatusDead) {
		b.WriteString(term.Wrap(code+": "+text(doc, "last_error", "message"), "  ") + "\n")
		for _, known := range outbox.Codes() {
			if known.Code == code && known.Remedy != "" {
				b.WriteString(term.Wrap("What to do: "+known.Remedy, "  ") + "\n")
			}
		}
	}
	whole, err := bson.MarshalExtJSONIndent(shown, false, false, "", "  ")
	if err != nil {
		return fmt.Errorf("write the intent as Extended JSON: %w", err)
	}
	for line := range strings.SplitSeq(string(whole), "\n") {
		b.WriteString(fold(line) + "\n")
	}
	_, err = p.out.Write([]byte(b.String()))
	return err
}

// fold breaks a long line of JSON, so that nothing of a payload is lost on a narrow terminal.
func fold(line string) string {
	runes := []rune(term.Clean(line))
	var parts []string
	for len(runes) > term.Width {
		parts = append(parts, string(runes[:term.Width]))
		runes = runes[term.Width:]
	}
	return strings.Join(append(parts, string(runes)), "\n")
}

// text returns a string of a document, empty if there is none.
func text(doc bson.Raw, path ...string) string {
	s, _ := doc.Lookup(path...).StringValueOK()
	return s
}

// idText writes an _id as the commands take it.
func idText(id bson.RawValue) string {
	switch id.Type {
	case bson.TypeString:
		return id.StringValue()
	case bson.TypeObjectID:
		return id.ObjectID().Hex()
	case bson.TypeBinary:
		if subtype, data := id.Binary(); subtype == bson.TypeBinaryUUID && len(data) == 16 {
			return fmt.Sprintf("%x-%x-%x-%x-%x", data[:4], data[4:6], data[6:8], data[8:10], data[10:])
		}
	}
	return id.String()
}
