package integration

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// canary is what poisonous values are made of, so that it shows where one of them got to.
const canary = "cAnArY"

// toxins are values that no field of an intent should have: of each BSON type, at the edges of the numbers and dates,
// and of sizes and shapes that are meant to hurt.
func toxins(tb testing.TB) []named {
	decimal := func(text string) bson.Decimal128 {
		d, err := bson.ParseDecimal128(text)
		if err != nil {
			tb.Fatal(err)
		}
		return d
	}
	date := func(year int) bson.DateTime {
		return bson.NewDateTimeFromTime(time.Date(year, 12, 31, 23, 59, 59, 0, time.UTC))
	}
	binary := func(subtype byte, n int) bson.Binary {
		return bson.Binary{Subtype: subtype, Data: []byte(strings.Repeat(canary, n)[:n])}
	}
	wide := make(bson.D, 10_000)
	for i := range wide {
		wide[i] = bson.E{Key: fmt.Sprint("k", i), Value: canary}
	}
	now := bson.NewDateTimeFromTime(time.Now().Add(-time.Minute))
	return []named{
		{"null", nil}, {"true", true}, {"NaN", math.NaN()}, {"infinity", math.Inf(1)}, {"negative infinity", math.Inf(-1)}, {"negative zero", math.Copysign(0, -1)},
		{"the last int64", int64(math.MaxInt64)}, {"the first int64", int64(math.MinInt64)}, {"the last int32", int32(math.MaxInt32)}, {"1e308", 1e308},
		{"decimal 1", decimal("1")}, {"decimal NaN", decimal("NaN")}, {"the largest decimal", decimal("9.999999999999999999999999999999999E6144")},
		{"the first date", bson.DateTime(math.MinInt64)}, {"the last date", bson.DateTime(math.MaxInt64)}, {"year 0", date(0)}, {"year 9999", date(9999)}, {"year 10000", date(10_000)},
		{"dates", bson.A{now, now}}, {"a date and more", bson.A{now, canary, nil}},
		{"text", canary}, {"no text", ""}, {"a numeral", "1"}, {"no UTF-8", canary + "\xff\xfe\xc3("}, {"text with NUL", canary + "\x00b"}, {"100 kB of text", strings.Repeat(canary, 100<<10/len(canary))},
		{"an ObjectId", bson.NewObjectID()}, {"a timestamp", bson.Timestamp{T: 1}}, {"the least key", bson.MinKey{}}, {"the greatest key", bson.MaxKey{}}, {"undefined", bson.Undefined{}},
		{"an expression", bson.Regex{Pattern: "(" + canary + "+)+$"}}, {"code", bson.JavaScript(canary)}, {"code with scope", bson.CodeWithScope{Code: canary, Scope: bson.D{{Key: "a", Value: canary}}}},
		{"a symbol", bson.Symbol(canary)}, {"a pointer", bson.DBPointer{DB: canary}},
		{"bytes", binary(0, 9)}, {"a function", binary(1, 9)}, {"old bytes", binary(2, 9)}, {"an old UUID", binary(3, 16)}, {"a UUID", binary(4, 16)}, {"a short UUID", binary(4, 3)},
		{"a digest", binary(5, 16)}, {"cipher text", binary(6, 32)}, {"bytes of a user", binary(128, 9)},
		{"a document", bson.D{{Key: "a", Value: canary}}}, {"an operator", bson.D{{Key: "$set", Value: bson.D{{Key: "a", Value: canary}}}}}, {"dots", bson.D{{Key: "a.b.c", Value: canary}}},
		{"no name", bson.D{{Key: "", Value: canary}}}, {"a name twice", bson.D{{Key: "a", Value: canary}, {Key: "a", Value: 1}}}, {"10000 fields", wide}, {"documents in documents", nested(97, false)}, {"arrays in arrays", nested(97, true)},
		{"kinds", bson.A{"sms", "charge"}}, {"numbers", bson.A{int32(0), int32(1), int32(2)}}, {"no entries", bson.A{}}, {"documents", bson.A{bson.D{{Key: "token", Value: canary}}, int32(1)}},
	}
}

// nested returns documents or arrays in one another. MongoDB stores a hundred levels, the document itself included.
func nested(levels int, arrays bool) any {
	var v any = canary
	for range levels {
		if arrays {
			v = bson.A{v}
		} else {
			v = bson.D{{Key: "a", Value: v}}
		}
	}
	return v
}

// poisoned are the fields that are given each of the toxins: all of the contract's, and one that it does not have.
var poisoned = []string{"v", "kind", "status", "due_at", "expires_at", "priority", "ordering_key", "dedup_key", "max_attempts", "on_ambiguous",
	"on_done", "on_dead", "write_back", "metadata", "trace", "created_at", "payload", "attempts", "lease", "first_attempt_at", "ambiguous_at",
	"generation", "progress", "last_error", "history", "result", "done_at", "dead_at", "dead_reason", "cancelled_at", "unknown",
	"payload.to", "payload.from", "payload.metadata", "payload.template_data", "metadata.x", "write_back.id", "write_back.done", "lease.token", "history.0", "on_done.0", "on_dead.0.payload"}

