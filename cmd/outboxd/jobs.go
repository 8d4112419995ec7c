package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/admin/jobs"
	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/outbox"
)

type jobsCmd struct {
	List    jobsListCmd    `cmd:"" help:"List the newest jobs."`
	Show    jobsShowCmd    `cmd:"" help:"Show one job: its plan, and how far it is."`
	Approve jobsApproveCmd `cmd:"" help:"Agree to a job that needs a second person."`
	Resume  jobsResumeCmd  `cmd:"" aliases:"start" help:"Start a job that was planned; go on with one that is paused."`
	Pause   jobsPauseCmd   `cmd:"" help:"Let a job stand still after the batch that is under way."`
	Stop    jobsStopCmd    `cmd:"" help:"End a job. What it changed stays so."`
	Run     jobsRunCmd     `cmd:"" help:"Carry out jobs until a signal."`
}

func (jobsCmd) Help() string {
	return `A job retries or discards many dead letters. The database keeps it, so it survives the process that carries it out. It changes each
letter once, asks the same rules as ` + "`dead retry`" + `, and leaves letters alone that died after it was planned. A retry goes in steps of 1,
10 and 100, and stops itself where more than a fifth of those die again.

  outboxd dead retry --job --kind email --reason exhausted --why "SendGrid is back" --rate 25/s
  outboxd jobs run --until-done`
}

// jobFlags name a job, and who acts.
type jobFlags struct {
	mongoFlags
	outputFlag
	ID   string `arg:"" help:"The job's name, as jobs list shows it."`
	JSON bool   `help:"One JSON object."`
}

// changeFlags say who changes a job, and why.
type changeFlags struct {
	Why string `placeholder:"TEXT" help:"Why, for the audit."`
	By  string `placeholder:"NAME" help:"Who. Default: $$USER and the host's name."`
}

// do runs an act on the job, and shows what became of it.
func (f jobFlags) do(p *program, w changeFlags, act func(context.Context, *desk) (admin.JobView, error)) error {
	if err := config.Join(note("why", w.Why), note("by", w.By)); err != nil {
		return err
	}
	return p.withDesk(func(ctx context.Context, d *desk) error {
		d.actor.Who = cmp.Or(w.By, d.actor.Who)
		view, err := act(ctx, d)
		if e, ok := errors.AsType[*admin.Error](err); ok && e.Code == admin.JobNotFound {
			return fmt.Errorf("job %q: %w; `outboxd jobs list` shows what there is", f.ID, err)
		}
		if err != nil {
			return fmt.Errorf("job %s: %w", f.ID, err)
		}
		return p.job(f.form(f.JSON), view)
	})
}

type jobsShowCmd struct{ jobFlags }

func (jobsShowCmd) Help() string {
	return `  outboxd jobs show job-4xk2…`
}

func (c jobsShowCmd) Run(p *program) error {
	return c.do(p, changeFlags{}, func(ctx context.Context, d *desk) (admin.JobView, error) { return d.JobOf(ctx, d.actor, c.ID) })
}

type jobsApproveCmd struct {
	jobFlags
	changeFlags
}

func (jobsApproveCmd) Help() string {
	return `A job that would repeat many charges needs the consent of somebody else than who planned it. It can be started within an hour then.

  outboxd jobs approve job-4xk2… --why "checked with the bank"`
}

func (c jobsApproveCmd) Run(p *program) error {
	return c.do(p, c.changeFlags, func(ctx context.Context, d *desk) (admin.JobView, error) { return d.Approve(ctx, d.actor, c.ID, c.Why) })
}

type jobsResumeCmd struct {
	jobFlags
	By string `placeholder:"NAME" help:"Who. Default: $$USER and the host's name."`
}

func (jobsResumeCmd) Help() string {
	return `A plan can be started for ten minutes; after that, plan it again. Any process that carries out jobs goes on with it.

  outboxd jobs resume job-4xk2…`
}

func (c jobsResumeCmd) Run(p *program) error {
	return c.do(p, changeFlags{By: c.By}, func(ctx context.Context, d *desk) (admin.JobView, error) { return d.Start(ctx, d.actor, c.ID) })
}

type jobsPauseCmd struct {
	jobFlags
	changeFlags
}

func (jobsPauseCmd) Help() string {
	return `The batch that is under way ends: at most a hundred letters. ` + "`jobs resume`" + ` goes on with it.

  outboxd jobs pause job-4xk2… --why "the carrier is down again"`
}

func (c jobsPauseCmd) Run(p *program) error {
	return c.do(p, c.changeFlags, func(ctx context.Context, d *desk) (admin.JobView, error) {
		return d.PauseJob(ctx, d.actor, c.ID, c.Why)
	})
}

type jobsStopCmd struct {
	jobFlags
	changeFlags
}

func (jobsStopCmd) Help() string {
	return `What it made pending stays so; nothing more is changed.

  outboxd jobs stop job-4xk2… --why "planned by mistake"`
}

