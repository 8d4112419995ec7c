package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

type resolveCmd struct {
	mongoFlags
	ID      string `arg:"" help:"The intent's _id: an ObjectId's hex, a UUID, or the string."`
	Sent    string `placeholder:"REF" help:"The provider has it, under this reference of its own: a PaymentIntent (pi_…), a message's id or SID."`
	NotSent bool   `help:"The provider surely does not have it, and no request for it can still be on its way. Needs --why."`
	Why     string `placeholder:"TEXT" help:"How you know, for the people who will see it in the document."`
	By      string `placeholder:"NAME" help:"Who says so. Default: $$USER and the host's name."`
	Config  string `placeholder:"FILE" help:"The workers' file of policies, whose write_back.collections and retention.done apply here as well ($$OUTBOXD_CONFIG)."`
	JSON    bool   `help:"One JSON object: {_id, kind, status, dead_reason, verdict, evidence, again, waiting, notes}."`
}

func (resolveCmd) Help() string {
	return `A person's answer to an ambiguous outcome: ask the provider first. With --sent the intent becomes done, with its on_done follow-ups
and write_back. With --not-sent it stays a dead letter without the doubt, and ` + "`outboxd dead retry`" + ` takes it. Only a dead letter whose
outcome is ambiguous takes an answer. A pending one is refused: the worker is asking the provider, and ends that by itself.
The answer is kept in the document (resolved, history). Giving the same answer again changes nothing.`
}

func (c resolveCmd) Run(p *program) error {
	_, mongoErr := config.LoadMongo(p.source)
	workers, policyErr := loadDeployment(p.source)
	if err := config.Join(mongoErr, policyErr, c.check(p.source), note("sent", c.Sent), note("why", c.Why), note("by", c.By)); err != nil {
		return err
	}
	return p.withStoreOf(workers.options(), func(ctx context.Context, s *store.Store) error {
		raw, err := s.Get(ctx, c.ID)
		if err != nil {
			return err
		}
		in, err := s.Intent(raw)
		if err != nil {
			return fmt.Errorf("read the intent %s: %w", idText(raw.Lookup("_id")), err)
		}
		answer := outbox.PersonVerdict{Sent: !c.NotSent, Evidence: c.Sent, Why: c.Why, By: cmp.Or(c.By, p.person())}
		resolution, err := outbox.Resolve(in, answer, workers.Policy(in.Kind), s.Now())
		if refusal, is := errors.AsType[*outbox.Refusal](err); is {
			told := *refusal
			told.Why = workers.why(refusal)
			return &told
		}
		if err != nil {
			return err
		}
		settled, err := s.Resolve(context.WithoutCancel(ctx), raw, resolution) // an answer is not left half-way
		if err != nil {
			return err
		}
		return c.say(p, raw, resolution, settled)
	})
}

// check reports what is wrong with the answer itself.
func (c resolveCmd) check(src config.Source) error {
	var problems config.Problems
	_, sent := src.Flags["sent"]
	switch {
	case sent == c.NotSent:
		problems = append(problems, config.Problem{Where: "flag --sent", Text: "or --not-sent is required, and only one of them"})
	case sent && c.Sent == "":
		problems = append(problems, config.Problem{Where: "flag --sent", Text: "needs the provider's reference: without it nobody can check the answer"})
	case c.NotSent && c.Why == "":
		problems = append(problems, config.Problem{Where: "flag --why", Text: "is required with --not-sent: say where you looked"})
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

func (c resolveCmd) say(p *program, raw bson.Raw, r outbox.Resolution, settled outbox.Settled) error {
	status, reason := outbox.StatusDone, any(nil)
	waiting := cmp.Or(settled.Waiting, settled.Busy)
	if waiting != "" {
		status = outbox.StatusPending
	}
	if !r.Sent {
		status, reason = outbox.StatusDead, cmp.Or(string(r.Reason), text(raw, "dead_reason"))
	}
	if c.JSON {
		notes := bson.A{}
		for _, n := range settled.Notes {
			notes = append(notes, bson.D{{Key: "code", Value: n.Code}, {Key: "text", Value: n.Text}})
		}
		return p.line(raw, bson.D{{Key: "status", Value: status}, {Key: "dead_reason", Value: reason}, {Key: "verdict", Value: r.Verdict()},
			{Key: "evidence", Value: orNull(r.Evidence)}, {Key: "again", Value: r.Again}, {Key: "waiting", Value: orNull(waiting)}, {Key: "notes", Value: notes}})
	}
	var words string
	switch {
	case r.Again && r.Sent:
		words = "it was answered so before, as " + r.Evidence
	case r.Again:
		words = "it was answered so before; `outboxd dead retry` sends it again"
	case !r.Sent:
		words = fmt.Sprintf("not sent; it is dead (%s) without a doubt, and `outboxd dead retry` sends it again", reason)
	case waiting != "":
		words = fmt.Sprintf("sent as %s; the answer is recorded, and a worker writes what follows, which has to wait: %s", r.Evidence, waiting)
	default:
		words = fmt.Sprintf("sent as %s; it is done, and what follows is written", r.Evidence)
	}
	if err := p.words(raw, "resolved", words); err != nil {
		return err
	}
	for _, n := range settled.Notes {
		if err := p.words(raw, n.Code, n.Text); err != nil {
			return err
		}
	}
	return nil
}

// orNull is the text, nil if it is empty.
func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}
