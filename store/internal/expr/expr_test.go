package expr_test

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/store/internal/expr"
)

// Each function is what the manual writes.
func TestManual(t *testing.T) {
	for manual, d := range map[string]bson.D{
		`{"$eq":["$a",1]}`:                              expr.Eq("$a", 1),
		`{"$ne":["$a",1]}`:                              expr.Ne("$a", 1),
		`{"$gt":["$a",1]}`:                              expr.Gt("$a", 1),
		`{"$gte":["$a",1]}`:                             expr.Gte("$a", 1),
		`{"$lt":["$a",1]}`:                              expr.Lt("$a", 1),
		`{"$lte":["$a",1]}`:                             expr.Lte("$a", 1),
		`{"$lte":1}`:                                    expr.Lte(1),
		`{"$eq":null}`:                                  expr.Eq(nil),
		`{"$and":[true]}`:                               expr.And(true),
		`{"$or":[true,false]}`:                          expr.Or(true, false),
		`{"$add":["$$NOW",1]}`:                          expr.Add("$$NOW", 1),
		`{"$subtract":["$a",1]}`:                        expr.Subtract("$a", 1),
		`{"$cond":["$a",1,2]}`:                          expr.Cond("$a", 1, 2),
		`{"$ifNull":["$a",0]}`:                          expr.IfNull("$a", 0),
		`{"$mergeObjects":["$a"]}`:                      expr.MergeObjects("$a"),
		`{"$concatArrays":["$a","$b"]}`:                 expr.ConcatArrays("$a", "$b"),
		`{"$arrayElemAt":["$a",0]}`:                     expr.ArrayElemAt("$a", 0),
		`{"$indexOfArray":["$a","x"]}`:                  expr.IndexOfArray("$a", "x"),
		`{"$isNumber":"$a"}`:                            expr.IsNumber("$a"),
		`{"$literal":"$a"}`:                             expr.Literal("$a"),
		`{"$type":"date"}`:                              expr.Type("date"),
		`{"$eq":[{"$type":"$a"},"missing"]}`:            expr.Missing("$a"),
		`{"$ne":[{"$type":"$a"},"missing"]}`:            expr.Present("$a"),
		`{"$expr":{"$eq":["$a","$b"]},"a":{"$in":[1]}}`: {expr.Expr(expr.Eq("$a", "$b")), {Key: "a", Value: expr.In(bson.A{1})}},
		`{"$exists":false}`:                             expr.Exists(false),
		`{"a":1,"b":1}`:                                 expr.Fields("a", "b"),
		`{"a":0}`:                                       expr.Without("a"),
		`{"a":-1}`:                                      expr.Descending("a"),
		`{"$set":{"a":1}}`:                              expr.Set(bson.D{{Key: "a", Value: 1}}),
		`{"$unset":"a"}`:                                expr.Unset("a"),
		`{"$match":{}}`:                                 expr.Match(bson.D{}),
		`{"$project":{"a":1}}`:                          expr.Project(expr.Fields("a")),
		`{"$group":{"_id":null}}`:                       expr.Group(bson.D{{Key: "_id", Value: nil}}),
	} {
		got, err := bson.MarshalExtJSON(d, false, false)
		if err != nil || string(got) != manual {
			t.Errorf("%s, %v; want %s", got, err, manual)
		}
	}
}
