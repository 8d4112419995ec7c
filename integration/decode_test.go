package integration

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
)

// document gives a document the values that outbox.Parse documents.
func document(data bson.Raw) map[string]any {
	elements, err := data.Elements()
	if err != nil {
		panic(err) // bson.Marshal has just written it
	}
	doc := make(map[string]any, len(elements))
	for _, e := range elements {
		doc[e.Key()] = value(e.Value())
	}
	return doc
}

func value(v bson.RawValue) any {
	switch v.Type {
	case bson.TypeString:
		return v.StringValue()
	case bson.TypeBoolean:
		return v.Boolean()
	case bson.TypeInt32:
		return int64(v.Int32())
	case bson.TypeInt64:
		return v.Int64()
	case bson.TypeDouble:
		return v.Double()
	case bson.TypeDateTime:
		return time.UnixMilli(v.DateTime())
	case bson.TypeNull:
		return nil
	case bson.TypeObjectID:
		return outbox.NewObjectID(v.ObjectID())
	case bson.TypeBinary:
		if subtype, data := v.Binary(); subtype == bson.TypeBinaryUUID && len(data) == 16 {
			return outbox.NewUUID([16]byte(data))
		}
	case bson.TypeArray:
		values, err := v.Array().Values()
		if err != nil {
			panic(err)
		}
		list := make([]any, len(values))
		for i, item := range values {
			list[i] = value(item)
		}
		return list
	case bson.TypeEmbeddedDocument:
		return document(v.Document())
	}
	return outbox.Unsupported{Type: v.Type.String()}
}
