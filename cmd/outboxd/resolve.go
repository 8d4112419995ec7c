package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/outbox"
)

type resolveCmd struct {
	mongoFlags
	outputFlag
	ID      string `arg:"" help:"The intent's _id: an ObjectId's hex, a UUID, or the string."`
	Sent    string `placeholder:"REF" help:"The provider has it, under this reference of its own: a PaymentIntent (pi_…), a message's id or SID."`
	NotSent bool   `help:"The provider surely does not have it, and no request for it can still be on its way. Needs --why."`
	Why     string `placeholder:"TEXT" help:"How you know, for the people who will see it in the document."`
	By      string `placeholder:"NAME" help:"Who says so. Default: $$USER and the host's name."`
	Config  string `placeholder:"FILE" predictor:"file" help:"The workers' file of policies, whose write_back.collections and retention.done apply here as well ($$OUTBOXD_CONFIG)."`
	JSON    bool   `help:"One JSON object: {_id, kind, status, dead_reason, verdict, evidence, again, waiting, notes}."`
}

func (resolveCmd) Help() string {
	return `A person's answer to an ambiguous outcome: ask the provider first. With --sent the intent becomes done, with its on_done follow-ups
and write_back. With --not-sent it stays a dead letter without the doubt, and ` + "`outboxd dead retry`" + ` takes it. Only a dead letter whose
outcome is ambiguous takes an answer. A pending one is refused: the worker is asking the provider, and ends that by itself.
The answer is kept in the document (resolved, history) and in the audit. Giving the same answer again changes nothing.

  outboxd resolve order-7 --sent SM0123456789 --why "Twilio's log, 14:02"`
}

func (c resolveCmd) Run(p *program) error {
	_, mongoErr := config.LoadMongo(p.source)
	workers, policyErr := loadDeployment(p.source)
	if err := config.Join(mongoErr, policyErr, c.check(p.source), note("sent", c.Sent), note("why", c.Why), note("by", c.By)); err != nil {
		return err
	}
	return p.withOperator(workers, c.By, func(ctx context.Context, d *desk) error {
		in, err := d.store.Look(ctx, c.ID)
		if err != nil {
			return err
		}
		answer := outbox.PersonVerdict{Sent: !c.NotSent, Evidence: c.Sent, Why: orNoReason(c.Why), By: d.actor.Who}
		resolution, _ := outbox.Resolve(in.Intent, answer, workers.Policy(in.Kind), d.store.Now()) // the service asks again
		change, err := d.Resolve(context.WithoutCancel(ctx), d.actor, c.ID, answer.Why, answer.Sent, answer.Evidence)
		if refusal, is := errors.AsType[*outbox.Refusal](err); is {
			told := *refusal
			told.Why = workers.why(refusal)
			return &told
		}
		if err != nil {
			return err
		}
		return c.say(p, rawOf(in), resolution, change)
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

func (c resolveCmd) say(p *program, raw bson.Raw, r outbox.Resolution, change admin.Change) error {
	reason := any(nil)
	if !r.Sent {
		reason = cmp.Or(string(r.Reason), text(raw, "dead_reason"))
	}
	if form := c.form(c.JSON); form != formTable {
		notes := bson.A{}
		for _, n := range change.Notes {
			notes = append(notes, bson.D{{Key: "code", Value: n.Code}, {Key: "text", Value: n.Text}})
		}
		return p.line(form, raw, bson.D{{Key: "status", Value: change.Status}, {Key: "dead_reason", Value: reason}, {Key: "verdict", Value: r.Verdict()},
			{Key: "evidence", Value: orNull(r.Evidence)}, {Key: "again", Value: change.Again}, {Key: "waiting", Value: orNull(change.Waiting)}, {Key: "notes", Value: notes}})
	}
	var words string
	switch {
	case change.Again && r.Sent:
		words = "it was answered so before, as " + r.Evidence
	case change.Again:
		words = "it was answered so before; `outboxd dead retry` sends it again"
	case !r.Sent:
		words = fmt.Sprintf("not sent; it is dead (%s) without a doubt, and `outboxd dead retry` sends it again", reason)
	case change.Waiting != "":
		words = fmt.Sprintf("sent as %s; the answer is recorded, and a worker writes what follows, which has to wait: %s", r.Evidence, change.Waiting)
	default:
		words = fmt.Sprintf("sent as %s; it is done, and what follows is written", r.Evidence)
	}
	if err := p.words(raw, "resolved", words); err != nil {
		return err
	}
	for _, n := range change.Notes {
		if err := p.words(raw, n.Code, n.Text); err != nil {
			return err
		}
	}
	return nil
}
