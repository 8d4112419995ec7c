package migrations

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// VersionHashes returns, by number, the hash of everything that a version puts into a database.
func VersionHashes() (map[int]string, error) {
	hashes := map[int]string{}
	for _, v := range versions() {
		sum := sha256.New()
		for _, o := range v.objects(layoutOf(DefaultCollection), v.contract) {
			c, err := o.change(&live{})
			if err != nil {
				return nil, err
			}
			b, err := bson.Marshal(c.command)
			if err != nil {
				return nil, err
			}
			sum.Write(b)
		}
		hashes[v.number] = hex.EncodeToString(sum.Sum(nil))
	}
	return hashes, nil
}

// Hold takes the migration's lease for d at a time and holds it.
func Hold(ctx context.Context, meta *mongo.Collection, d time.Duration) (context.Context, func(), error) {
	l, err := acquire(ctx, meta, d)
	if err != nil {
		return nil, nil, err
	}
	held, release := l.hold(ctx)
	return held, release, nil
}

// Standalone reports whether a server that answers hello with the given document would be refused.
func Standalone(hello bson.D) (bool, error) {
	b, err := bson.Marshal(hello)
	if err != nil {
		return false, err
	}
	var h serverHello
	err = bson.Unmarshal(b, &h)
	return h.standalone(), err
}
