package store

import (
	"maps"
	"math"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// idOf returns an intent's _id as the driver writes it, whatever type it has.
func idOf(in *outbox.Intent) any {
	if foreign, ok := in.Document["_id"].(foreignID); ok {
		return foreign.RawValue
	}
	return encode(in.ID)
}

// encode turns a value as outbox.Parse documents them into one that the driver writes with the type that a producer's
// driver would most likely have given it: small integers are int32. [outbox.Fields] keep their order; the fields of a
// map come in the order of their names.
func encode(v any) any {
	switch v := v.(type) {
	case outbox.ID:
		switch v.Type() {
		case outbox.ObjectID:
			return bson.ObjectID(v.Bytes())
		case outbox.UUIDBinary:
			return bson.Binary{Subtype: bson.TypeBinaryUUID, Data: v.Bytes()}
		default:
			return v.String()
		}
	case int64:
		if v >= math.MinInt32 && v <= math.MaxInt32 {
			return int32(v)
		}
		return v
	case time.Time:
		return bson.NewDateTimeFromTime(v)
	case map[string]any:
		return encodeDocument(v)
	case outbox.Fields:
		d := make(bson.D, len(v))
		for i, field := range v {
			d[i] = bson.E{Key: field.Name, Value: encode(field.Value)}
		}
		return d
	case []any:
		list := make(bson.A, len(v))
		for i, item := range v {
			list[i] = encode(item)
		}
		return list
	case outbox.Unsupported:
		if raw, ok := v.Value.(*bson.RawValue); ok {
			return *raw
		}
		return nil
	case foreignID:
		return v.RawValue
	default:
		return v
	}
}

func encodeDocument(doc map[string]any) bson.D {
	d := make(bson.D, 0, len(doc))
	for _, key := range slices.Sorted(maps.Keys(doc)) {
		d = append(d, bson.E{Key: key, Value: encode(doc[key])})
	}
	return d
}

// maxIDFields bounds the fields of a business document's _id whose order is tried out.
const maxIDFields = 4

// identity matches the business document with the given _id. A document as an _id is another one in another order of
// its fields, and many languages keep none, so all orders are tried: at most 24 seeks.
func identity(id any) bson.D {
	encoded := encode(id)
	doc, ok := encoded.(bson.D)
	if !ok || len(doc) < 2 || len(doc) > maxIDFields {
		return bson.D{{Key: "_id", Value: equal(encoded)}}
	}
	var orders bson.A
	permute(doc, 0, func(order bson.D) { orders = append(orders, slices.Clone(order)) })
	return bson.D{{Key: "_id", Value: expr.In(orders)}}
}

// permute calls do with all orders of the fields from the given one on. It restores the document.
func permute(doc bson.D, from int, do func(bson.D)) {
	if from == len(doc) {
		do(doc)
	}
	for i := from; i < len(doc); i++ {
		doc[from], doc[i] = doc[i], doc[from]
		permute(doc, from+1, do)
		doc[from], doc[i] = doc[i], doc[from]
	}
}
