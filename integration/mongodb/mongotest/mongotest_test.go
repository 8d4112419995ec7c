package mongotest_test

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
)

func TestMain(m *testing.M) { mongotest.Main(m) }

func TestDatabaseIsEmptyAndWritable(t *testing.T) {
	db := mongotest.Database(t)
	if _, err := db.Collection("c").InsertOne(t.Context(), bson.D{{Key: "a", Value: 1}}); err != nil {
		t.Fatal(err)
	}
	t.Log(mongotest.Server(t).How, mongotest.Server(t).Version, db.Name())
}
