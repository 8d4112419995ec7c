package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/outbox"
)

// codeBadValue is what the server answers to a hint that names no index, or a hidden one (its error_codes.yml).
const codeBadValue = 2

// question is one of those that the worker and the commands ask again and again, each by an index that it names.
type question struct {
	what, index  string
	filter, sort bson.D
}

// questions are as the store asks them, as far as the choice of a plan depends on it.
func questions(now time.Time) []question {
	exists := bson.D{{Key: "$exists", Value: true}}
	until := bson.D{{Key: "$lte", Value: now}}
	return []question{
		{"what can be claimed", migrations.IndexClaim,
			bson.D{{Key: "kind", Value: outbox.KindSMS}, {Key: "priority", Value: 0}, {Key: "due_at", Value: until}},
			bson.D{{Key: "priority", Value: 1}, {Key: "due_at", Value: 1}, {Key: "_id", Value: 1}}},
		{"what has expired", migrations.IndexExpires,
			bson.D{{Key: "expires_at", Value: until}, {Key: "due_at", Value: exists}}, bson.D{{Key: "expires_at", Value: 1}}},
		{"what is settled but not written", migrations.IndexRecorded,
			bson.D{{Key: "outcome", Value: exists}, {Key: "due_at", Value: until}}, bson.D{{Key: "due_at", Value: 1}}},
		{"dead letters", migrations.IndexDead,
			bson.D{{Key: "dead_at", Value: exists}}, bson.D{{Key: "dead_at", Value: -1}, {Key: "_id", Value: -1}}},
		{"dead letters of a kind", migrations.IndexDeadGroups,
			bson.D{{Key: "kind", Value: outbox.KindSMS}, {Key: "dead_reason", Value: outbox.ReasonAmbiguous}, {Key: "dead_at", Value: bson.D{{Key: "$lte", Value: now}}}},
			bson.D{{Key: "kind", Value: 1}}},
		{"what is cancelled", migrations.IndexCancelled,
			bson.D{{Key: "kind", Value: outbox.KindSMS}, {Key: "status", Value: outbox.StatusCancelled}}, bson.D{{Key: "cancelled_at", Value: -1}, {Key: "_id", Value: -1}}},
		{"what is in doubt", migrations.IndexInDoubt,
			bson.D{{Key: "kind", Value: outbox.KindSMS}, {Key: "ambiguous_at", Value: until}, {Key: "due_at", Value: exists}}, bson.D{{Key: "ambiguous_at", Value: 1}}},
		{"what is in trouble", migrations.IndexTroubled,
			bson.D{{Key: "kind", Value: outbox.KindSMS}, {Key: "last_error", Value: exists}, {Key: "due_at", Value: exists}}, bson.D{{Key: "first_due_at", Value: 1}}},
		{"what no claim can see", migrations.IndexUnclaimable, bson.D{}, bson.D{{Key: "status", Value: 1}}},
		{"what is no intent", migrations.IndexForeign, bson.D{{Key: "kind", Value: nil}}, bson.D{{Key: "kind", Value: 1}, {Key: "_id", Value: 1}}},
	}
}

// indexes asks the server how it answers what is asked all the time. An index that is hidden is there and still of no
// use.
func indexes(ctx context.Context, p Patient) (detail, remedy string, err error) {
	var bad []string
	all := questions(p.Store.Now())
	for _, q := range all {
		var answer struct {
			Planner struct {
				Plan bson.Raw `bson:"winningPlan"`
			} `bson:"queryPlanner"`
		}
		err := p.Store.Database().RunCommand(ctx, bson.D{{Key: "explain", Value: bson.D{
			{Key: "find", Value: p.Collection}, {Key: "filter", Value: q.filter}, {Key: "sort", Value: q.sort}, {Key: "hint", Value: q.index},
		}}, {Key: "verbosity", Value: "queryPlanner"}}).Decode(&answer)
		command, ok := errors.AsType[mongo.CommandError](err)
		if err != nil && !(ok && command.HasErrorCode(codeBadValue)) {
			return "", "", failed("ask how "+q.what+" is found", err)
		}
		if err != nil {
			bad = append(bad, fmt.Sprintf("%s: the index %s cannot be used", q.what, q.index))
			continue
		}
		used, stages := walk(answer.Planner.Plan)
		if slices.Contains(stages, "EOF") { // the server's plan for a collection that is not there
			return "the collection " + p.Collection + " does not exist", "run `outboxd migrate`", nil
		}
		if !slices.Equal(used, []string{q.index}) || slices.Contains(stages, "COLLSCAN") || slices.Contains(stages, "SORT") {
			bad = append(bad, fmt.Sprintf("%s: found by %s instead of the index %s alone", q.what, strings.Join(stages, ", "), q.index))
		}
	}
	if len(bad) > 0 {
		return strings.Join(bad, "; "), "run `outboxd migrate`, and unhide what is hidden: db.runCommand({collMod: \"" + p.Collection + "\", index: {name: …, hidden: false}})", nil
	}
	return fmt.Sprintf("in use for all %d questions that are asked all the time, without sort or scan", len(all)), "", nil
}

// walk collects the indexes and the stages of a plan, whatever shape the server's version gives it.
func walk(node bson.Raw) (used, stages []string) {
	elements, err := node.Elements()
	if err != nil {
		return nil, nil
	}
	for _, e := range elements {
		switch v := e.Value(); {
		case e.Key() == "stage":
			stages = append(stages, v.StringValue())
		case e.Key() == "indexName":
			used = append(used, v.StringValue())
		case v.Type == bson.TypeEmbeddedDocument, v.Type == bson.TypeArray:
			below, deeper := walk(bson.Raw(v.Value))
			used, stages = append(used, below...), append(stages, deeper...)
		}
	}
	return used, stages
}
