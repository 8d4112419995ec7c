package store

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Parts that tests outside the package need to write and read documents as the store does.
var (
	Encode = encodeDocument
	Decode = decode
)

// Orphan has the store remember a claim of one intent, as it does when nobody was told whether it was made.
func (s *Store) Orphan(id any, token string, lease time.Duration) error {
	t, value, err := bson.MarshalValue(id)
	s.orphans.add([]bson.RawValue{{Type: t, Value: value}}, token, lease)
	return err
}
