package migrations_test

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
)

func TestMain(m *testing.M) { mongotest.Main(m) }

// migrated returns a database of its own with the schema of this version.
func migrated(t *testing.T) *mongo.Database {
	t.Helper()
	db := mongotest.Database(t)
	if _, err := migrations.New(db, "").Register("fax").Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}
