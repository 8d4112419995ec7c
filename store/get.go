package store

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/store/internal/expr"
)

// Get returns the intent whose _id a person means by the text: the hex of an ObjectId, a UUID, a string, or any _id as
// Extended JSON ({"$oid": …}, {"$uuid": …}, a string in quotation marks, a number).
//
// It fails with [ErrNotFound] if there is none. It also fails if several intents have that text as _ids of different
// types; the error then says how to name each of them.
func (s *Store) Get(ctx context.Context, id string) (bson.Raw, error) {
	doing := fmt.Sprintf("get intent %q", id)
	found, err := s.findByID(ctx, meant(id))
	switch {
	case err != nil:
		return nil, failed(err, "%s", doing)
	case len(found) == 0:
		return nil, fmt.Errorf("%s: %w", doing, ErrNotFound)
	case len(found) > 1:
		names := make([]string, len(found))
		for i, raw := range found {
			names[i] = "'" + typedID(raw.Lookup("_id")) + "'"
		}
		return nil, fmt.Errorf("%s: %d intents have that text, as _ids of different types; name the one you mean with its type: %s", doing, len(found), strings.Join(names, " or "))
	}
	return found[0], nil
}

// GetExactly returns the intent with the _id, or [ErrNotFound].
func (s *Store) GetExactly(ctx context.Context, id bson.RawValue) (bson.Raw, error) {
	doing := fmt.Sprintf("get intent %s", id)
	found, err := s.findByID(ctx, bson.A{id})
	if err != nil {
		return nil, failed(err, "%s", doing)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: %w", doing, ErrNotFound)
	}
	return found[0], nil
}

func (s *Store) findByID(ctx context.Context, ids bson.A) (found []bson.Raw, err error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	cursor, err := s.intents.Find(ctx, bson.D{{Key: "_id", Value: expr.In(ids)}}, options.Find().SetHint(expr.Fields("_id")))
	if err != nil {
		return nil, err
	}
	err = cursor.All(ctx, &found)
	return found, err
}

// meant returns every _id that a person can mean by the text.
func meant(text string) bson.A {
	ids := bson.A{text}
	if oid, err := bson.ObjectIDFromHex(text); err == nil {
		ids = append(ids, oid)
	}
	if uuid, err := hex.DecodeString(strings.ReplaceAll(text, "-", "")); err == nil && len(uuid) == 16 && len(text) == 36 {
		ids = append(ids, bson.Binary{Subtype: bson.TypeBinaryUUID, Data: uuid})
	}
	var typed struct {
		ID bson.RawValue `bson:"_id"`
	}
	if bson.UnmarshalExtJSON([]byte(`{"_id": `+text+`}`), false, &typed) == nil && typed.ID.Type != bson.TypeRegex && !operator(typed.ID) {
		ids = append(ids, typed.ID)
	}
	return ids
}

// operator reports whether a value is a document that no _id can be: the server would take it for an operator.
func operator(v bson.RawValue) bool {
	doc, ok := v.DocumentOK()
	if !ok {
		return false
	}
	first, err := doc.IndexErr(0)
	return err == nil && strings.HasPrefix(first.Key(), "$")
}

// typedID writes an _id so that it can only mean itself: as Extended JSON. Get takes it.
func typedID(id bson.RawValue) string {
	if subtype, data, ok := id.BinaryOK(); ok && subtype == bson.TypeBinaryUUID && len(data) == 16 {
		return fmt.Sprintf(`{"$uuid":"%x-%x-%x-%x-%x"}`, data[:4], data[4:6], data[6:8], data[8:10], data[10:])
	}
	return id.String()
}
