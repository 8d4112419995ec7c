package store

import (
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
)

// ParseInsert reads a document that a producer means to insert, exactly as a worker would read it, without a database.
// A document without an _id gets an ObjectId, as a driver gives it one.
func ParseInsert(raw bson.Raw, rules outbox.Rules) (*outbox.Intent, error) {
	if _, err := raw.LookupErr("_id"); err != nil {
		var d bson.D
		if err := bson.Unmarshal(raw, &d); err != nil {
			return nil, fmt.Errorf("read a document without _id: %w", err)
		}
		if raw, err = bson.Marshal(append(bson.D{{Key: "_id", Value: bson.NewObjectID()}}, d...)); err != nil {
			return nil, fmt.Errorf("give a document an _id: %w", err)
		}
	}
	doc, err := decode(raw)
	if err != nil {
		return nil, err
	}
	return outbox.ParseInsert(doc, rules), nil
}
