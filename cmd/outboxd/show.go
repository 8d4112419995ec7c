package main

import (
	"cmp"
	"context"
	"errors"
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

// revealFlags show what is masked. It takes a reason, and leaves a record in the audit.
type revealFlags struct {
	Reveal bool   `help:"Show payloads as they stand. Needs --why; the audit records who did so."`
	Why    string `placeholder:"TEXT" help:"With --reveal: why, for the audit."`
	By     string `placeholder:"NAME" help:"With --reveal: who. Default: $$USER and the host's name."`
}

func (f revealFlags) check() error {
	var problems config.Problems
	switch {
	case f.Reveal && strings.TrimSpace(f.Why) == "":
		problems = append(problems, config.Problem{Where: "flag --why", Text: "is required with --reveal: the audit records it"})
	case !f.Reveal && f.Why+f.By != "":
		problems = append(problems, config.Problem{Where: "flag --reveal", Text: "is missing: --why and --by mean nothing without it"})
	}
	if len(problems) > 0 {
		return problems
	}
	return config.Join(note("why", f.Why), note("by", f.By))
}

// document returns an intent's document as the flags allow: masked, or whole once that is on record.
func (f revealFlags) document(ctx context.Context, d *desk, name string, in outbox.Snapshot) (any, error) {
	if !f.Reveal {
		return maskedDoc(in)
	}
	if _, err := d.Reveal(ctx, d.actor, name, f.Why); err != nil {
		return nil, err
	}
	return rawOf(in), nil
}

type showCmd struct {
	mongoFlags
	outputFlag
	revealFlags
	ID     string `arg:"" help:"The intent's _id: an ObjectId's hex, a UUID, or the string."`
	Config string `placeholder:"FILE" predictor:"file" help:"The workers' file of policies, by which it is said what happens next ($$OUTBOXD_CONFIG)."`
	JSON   bool   `help:"The document as one line of JSON."`
}

func (showCmd) Help() string {
	return `Shows one intent of any status: where it stands, what happens next, and what happened to it, the oldest first. Payloads are
masked, since they hold your customers' data. With --reveal they are shown, and the audit records who did so and why.

  outboxd show order-7
  outboxd show order-7 --reveal --why "the customer asks what we wrote"`
}

func (c showCmd) Run(p *program) error {
	workers, policyErr := loadDeployment(p.source)
	if err := config.Join(policyErr, c.check()); err != nil {
		return err
	}
	return p.withDeskOf(workers, func(ctx context.Context, d *desk) error {
		d.actor.Who = cmp.Or(c.By, d.actor.Who)
		in, err := d.store.Look(ctx, c.ID)
		if err != nil {
			return err
		}
		if form := c.form(c.JSON); form != formTable {
			doc, err := c.document(ctx, d, c.ID, in)
			if err != nil {
				return err
			}
			return p.object(form, doc)
		}
		view, err := d.Show(ctx, d.actor, c.ID)
		if err != nil {
			return plainly(err)
		}
		payload, title := documentOf(view.Payload), "Payload, masked"
		if c.Reveal {
			if _, err := d.Reveal(ctx, d.actor, c.ID, c.Why); err != nil {
				return err
			}
			payload, title = rawOf(in).Lookup("payload"), "Payload"
		}
		return life{program: p, in: in, view: view}.write(payload, title)
	})
}

// life writes an intent's life for a person.
type life struct {
	*program
	in   outbox.Snapshot
	view admin.Shown
}

func (l life) write(payload any, title string) error {
	style := term.NewStyle(l.out, l.env)
	var b strings.Builder
	say := func(text string) { b.WriteString(term.Wrap(text, "  ") + "\n") }
	fmt.Fprintf(&b, "%s\n%s\n", style.Bold(term.Cut(term.Clean(l.in.Kind+" "+idText(rawOf(l.in).Lookup("_id"))), term.Width)), style.Yellow(term.Clean(standing(l.in.Intent))))
	say("What happens next: " + l.view.Next.Sentence(instant))
	if l.view.Code != "" {
		say("last error " + l.view.Code + ": " + l.view.Message)
	}
	if l.view.Remedy != "" {
		say("What to do: " + l.view.Remedy)
	}
	say(strings.Join(l.facts(), ", "))
	for _, problem := range l.view.Problems {
		say("breaks the contract: " + problem)
	}
	b.WriteString("\n")
	table := term.NewTable(term.Column{Name: "AT"}, term.Column{Name: "WHAT"}, term.Column{Name: "DETAILS", Flex: true, Whole: true})
	for _, m := range l.view.Timeline {
		at := "-"
		if !m.At.IsZero() {
			at = instant(m.At)
		}
		table.Row(at, m.Text, momentDetails(m))
	}
	if err := table.Write(&b, style); err != nil {
		return err
	}
	b.WriteString("\n")
	for _, line := range l.around() {
		say(line)
	}
	text, err := bson.MarshalExtJSONIndent(bson.D{{Key: "payload", Value: payload}}, false, false, "", "  ")
	if err != nil {
		return fmt.Errorf("write the payload as Extended JSON: %w", err)
	}
	b.WriteString("\n" + style.Bold(title) + "\n")
	for line := range strings.SplitSeq(string(text), "\n") {
		b.WriteString(fold(line) + "\n")
	}
	_, err = l.out.Write([]byte(b.String()))
	return err
}

// facts are what is known beside the timeline.
func (l life) facts() []string {
	raw := rawOf(l.in)
	facts := []string{fmt.Sprintf("attempts %d", l.in.Attempts)}
	if l.in.Generation > 0 {
		facts = append(facts, fmt.Sprintf("generation %d", l.in.Generation))
	}
	if !l.in.AmbiguousAt.IsZero() {
		facts = append(facts, "ambiguous since "+instant(l.in.AmbiguousAt))
	}
	if l.view.Result.ID != "" {
		facts = append(facts, "result "+l.view.Result.Provider+" "+l.view.Result.ID)
	}
	if v := text(raw, "resolved", "verdict"); v != "" {
		facts = append(facts, "answered "+v+" by "+text(raw, "resolved", "by"))
	}
	if l.view.Dropped > 0 {
		facts = append(facts, fmt.Sprintf("%d records of its history are no longer kept", l.view.Dropped))
	}
	return facts
}

// around is what belongs to the intent: what it follows, what follows it, where else it is shown, and what can be done.
func (l life) around() []string {
	var lines []string
	add := func(what string, names ...string) {
		if names = slices.DeleteFunc(names, func(name string) bool { return name == "" }); len(names) > 0 {
			lines = append(lines, what+strings.Join(names, ", "))
		}
	}
	add("Follows: ", l.view.Parent)
	add("Followed by: ", l.view.FollowUps...)
	add("Writes back to: ", l.view.WriteBack)
	add("Trace: ", l.view.TraceID)
	for _, link := range l.view.Links {
		add(link.Text+": ", link.URL)
	}
	var may []string
	for _, c := range l.view.Choices {
		if c.Allowed {
			may = append(may, commandOf(c.Op))
		}
	}
	add("You can: ", may...)
	for _, act := range slices.Backward(l.view.Acts) {
		add("Audit: ", fmt.Sprintf("%s %s by %s: %s (%s)", instant(act.At), act.Op, act.Who, act.Outcome, cmp.Or(act.Why, noReason)))
	}
	return lines
}

// commandOf is the command line for what can be done with an intent.
func commandOf(op string) string {
	switch op {
	case "retry", "discard":
		return "dead " + op
	case "reveal":
		return "show --reveal"
	default:
		return op
	}
}

// standing says where an intent stands.
func standing(in *outbox.Intent) string {
	status := string(in.Status)
	switch {
	case in.Outcome != nil:
		status += ": its outcome is known and waits to be written (" + cmp.Or(in.Outcome.Why, "not tried yet") + ")"
	case in.Status == outbox.StatusPending:
		status += ", due " + instant(in.DueAt)
	case in.Status == outbox.StatusLeased:
		status += " by " + in.Lease.Owner + " until " + instant(in.DueAt)
	case in.Status == outbox.StatusDead:
		status += ": " + string(in.DeadReason)
	}
	return status
}

// momentDetails are what a moment of the timeline tells beside its sentence.
func momentDetails(m admin.Moment) string {
	var details []string
	add := func(words ...string) {
		if !slices.Contains(words, "") {
			details = append(details, strings.Join(words, " "))
		}
	}
	if m.Code != m.Outcome && m.Code != "" {
		add(m.Outcome)
	}
	if m.HTTPStatus > 0 {
		add("HTTP " + strconv.Itoa(m.HTTPStatus))
	}
	if m.Took > 0 {
		add("took " + m.Took.Round(time.Millisecond).String())
	}
	add(m.Ref)
	add("request", m.RequestID)
	add("by", cmp.Or(m.Worker, m.By))
	add("job", m.Job)
	add(m.Why)
	if m.N > 1 {
		add("until " + instant(m.Last))
	}
	return strings.Join(details, ", ")
}

// found adds where to look, for what is not there.
func found(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w; `outboxd find` and `outboxd dead list` show what there is", err)
	}
	return err
}
