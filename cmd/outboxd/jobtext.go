package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/outbox"
)

// processID tells this process from others of the same person.
func processID() int { return os.Getpid() }

// job prints a job.
func (p *program) job(form string, j admin.JobView) error {
	if form != formTable {
		return p.object(form, jobDoc(j))
	}
	style := term.NewStyle(p.out, p.env)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", style.Bold(term.Clean(j.ID)), style.Yellow(term.Clean(string(j.State)+because(j.Note))))
	say := func(format string, args ...any) {
		b.WriteString(term.Wrap(fmt.Sprintf(format, args...), "  ") + "\n")
	}
	say("%s of %s", j.Op, admin.Describe(j.Job))
	say("planned %s by %s: %s", instant(j.Planned), j.By, j.Why)
	if j.Approved != "" {
		say("approved by %s", j.Approved)
	}
	say("plan: %d chosen, %s would go%s", j.Plan.Chosen, would(j.Job), tallied(", refused: ", j.Plan.Refused))
	if j.Plan.Charges > 0 {
		say("money: %d charges%s, in minor units", j.Plan.Charges, tallied(", ", j.Plan.Money))
	}
	if j.Plan.Capped {
		say("There are more letters than the dry run looked at; the job does not end there.")
	}
	for _, effect := range j.Effect {
		say("%s", effect)
	}
	if j.Takes > 0 {
		say("at its rate the rest takes %s", ago(j.Takes))
	}
	if !j.Started.IsZero() {
		c := j.Counts
		say("started %s: %d seen, %d went, %d changed meanwhile%s", instant(j.Started), c.Seen, c.Went, c.Changed, tallied(", refused: ", c.Refused))
		if len(j.Canaries) > 0 {
			say("of the first %d: %d done, %d died again", len(j.Canaries), c.Done, c.DiedAgain)
		}
	}
	if !j.Finished.IsZero() {
		say("ended %s", instant(j.Finished))
	}
	_, err := p.out.Write([]byte(b.String()))
	return err
}

// because is a job's note behind its state.
func because(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// tallied writes counts by what was counted, after the words.
func tallied(words string, counts map[string]int64) string {
	if len(counts) == 0 {
		return ""
	}
	var list []string
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, fmt.Sprintf("%d %s", counts[what], what))
	}
	return words + strings.Join(list, ", ")
}

func jobDoc(j admin.JobView) bson.D {
	p, c := j.Plan, j.Counts
	return bson.D{{Key: "_id", Value: j.ID}, {Key: "op", Value: j.Op}, {Key: "state", Value: j.State}, {Key: "note", Value: orNull(j.Note)},
		{Key: "what", Value: admin.Describe(j.Job)}, {Key: "why", Value: j.Why}, {Key: "by", Value: j.By}, {Key: "approved_by", Value: orNull(j.Approved)},
		{Key: "rate", Value: orNull(outbox.RateText(j.Rate))}, {Key: "planned", Value: orNone(j.Planned)}, {Key: "started", Value: orNone(j.Started)}, {Key: "finished", Value: orNone(j.Finished)},
		{Key: "plan", Value: bson.D{{Key: "chosen", Value: p.Chosen}, {Key: "would", Value: p.Would}, {Key: "refused", Value: counts(p.Refused)}, {Key: "charges", Value: p.Charges},
			{Key: "money", Value: counts(p.Money)}, {Key: "capped", Value: p.Capped}, {Key: "needs_approval", Value: p.Needs}}},
		{Key: "counts", Value: bson.D{{Key: "seen", Value: c.Seen}, {Key: "went", Value: c.Went}, {Key: "refused", Value: counts(c.Refused)}, {Key: "changed", Value: c.Changed},
			{Key: "done", Value: c.Done}, {Key: "died_again", Value: c.DiedAgain}}},
		{Key: "takes_s", Value: j.Takes.Seconds()}, {Key: "effect", Value: j.Effect}}
}

// counts are figures by name, in the order of the names.
func counts(m map[string]int64) bson.D {
	doc := bson.D{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		doc = append(doc, bson.E{Key: key, Value: m[key]})
	}
	return doc
}
