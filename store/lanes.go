package store

import (
	"context"
	"fmt"
	"math"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// Lanes returns what all workers share about each lane, by kind. A kind without an entry is open. People write these
// documents as well: what cannot be read is taken as not there.
func (s *Store) Lanes(ctx context.Context) (map[string]outbox.LaneState, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	const doing = "read the lanes"
	cursor, err := s.lanes.Find(ctx, bson.D{})
	if err != nil {
		return nil, failed(err, doing)
	}
	defer cursor.Close(context.WithoutCancel(ctx))
	states := make(map[string]outbox.LaneState)
	for cursor.Next(ctx) {
		doc, err := decode(cursor.Current)
		if err != nil {
			return nil, failed(err, doing)
		}
		if kind, ok := doc["_id"].(string); ok {
			states[kind] = laneState(kind, doc)
		}
	}
	return states, failed(cursor.Err(), doing)
}

func laneState(kind string, doc map[string]any) outbox.LaneState {
	text := func(v any) string { t, _ := v.(string); return t }
	date := func(v any) time.Time { t, _ := v.(time.Time); return t }
	state := outbox.LaneState{
		Kind: kind, Paused: isTrue(doc["paused"]), Why: text(doc["why"]), By: text(doc["by"]),
		GateUntil: date(doc["gate_until"]), Rate: text(doc["rate"]),
	}
	switch hold := doc["hold"].(type) {
	case map[string]any:
		state.HeldSince, state.HoldCode = date(hold["since"]), text(hold["code"])
		if state.HeldSince.IsZero() { // held by hand, since whenever
			state.HeldSince = time.Unix(0, 0).UTC()
		}
	default:
		if isTrue(hold) {
			state.HeldSince = time.Unix(0, 0).UTC()
		}
	}
	if broken, ok := doc["broken"].(map[string]any); ok {
		state.BrokenUntil, state.BrokenBy = date(broken["until"]), text(broken["by"])
	}
	if limit, ok := doc["limit"].(map[string]any); ok {
		state.Limit, state.LimitWhy, state.LimitBy = perSecond(limit["rate"]), text(limit["why"]), text(limit["by"])
	}
	return state
}

// perSecond reads a rate that a person may have written as a number or as the configuration has it. One that is too low
// to keep to is the lowest; what is none is 0.
func perSecond(v any) float64 {
	var rate float64
	switch v := v.(type) {
	case int64:
		rate = float64(v)
	case float64:
		rate = v
	case string:
		rate, _ = outbox.ParseRate(v) // 0 where it is none
	}
	if !(rate > 0) || math.IsInf(rate, 1) { // NaN is not above 0 either
		return 0
	}
	return max(rate, outbox.LeastRate)
}

// isTrue reads a boolean that a person may have written as a number.
func isTrue(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	default:
		return false
	}
}

// CloseGate makes the lane wait until d from now, on every worker. A gate that is closed for longer stays so.
func (s *Store) CloseGate(ctx context.Context, kind string, d time.Duration) error {
	return s.setLane(ctx, "close the gate of", kind, bson.D{
		{Key: "gate_until", Value: bson.D{{Key: "$max", Value: bson.A{"$gate_until", fromNow(d)}}}},
	})
}

// Hold makes every worker hold the lane because of the failure's code. A hold that stands keeps its instant and code.
func (s *Store) Hold(ctx context.Context, kind, code string) error {
	hold := bson.D{{Key: "since", Value: "$$NOW"}, {Key: "code", Value: expr.Literal(code)}}
	return s.setLane(ctx, "hold", kind, bson.D{
		{Key: "hold", Value: unless("object", "$hold", hold)},
	})
}

// Unhold ends a hold. What was refused meanwhile waits out its delay unless [Store.Hasten] is called.
func (s *Store) Unhold(ctx context.Context, kind string) error {
	return s.clearLane(ctx, "end the hold of", bson.D{{Key: "_id", Value: kind}}, kind, "hold")
}

// Break tells the other workers that the breaker of this one is open for d.
func (s *Store) Break(ctx context.Context, kind, worker string, d time.Duration) error {
	broken := bson.D{{Key: "until", Value: fromNow(d)}, {Key: "by", Value: expr.Literal(worker)}}
	longer := expr.Gt("$broken.until", fromNow(d))
	return s.setLane(ctx, "tell of the open breaker of", kind, bson.D{
		{Key: "broken", Value: expr.Cond(longer, "$broken", broken)},
	})
}

// Unbreak takes back what the worker told by Break, unless another worker has told so since.
func (s *Store) Unbreak(ctx context.Context, kind, worker string) error {
	return s.clearLane(ctx, "tell of the closed breaker of", bson.D{{Key: "_id", Value: kind}, {Key: "broken.by", Value: worker}}, kind, "broken")
}

// Pause stops the lane on every worker. why is for people; by tells who did it.
func (s *Store) Pause(ctx context.Context, kind, why, by string) error {
	return s.setLane(ctx, "pause", kind, bson.D{
		{Key: "paused", Value: true}, {Key: "why", Value: expr.Literal(why)}, {Key: "by", Value: expr.Literal(by)},
	})
}