// withToxin returns intents, each with the toxin in one field. They are due before everything else.
func withToxin(toxin named) []bson.M {
	var list []bson.M
	for i, field := range poisoned {
		d := []func(string) bson.M{sms, email, charge}[i%3](fmt.Sprintf("%s = %s", field, toxin.name))
		d["due_at"] = time.Now().Add(-time.Hour)
		switch top, below, _ := strings.Cut(field, "."); top {
		case "payload", "metadata":
			if below == "" {
				d[top] = toxin.value
			} else if c, ok := d[top].(bson.M); ok {
				c[below] = toxin.value
			} else {
				d[top] = bson.M{below: toxin.value}
			}
		case "write_back":
			d[top] = bson.M{"collection": "orders", "id": "o", "done": bson.M{"state": "sent"}, "dead": bson.M{"state": "dead"}}
			if below == "" {
				d[top] = toxin.value
			} else {
				d[top].(bson.M)[below] = toxin.value
			}
		case "history", "on_done", "on_dead":
			switch below {
			case "":
				d[top] = toxin.value
			case "0":
				d[top] = bson.A{toxin.value}
			default:
				d[top] = bson.A{bson.M{"kind": "fax", "payload": toxin.value}}
			}
		case "lease":
			d["status"] = "leased"
			d[top] = bson.M{"token": toxin.value, "owner": "o", "at": time.Now(), "reclaimed": false}
			if below == "" {
				d[top] = toxin.value
			}
		default:
			d[field] = toxin.value
		}
		list = append(list, d)
	}
	return list
}

// bombs are intents whose consequences are meant to grow beyond measure.
func bombs() []bson.M {
	bomb := func(id string, more bson.M) bson.M {
		d := sms("bomb " + id)
		d["due_at"] = time.Now().Add(-time.Hour)
		maps.Copy(d, more)
		return d
	}
	followUps := func(n, levels int, text string) bson.A {
		var list bson.A
		for range levels {
			list = repeated(n, bson.M{"kind": "fax", "payload": bson.M{"text": text}, "on_done": slices.Clone(list)})
		}
		return list
	}
	long := strings.Repeat(canary, 1<<20/len(canary))
	return []bson.M{
		bomb("16 × 16 × 16", bson.M{"on_done": followUps(16, 3, "t")}),
		bomb("four levels", bson.M{"on_done": followUps(2, 4, "t")}),
		bomb("17 follow-ups", bson.M{"on_done": followUps(17, 1, "t")}),
		bomb("references to a MB", bson.M{"metadata": bson.M{"long": long}, "on_done": followUps(16, 3, strings.Repeat("${metadata.long}", 20))}),
		bomb("references in references", bson.M{"metadata": bson.M{"a": strings.Repeat("${metadata.a}", 1000)}, "on_done": followUps(1, 1, "${metadata.a}")}),
		bomb("references without end", bson.M{"on_done": followUps(1, 1, strings.Repeat("${", 100_000))}),
		bomb("write_back to everything", bson.M{"write_back": bson.M{"collection": "orders", "id": bson.D{{Key: "$exists", Value: true}}, "done": bson.M{"state": canary}}}),
		bomb("write_back by pipeline", bson.M{"write_back": bson.M{"collection": "orders", "id": "o", "done": bson.D{{Key: "$where", Value: canary}}}}),
		bomb("write_back of a million fields", bson.M{"write_back": bson.M{"collection": "orders", "id": "o", "done": bson.M{strings.Repeat("a.", 500_000) + "a": canary}}}),
		bomb("write_back elsewhere", bson.M{"write_back": bson.M{"collection": "outbox", "id": "o", "done": bson.M{"status": "pending"}}}),
	}
}

// sized returns an e-mail whose document has so many bytes, all but a few in one field of its payload.
func sized(tb testing.TB, id, field string, size int) bson.D {
	tb.Helper()
	with := func(text string) bson.D {
		return bson.D{{Key: "_id", Value: id}, {Key: "kind", Value: "email"}, {Key: "status", Value: "pending"}, {Key: "due_at", Value: time.Now().Add(-time.Hour)},
			{Key: "payload", Value: bson.D{{Key: "from", Value: "shop@example.com"}, {Key: "to", Value: "a@example.org"}, {Key: "subject", Value: "s"}, {Key: field, Value: text}}}}
	}
	raw, err := bson.Marshal(with(""))
	if err != nil {
		tb.Fatal(err)
	}
	return with(strings.Repeat("x", size-len(raw)))
}
