package store

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// readBack returns the intents that match, in the order of ids.
//
// It stops after the given number of bytes, 0 for none; then they are not whole.
func (s *Store) readBack(ctx context.Context, filter bson.D, ids []bson.RawValue, projection bson.D, most int) (_ []*outbox.Intent, whole bool, _ error) {
	o := options.Find().SetHint(expr.Fields("_id")).SetLimit(int64(len(ids))).SetBatchSize(int32(len(ids)))
	if projection != nil {
		o.SetProjection(projection)
	}
	cursor, err := s.intents.Find(ctx, filter, o)
	if err != nil {
		return nil, false, err
	}
	defer cursor.Close(context.WithoutCancel(ctx))
	place := make(map[string]int, len(ids))
	for i, id := range ids {
		place[keyOf(id)] = i
	}
	ordered, bytes := make([]*outbox.Intent, len(ids)), 0
	for (most == 0 || bytes < most) && cursor.Next(ctx) {
		bytes += len(cursor.Current)
		in, err := s.intent(cursor.Current)
		if err != nil {
			return nil, false, err
		}
		if i, ok := place[keyOf(cursor.Current.Lookup("_id"))]; ok {
			ordered[i] = in
		} else { // an _id that the index shows in another form
			ordered = append(ordered, in)
		}
	}
	if err := cursor.Err(); err != nil {
		return nil, false, err
	}
	intents := ordered[:0]
	for _, in := range ordered {
		if in != nil {
			intents = append(intents, in)
		}
	}
	return intents, most == 0 || bytes < most, nil
}

// mostClaimed bounds what one claim reads, in bytes, and one document more. Documents of 16 MiB are rare, but a lane
// full of them would take all of the memory that a worker has. What is not read is given back.
const mostClaimed = 16 << 20

// intent reads a claimed intent, which tells the database's time as well.
func (s *Store) intent(raw bson.Raw) (*outbox.Intent, error) {
	doc, err := decode(raw)
	if err != nil {
		return nil, err
	}
	in := outbox.Parse(doc, s.rules)
	in.Size = len(raw)
	if len(raw) > maxDocument-room {
		in.Problems = append(in.Problems, roomless)
	}
	if !in.Lease.At.IsZero() {
		s.clock.atLeast(in.Lease.At)
	}
	return in, nil
}

// rawOf returns a value as the driver writes it.
func rawOf(v any) (bson.RawValue, error) {
	t, value, err := bson.MarshalValue(v)
	return bson.RawValue{Type: t, Value: value}, err
}

// rawID returns an _id of the contract as the driver writes it.
func rawID(id outbox.ID) bson.RawValue {
	raw, err := rawOf(encode(id))
	if err != nil { // it is a string, an ObjectId or a UUID
		panic(err)
	}
	return raw
}