// Resume ends a pause and a hold, and lets run at once what was refused before. A gate stays: the provider asked for
// it.
func (s *Store) Resume(ctx context.Context, kind string) error {
	if err := s.clearLane(ctx, "resume", bson.D{{Key: "_id", Value: kind}}, kind, "paused", "why", "by", "hold"); err != nil {
		return err
	}
	return s.Hasten(ctx, kind)
}

// Limit makes the lane keep to so many calls a second on all workers together, unless it is configured to fewer. why is
// for people; by tells who did it. A pause and its end leave it.
func (s *Store) Limit(ctx context.Context, kind string, perSecond float64, why, by string) error {
	limit := bson.D{{Key: "rate", Value: perSecond}, {Key: "why", Value: expr.Literal(why)}, {Key: "by", Value: expr.Literal(by)}}
	return s.setLane(ctx, "limit the rate of", kind, bson.D{{Key: "limit", Value: limit}})
}

// Unlimit takes back what Limit set.
func (s *Store) Unlimit(ctx context.Context, kind string) error {
	return s.clearLane(ctx, "take back the rate of", bson.D{{Key: "_id", Value: kind}}, kind, "limit")
}

const (
	// hastenWithin is how long what the provider refused waits at most, and a little more: outbox.Decide says how long.
	hastenWithin = 2 * time.Minute
	// hastenBatch bounds how many are written by one command.
	hastenBatch = 500
	hastenMost  = 20 // commands
)

// Hasten makes due at once what waits because the provider refused it, and nothing but that, as far as it is due within
// two minutes: ten thousand at most. The rest runs when it is due.
func (s *Store) Hasten(ctx context.Context, kind string) error {
	doing := fmt.Sprintf("make due what was refused in lane %q", kind)
	ctx, cancel := s.bound(ctx)
	defer cancel()
	now, err := s.freshNow(ctx)
	if err != nil {
		return failed(err, "%s", doing)
	}
	waits := bson.D{
		{Key: "kind", Value: kind},
		{Key: "due_at", Value: bson.D{{Key: "$gt", Value: bson.NewDateTimeFromTime(now)}, {Key: "$lte", Value: bson.NewDateTimeFromTime(now.Add(hastenWithin))}}},
		{Key: "status", Value: outbox.StatusPending},
		{Key: "last_error.class", Value: outbox.Hold},
	}
	for range hastenMost {
		cursor, err := s.intents.Find(ctx, waits, options.Find().SetHint(indexClaim).
			SetProjection(expr.Fields("_id")).SetLimit(hastenBatch).SetBatchSize(hastenBatch))
		found, err := read(ctx, cursor, err)
		if err != nil {
			return failed(err, "%s: find it", doing)
		}
		if len(found) == 0 {
			return nil
		}
		_, err = s.updateMany(ctx, append(bson.D{{Key: "_id", Value: expr.In(idsAt(found))}}, waits...),
			mongo.Pipeline{expr.Set(bson.D{{Key: "due_at", Value: bson.NewDateTimeFromTime(now)}})}, "_id")
		if err != nil {
			return failed(err, "%s", doing)
		}
		if len(found) < hastenBatch {
			return nil
		}
	}
	return nil
}

// ShowRate notes the configured rate of the whole deployment for people to see; "" is unlimited.
func (s *Store) ShowRate(ctx context.Context, kind, rate string) error {
	if rate == "" {
		return s.clearLane(ctx, "note the rate of", bson.D{{Key: "_id", Value: kind}}, kind, "rate")
	}
	return s.setLane(ctx, "note the rate of", kind, bson.D{{Key: "rate", Value: expr.Literal(rate)}})
}

// fromNow is the expression for an instant d after the database's now.
func fromNow(d time.Duration) bson.D {
	return expr.Add("$$NOW", d.Milliseconds())
}

// unless keeps what stands in the field if it has the type, and else gives the new value.
func unless(bsonType, field string, value any) bson.D {
	is := expr.Eq(expr.Type(field), bsonType)
	return expr.Cond(is, field, value)
}

// setLane sets fields of a lane's document, which it makes if there is none.
func (s *Store) setLane(ctx context.Context, doing, kind string, set bson.D) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	_, err := s.lanes.UpdateOne(ctx, bson.D{{Key: "_id", Value: kind}}, mongo.Pipeline{expr.Set(set)}, options.UpdateOne().SetUpsert(true))
	return failed(err, "%s", fmt.Sprintf("%s lane %q", doing, kind))
}

// clearLane removes fields of a lane's document if it matches.
func (s *Store) clearLane(ctx context.Context, doing string, filter bson.D, kind string, fields ...string) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var unset bson.D
	for _, f := range fields {
		unset = append(unset, bson.E{Key: f, Value: ""})
	}
	_, err := s.lanes.UpdateOne(ctx, filter, expr.Unset(unset))
	return failed(err, "%s", fmt.Sprintf("%s lane %q", doing, kind))
}