func (c jobsStopCmd) Run(p *program) error {
	return c.do(p, c.changeFlags, func(ctx context.Context, d *desk) (admin.JobView, error) { return d.StopJob(ctx, d.actor, c.ID, c.Why) })
}

type jobsListCmd struct {
	mongoFlags
	outputFlag
	Limit int  `placeholder:"N" default:"50" help:"At most so many, 1 to 500. Default: ${default}."`
	JSON  bool `help:"One JSON object for each, with what jobs show tells."`
}

func (jobsListCmd) Help() string {
	return `  outboxd jobs list --limit 10`
}

func (c jobsListCmd) Run(p *program) error {
	if c.Limit < 1 || c.Limit > 500 {
		return wrongUse("flag --limit: is %d, must be 1 to 500", c.Limit)
	}
	return p.withDesk(func(ctx context.Context, d *desk) error {
		list, err := d.AllJobs(ctx, d.actor, c.Limit)
		if err != nil {
			return err
		}
		if form := c.form(c.JSON); form != formTable {
			for _, j := range list {
				if err := p.object(form, jobDoc(j)); err != nil {
					return err
				}
			}
			return nil
		}
		if len(list) == 0 {
			_, err := fmt.Fprintln(p.out, "There are no jobs.")
			return err
		}
		table := term.NewTable(term.Column{Name: "ID"}, term.Column{Name: "STATE"}, term.Column{Name: "DOES"}, term.Column{Name: "WENT", Right: true}, term.Column{Name: "OF", Right: true},
			term.Column{Name: "PLANNED (UTC)"}, term.Column{Name: "WHAT", Flex: true, Whole: true})
		for _, j := range list {
			table.Row(j.ID, string(j.State), string(j.Op), strconv.FormatInt(j.Counts.Went, 10), would(j.Job), j.Planned.UTC().Format("2006-01-02 15:04"), admin.Describe(j.Job))
		}
		return table.Write(p.out, term.NewStyle(p.out, p.env))
	})
}

type jobsRunCmd struct {
	mongoFlags
	logFlags
	Config    string `placeholder:"FILE" predictor:"file" help:"The workers' file of policies, whose max_attempts, write_back and retention apply here as well ($$OUTBOXD_CONFIG)."`
	UntilDone bool   `help:"End with 0 once no job is left to carry out."`
}

func (jobsRunCmd) Help() string {
	return `Any number of such processes may run, beside ` + "`outboxd admin`" + `. Each job is carried out by one of them; if that one dies, another
goes on within half a minute. A step of a retry waits for the workers, which send what it made pending.

  outboxd jobs run --until-done`
}

func (c jobsRunCmd) Run(p *program) error {
	_, mongoErr := config.LoadMongo(p.source)
	workers, policyErr := loadDeployment(p.source)
	logging, logErr := config.LoadLogging(p.source)
	if err := config.Join(mongoErr, policyErr, logErr); err != nil {
		return err
	}
	return p.withOperator(workers, "", func(ctx context.Context, d *desk) error {
		runner := jobs.New(jobs.Config{Reader: d.Reader, Operator: d.Operator, Jobs: d.Jobs, Audit: d.Audit, Policy: d.Policy,
			Now: d.store.Now, Owner: p.person() + "/" + strconv.Itoa(processID()), Log: p.logger(logging)})
		if !c.UntilDone {
			runner.Run(ctx)
			return nil
		}
		for {
			worked, err := runner.Once(ctx)
			if err != nil || !worked {
				return err
			}
		}
	})
}

// planned makes a job of what the flags choose, and starts it unless it is a dry run.
func (p *program) planned(ctx context.Context, d *desk, form string, request admin.JobRequest, dryRun bool) error {
	view, err := d.Plan(ctx, d.actor, request)
	if err != nil {
		return err
	}
	if !dryRun && !view.Plan.Needs {
		if view, err = d.Start(ctx, d.actor, view.ID); err != nil {
			return err
		}
	}
	if err := p.job(form, view); err != nil {
		return err
	}
	switch {
	case view.Plan.Needs && !dryRun:
		return fmt.Errorf("job %s is planned and not started: it would repeat more than %d charges, so a second person has to approve it: `outboxd jobs approve %s`, then `outboxd jobs resume %s`",
			view.ID, d.Approval, view.ID, view.ID)
	case form != formTable:
		return nil
	case dryRun:
		_, err = fmt.Fprintln(p.out, term.Wrap(fmt.Sprintf("Nothing was changed. `outboxd jobs resume %s` starts it, within ten minutes.", view.ID), ""))
	default:
		_, err = fmt.Fprintln(p.out, term.Wrap(fmt.Sprintf("`outboxd jobs run` or `outboxd admin` carries it out. `outboxd jobs show %s` tells how far it is.", view.ID), ""))
	}
	return err
}

// would is how many letters a job would change, as far as that was counted.
func would(j outbox.Job) string {
	text := strconv.FormatInt(j.Plan.Would, 10)
	if j.Plan.Capped {
		text += "+"
	}
	return text
}
