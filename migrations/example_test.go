package migrations_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
)

// A migration may run again at any time: the second one finds nothing to do.
func ExampleMigrator_Up() {
	db, done := mongotest.ExampleDatabase("example_up")
	defer done()
	m := migrations.New(db, "")
	for range 2 {
		applied, err := m.Up(context.Background())
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("something was done:", len(applied) > 0)
	}
	// Output:
	// something was done: true
	// something was done: false
}

// The validator refuses a document that breaks the contract, and Reasons says why in words.
func ExampleReasons() {
	ctx := context.Background()
	db, done := mongotest.ExampleDatabase("example_reasons")
	defer done()
	if _, err := migrations.New(db, "").Up(ctx); err != nil {
		fmt.Println(err)
		return
	}
	_, err := db.Collection("outbox").InsertOne(ctx, bson.M{
		"kind": "sms", "status": "pending", "due_at": time.Now(),
		"payload": bson.M{"to": "0151 23456", "from": "+15005550006", "body": "Your order is in."},
	})
	for _, reason := range migrations.Reasons(err) {
		text, _, _ := strings.Cut(reason.Text, ":")
		fmt.Println(reason.Path+":", text)
	}
	// Output: payload.to: to must be a phone number in E.164
}

// The contract as JSON Schema, for producers in other languages.
func ExampleJSONSchema() {
	schema, err := migrations.JSONSchema(migrations.SchemaOptions{Kind: "sms"})
	fmt.Println(len(schema) > 0, err)
	// Output: true <nil>
}
