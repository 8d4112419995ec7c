// Package expr writes what MongoDB's manual writes: expr.Cond(expr.Eq("$status", "leased"), "$due_at", "$$NOW") is
// {$cond: [{$eq: ["$status", "leased"]}, "$due_at", "$$NOW"]}. Each function has the name of its operator, and adds
// nothing to it.
//
// A comparison with one value is a query's operator, {$lte: 5}. With two it is an expression, {$lte: ["$n", 5]}.
package expr

import "go.mongodb.org/mongo-driver/v2/bson"

func op(name string, value any) bson.D { return bson.D{{Key: name, Value: value}} }

func compare(name string, values []any) bson.D {
	if len(values) == 1 {
		return op(name, values[0])
	}
	return op(name, bson.A(values))
}

// Comparisons, of queries with one value and of expressions with two.

// Eq is $eq.
func Eq(values ...any) bson.D { return compare("$eq", values) }

// Ne is $ne.
func Ne(values ...any) bson.D { return compare("$ne", values) }

// Gt is $gt.
func Gt(values ...any) bson.D { return compare("$gt", values) }

// Gte is $gte.
func Gte(values ...any) bson.D { return compare("$gte", values) }

// Lt is $lt.
func Lt(values ...any) bson.D { return compare("$lt", values) }

// Lte is $lte.
func Lte(values ...any) bson.D { return compare("$lte", values) }

// Expressions.

// And is $and.
func And(all ...any) bson.D { return op("$and", bson.A(all)) }

// Or is $or.
func Or(any ...any) bson.D { return op("$or", bson.A(any)) }

// Add is $add.
func Add(terms ...any) bson.D { return op("$add", bson.A(terms)) }

// Subtract is $subtract.
func Subtract(from, what any) bson.D { return op("$subtract", bson.A{from, what}) }

// Cond is $cond.
func Cond(condition, then, otherwise any) bson.D {
	return op("$cond", bson.A{condition, then, otherwise})
}

// IfNull is $ifNull: the value, or the other one where there is none.
func IfNull(value, otherwise any) bson.D { return op("$ifNull", bson.A{value, otherwise}) }

// MergeObjects is $mergeObjects.
func MergeObjects(documents ...any) bson.D { return op("$mergeObjects", bson.A(documents)) }

// ConcatArrays is $concatArrays.
func ConcatArrays(arrays ...any) bson.D { return op("$concatArrays", bson.A(arrays)) }

// ArrayElemAt is $arrayElemAt.
func ArrayElemAt(array, at any) bson.D { return op("$arrayElemAt", bson.A{array, at}) }

// IndexOfArray is $indexOfArray.
func IndexOfArray(array, value any) bson.D { return op("$indexOfArray", bson.A{array, value}) }

// IsNumber is $isNumber.
func IsNumber(value any) bson.D { return op("$isNumber", value) }

// Literal is $literal: it keeps a value from being read as an expression.
func Literal(value any) bson.D { return op("$literal", value) }

// Type is $type: a field's type in an expression, or the type that a query asks for.
func Type(of any) bson.D { return op("$type", of) }

// Missing is an expression for whether there is no such field: {$eq: [{$type: "$field"}, "missing"]}.
func Missing(field string) bson.D { return Eq(Type(field), "missing") }

// Present is the contrary of Missing.
func Present(field string) bson.D { return Ne(Type(field), "missing") }

// Queries.

// Expr is a condition of a query that is an expression.
func Expr(expression any) bson.E { return bson.E{Key: "$expr", Value: expression} }

// In is $in.
func In(values any) bson.D { return op("$in", values) }

// Exists is $exists.
func Exists(is bool) bson.D { return op("$exists", is) }

// Fields is a projection on fields, or the keys of an index in ascending order.
func Fields(names ...string) bson.D { return all(1, names) }

// Without is a projection that leaves fields out.
func Without(names ...string) bson.D { return all(0, names) }

// Descending are keys in descending order.
func Descending(names ...string) bson.D { return all(-1, names) }

func all(value int, names []string) bson.D {
	d := make(bson.D, len(names))
	for i, name := range names {
		d[i] = bson.E{Key: name, Value: value}
	}
	return d
}

// Stages of pipelines; Set and Unset are updates as well.

// Set is $set.
func Set(fields any) bson.D { return op("$set", fields) }

// Unset is $unset.
func Unset(fields any) bson.D { return op("$unset", fields) }

// Match is $match.
func Match(filter any) bson.D { return op("$match", filter) }

// Project is $project.
func Project(fields any) bson.D { return op("$project", fields) }

// Group is $group.
func Group(fields any) bson.D { return op("$group", fields) }
