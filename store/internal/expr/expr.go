// Package expr writes what MongoDB's manual writes: expr.Cond(expr.Eq("$status", "leased"), "$due_at", "$$NOW") is
// {$cond: [{$eq: ["$status", "leased"]}, "$due_at", "$$NOW"]}. Each function has the name of its operator, and adds
// nothing to it.
package expr

import "go.mongodb.org/mongo-driver/v2/bson"

// Operators that compare. With one value they are a query's, with two an expression.
var (
	Eq  = compare("$eq")
	Ne  = compare("$ne")
	Gt  = compare("$gt")
	Gte = compare("$gte")
	Lt  = compare("$lt")
	Lte = compare("$lte")
)

// Operators of any number of values.
var (
	And          = list("$and")
	Or           = list("$or")
	Add          = list("$add")
	MergeObjects = list("$mergeObjects")
	ConcatArrays = list("$concatArrays")
)

// Operators and stages of one value. Literal keeps it from being read as an expression.
var (
	Literal  = one("$literal")
	IsNumber = one("$isNumber")
	Type     = one("$type")
	In       = one("$in")
	Exists   = one("$exists")
	Set      = one("$set")
	Unset    = one("$unset")
	Match    = one("$match")
	Project  = one("$project")
	Group    = one("$group")
	Sum      = one("$sum")
	Floor    = one("$floor")
)

// Projections by names, and the keys of indexes in either order.
var (
	Fields     = all(1)
	Without    = all(0)
	Descending = all(-1)
)

func one(name string) func(value any) bson.D {
	return func(value any) bson.D { return bson.D{{Key: name, Value: value}} }
}

func list(name string) func(values ...any) bson.D {
	return func(values ...any) bson.D { return bson.D{{Key: name, Value: bson.A(values)}} }
}

func compare(name string) func(values ...any) bson.D {
	return func(values ...any) bson.D {
		if len(values) == 1 {
			return one(name)(values[0])
		}
		return list(name)(values...)
	}
}

func all(value int) func(names ...string) bson.D {
	return func(names ...string) bson.D {
		d := make(bson.D, len(names))
		for i, name := range names {
			d[i] = bson.E{Key: name, Value: value}
		}
		return d
	}
}

// Subtract is $subtract.
func Subtract(from, what any) bson.D { return list("$subtract")(from, what) }

// Divide is $divide.
func Divide(what, by any) bson.D { return list("$divide")(what, by) }

// Cond is $cond.
func Cond(condition, then, otherwise any) bson.D { return list("$cond")(condition, then, otherwise) }

// IfNull is $ifNull: the value, or the other one where there is none.
func IfNull(value, otherwise any) bson.D { return list("$ifNull")(value, otherwise) }

// ArrayElemAt is $arrayElemAt.
func ArrayElemAt(array, at any) bson.D { return list("$arrayElemAt")(array, at) }

// IndexOfArray is $indexOfArray.
func IndexOfArray(array, value any) bson.D { return list("$indexOfArray")(array, value) }

// Missing is an expression for whether there is no such field.
func Missing(field string) bson.D { return Eq(Type(field), "missing") }

// Present is the contrary of Missing.
func Present(field string) bson.D { return Ne(Type(field), "missing") }

// Expr is a condition of a query that is an expression.
func Expr(expression any) bson.E { return bson.E{Key: "$expr", Value: expression} }
