package migrations

import (
	"math"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// v1TemplateLevels is how deep the values of template_data may be nested. The rule is spelt out level by level, and a
// stored document may not be deeper than a hundred.
const v1TemplateLevels = 8

const v1TemplateText = "Its values become JSON: strings, finite numbers, booleans, null, arrays and documents, at most eight levels deep; " +
	"a Date, an ObjectId and a UUID become text. No Decimal128 (write a string), no NaN, no Infinity, no other type."

// v1TemplateData refuses, in the template_data of an e-mail and of its follow-ups, what has no form in JSON.
// $jsonSchema cannot look into documents of any shape, so this is an expression; most intents never come to it.
func v1TemplateData() bson.D {
	none := bson.D{{Key: "$jsonSchema", Value: described("template_data of an email", "template_data holds what cannot be JSON. "+v1TemplateText,
		bson.E{Key: "properties", Value: bson.D{
			{Key: "payload", Value: rule{without("template_data")}},
			{Key: "on_done", Value: rule{{Key: "not", Value: rule{}}}},
			{Key: "on_dead", Value: rule{{Key: "not", Value: rule{}}}},
		}})}}
	fits := bson.D{{Key: "$expr", Value: bson.D{{Key: "$not", Value: bson.A{v1BadTemplate("$$ROOT", v1FollowUps)}}}}}
	return bson.D{{Key: "$or", Value: bson.A{none, fits}}}
}

// v1BadTemplate is true where the template_data of an e-mail, or of one of its follow-ups so many levels down, does
// not fit.
func v1BadTemplate(intent string, levels int) bson.D {
	email := bson.D{{Key: "$eq", Value: bson.A{intent + ".kind", "email"}}}
	own := bson.D{{Key: "$and", Value: bson.A{email, v1BadValue(intent+".payload.template_data", v1TemplateLevels)}}}
	if levels == 0 {
		return own
	}
	list := func(field string) bson.D {
		field = intent + "." + field
		return bson.D{{Key: "$cond", Value: bson.A{bson.D{{Key: "$isArray", Value: field}}, field, bson.A{}}}}
	}
	return bson.D{{Key: "$or", Value: bson.A{own,
		v1Any(bson.D{{Key: "$concatArrays", Value: bson.A{list("on_done"), list("on_dead")}}}, "f", v1BadTemplate("$$f", levels-1))}}}
}

// v1BadValue is true where a value, or one within it, has no form in JSON, or is nested too deep.
func v1BadValue(value string, levels int) bson.D {
	kind := bson.D{{Key: "$type", Value: value}}
	is := func(types ...any) bson.D { return bson.D{{Key: "$in", Value: bson.A{kind, bson.A(types)}}} }
	least, most := uuids()
	notUUID := bson.D{{Key: "$and", Value: bson.A{is("binData"), bson.D{{Key: "$or", Value: bson.A{
		bson.D{{Key: "$lt", Value: bson.A{value, least}}}, bson.D{{Key: "$gt", Value: bson.A{value, most}}}}}}}}}
	notFinite := bson.D{{Key: "$in", Value: bson.A{value, bson.A{math.NaN(), math.Inf(1), math.Inf(-1)}}}}
	bad := bson.A{is("decimal", "undefined", "regex", "dbPointer", "javascript", "symbol", "javascriptWithScope", "timestamp", "minKey", "maxKey"), notFinite, notUUID}
	if levels == 0 {
		return bson.D{{Key: "$or", Value: append(bad, is("object", "array"))}}
	}
	within := bson.D{{Key: "$switch", Value: bson.D{
		{Key: "branches", Value: bson.A{
			bson.D{{Key: "case", Value: is("array")}, {Key: "then", Value: value}},
			bson.D{{Key: "case", Value: is("object")}, {Key: "then", Value: bson.D{{Key: "$map", Value: bson.D{
				{Key: "input", Value: bson.D{{Key: "$objectToArray", Value: value}}}, {Key: "as", Value: "e"}, {Key: "in", Value: "$$e.v"}}}}}},
		}},
		{Key: "default", Value: bson.A{}},
	}}}
	return bson.D{{Key: "$or", Value: append(bad, v1Any(within, "v", v1BadValue("$$v", levels-1)))}}
}

// v1Any is true where a condition on the variable is true for any element of a list.
func v1Any(list any, variable string, condition bson.D) bson.D {
	return bson.D{{Key: "$anyElementTrue", Value: bson.A{bson.D{{Key: "$map", Value: bson.D{
		{Key: "input", Value: list}, {Key: "as", Value: variable}, {Key: "in", Value: condition}}}}}}}
}
