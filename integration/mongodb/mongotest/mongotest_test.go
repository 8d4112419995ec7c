package mongotest_test

import (
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
)

func TestMain(m *testing.M) { mongotest.Main(m) }

func TestDatabasesAreApartAndDropped(t *testing.T) {
	client := mongotest.Client(t)
	var names []string
	for range 2 {
		t.Run("a test's name/with ümläuts, $igns and more than 63 bytes, which no database may have", func(t *testing.T) {
			db := mongotest.Database(t)
			if len(db.Name()) > 63 || slices.Contains(names, db.Name()) {
				t.Errorf("name %q beside %q", db.Name(), names)
			}
			names = append(names, db.Name())
			if n, err := db.Collection("c").CountDocuments(t.Context(), bson.D{}); err != nil || n != 0 {
				t.Errorf("a new database has %d documents, %v", n, err)
			}
			if _, err := db.Collection("c").InsertOne(t.Context(), bson.D{{Key: "a", Value: 1}}); err != nil {
				t.Fatal(err)
			}
		})
	}
	left, err := client.ListDatabaseNames(t.Context(), bson.D{{Key: "name", Value: bson.D{{Key: "$in", Value: names}}}})
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestServerHasTransactionsAndChangeStreams(t *testing.T) {
	db := mongotest.Database(t)
	stream, err := db.Watch(t.Context(), mongo.Pipeline{})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close(t.Context())
	session, err := db.Client().StartSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.EndSession(t.Context())
	if err := session.StartTransaction(); err != nil {
		t.Fatal(err)
	}
	ctx := mongo.NewSessionContext(t.Context(), session)
	if _, err := db.Collection("c").InsertOne(ctx, bson.D{{Key: "_id", Value: 4711}}); err != nil {
		t.Fatal(err)
	}
	if err := session.CommitTransaction(ctx); err != nil {
		t.Fatal(err)
	}
	if !stream.Next(t.Context()) || !strings.Contains(stream.Current.String(), "4711") {
		t.Errorf("the stream gave %s, %v", stream.Current, stream.Err())
	}
}

func TestOneServerForAllTests(t *testing.T) {
	if a, b := mongotest.Server(t), mongotest.Server(t); a != b || mongotest.URI(t) != a.URI {
		t.Errorf("two servers: %q, %q", a.How, b.How)
	}
}
