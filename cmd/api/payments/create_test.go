package payments_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/cmd/api/payments"
)

func TestPaymentAndIntentAreWrittenTogether(t *testing.T) {
	a := start(t)
	ans := a.post(good, "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Tracestate", "vendor=1")
	if ans.status != http.StatusAccepted || ans.body.State != "pending" || ans.body.Amount != 1999 {
		t.Fatalf("POST /payments: %d %s", ans.status, ans.text)
	}
	if got, want := ans.header.Get("Location"), "/payments/"+ans.body.ID; got != want {
		t.Errorf("Location is %q, want %q", got, want)
	}
	if ans.header.Get("Idempotent-Replayed") != "" {
		t.Error("a first answer is marked as replayed")
	}
	list, intents := a.written()
	if len(list) != 1 || len(intents) != 1 {
		t.Fatalf("%d payments and %d intents, want one of each", len(list), len(intents))
	}
	if list[0].ID != ans.body.ID || list[0].State != payments.StatePending {
		t.Errorf("the payment is %+v", list[0])
	}
	got, err := bson.MarshalExtJSON(intents[0], false, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"charge:` + ans.body.ID, `"payment_method":"pm_card_visa"`, `"traceparent":"00-0af7`,
		`"collection":"payments"`, `"to":"ada@example.org"`, `"to":"+4915112345678"`, `19.99 EUR`} {
		if !strings.Contains(string(got), want) {
			t.Errorf("the intent lacks %s: %s", want, got)
		}
	}

	seen := a.do(http.MethodGet, ans.header.Get("Location"), "")
	if seen.status != http.StatusOK || seen.body.ID != ans.body.ID || seen.body.State != "pending" {
		t.Errorf("GET: %d %s", seen.status, seen.text)
	}
	if strings.Contains(seen.text, "ada@") || strings.Contains(seen.text, "+49") || strings.Contains(seen.text, "pm_") {
		t.Errorf("GET shows the customer's data: %s", seen.text)
	}
}

// Both inserts belong to one transaction, whose commit is on the journals of a majority.
func TestOneTransaction(t *testing.T) {
	var mu sync.Mutex
	transactions := make(map[string]string) // collection: its insert's session and transaction
	concern := ""
	a := start(t, options.Client().SetMonitor(&event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		mu.Lock()
		defer mu.Unlock()
		switch e.CommandName {
		case "insert":
			transactions[e.Command.Lookup("insert").StringValue()] = fmt.Sprint(e.Command.Lookup("autocommit"), e.Command.Lookup("lsid"), e.Command.Lookup("txnNumber"))
		case "commitTransaction":
			concern = e.Command.Lookup("writeConcern").String()
		}
	}}))
	if ans := a.post(good); ans.status != http.StatusAccepted {
		t.Fatalf("POST: %d %s", ans.status, ans.text)
	}
	mu.Lock()
	defer mu.Unlock()
	if p, i := transactions[payments.Collection], transactions["outbox"]; p != i || !strings.HasPrefix(p, "false") {
		t.Errorf("the payment's insert is of the transaction %s, the intent's of %s", p, i)
	}
	if !strings.Contains(concern, `"majority"`) || !strings.Contains(concern, `"j": true`) {
		t.Errorf("the commit asks for %s", concern)
	}
}

// What the worker writes back is what GET shows.
func TestStatesAreShown(t *testing.T) {
	a := start(t)
	for _, c := range []struct {
		set  bson.D
		want string
	}{
		{bson.D{{Key: "state", Value: "paid"}, {Key: "receipt", Value: bson.D{{Key: "provider", Value: "stripe"}, {Key: "id", Value: "pi_1"}}}},
			`"state":"paid"`},
		{bson.D{{Key: "state", Value: "failed"}, {Key: "failure", Value: bson.D{{Key: "reason", Value: "permanent"}, {Key: "code", Value: "declined"}}}},
			`"failure":{"reason":"permanent","code":"declined"}`},
	} {
		path := a.post(good).header.Get("Location")
		id := strings.TrimPrefix(path, "/payments/")
		if _, err := a.db.Collection(payments.Collection).UpdateByID(t.Context(), id, bson.D{{Key: "$set", Value: c.set}}); err != nil {
			t.Fatal(err)
		}
		if got := a.do(http.MethodGet, path, ""); !strings.Contains(got.text, c.want) {
			t.Errorf("GET shows %s, want %s in it", got.text, c.want)
		}
	}
}

// An intent that the database refuses takes the payment with it, and nobody outside learns why.
func TestNeitherIsWrittenWhenTheIntentIsRefused(t *testing.T) {
	a := start(t)
	refuse := bson.D{{Key: "collMod", Value: "outbox"}, {Key: "validator", Value: bson.D{{Key: "never", Value: true}}}}
	if err := a.db.RunCommand(t.Context(), refuse).Err(); err != nil {
		t.Fatal(err)
	}
	ans := a.post(good, "Idempotency-Key", "k")
	if ans.status != http.StatusInternalServerError || ans.body.Status != 500 || ans.body.Detail == "" {
		t.Errorf("POST: %d %s", ans.status, ans.text)
	}
	if list, intents := a.written(); len(list)+len(intents) != 0 {
		t.Errorf("%d payments and %d intents were written", len(list), len(intents))
	}
	if !strings.Contains(a.log.String(), "121") {
		t.Errorf("the log does not name MongoDB's code: %s", a.log.String())
	}
}

func TestIdempotencyKey(t *testing.T) {
	a := start(t)
	first := a.post(good, "Idempotency-Key", "order 1")
	again := a.post(good, "Idempotency-Key", "order 1")
	if first.status != 202 || again.status != 202 || first.body.ID != again.body.ID || first.header.Get("Location") != again.header.Get("Location") {
		t.Errorf("first %d %s, again %d %s", first.status, first.text, again.status, again.text)
	}
	if again.header.Get("Idempotent-Replayed") != "true" || first.header.Get("Idempotent-Replayed") != "" {
		t.Error("only the second answer must be marked as replayed")
	}
	other := a.post(strings.Replace(good, "1999", "2999", 1), "Idempotency-Key", "order 1")
	if other.status != 422 || other.body.Error.Code != payments.CodeIdempotencyKeyReused {
		t.Errorf("another order under the key: %d %s", other.status, other.text)
	}
	if a.post(good, "Idempotency-Key", "order 2").body.ID == first.body.ID || a.post(good).body.ID == first.body.ID {
		t.Error("a request with another key, or none, got the first one's payment")
	}
	if list, intents := a.written(); len(list) != 3 || len(intents) != 3 {
		t.Errorf("%d payments and %d intents, want 3 of each", len(list), len(intents))
	}
}

func TestOneKeyAtOnce(t *testing.T) {
	a := start(t)
	const clients = 12
	answers := make([]answer, clients)
	errs := make([]error, clients)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() { answers[i], errs[i] = a.try(http.MethodPost, "/payments", good, "Idempotency-Key", "once") })
	}
	all.Wait()
	originals := 0
	for i, ans := range answers {
		if errs[i] != nil || ans.status != http.StatusAccepted || ans.body.ID != answers[0].body.ID {
			t.Errorf("client %d: %d %s, error %v", i, ans.status, ans.text, errs[i])
		}
		if ans.header.Get("Idempotent-Replayed") == "" {
			originals++
		}
	}
	if originals != 1 {
		t.Errorf("%d answers say that they are the first, want 1", originals)
	}
	if list, intents := a.written(); len(list) != 1 || len(intents) != 1 {
		t.Errorf("%d payments and %d intents, want one of each", len(list), len(intents))
	}
}

// A transaction that meets a conflict, and one whose commit is not answered, are repeated and still write once.
func TestRepeatedTransactionWritesOnce(t *testing.T) {
	for name, data := range map[string]bson.D{
		"write conflict": {{Key: "failCommands", Value: bson.A{"insert"}}, {Key: "errorCode", Value: 112},
			{Key: "errorLabels", Value: bson.A{"TransientTransactionError"}}},
		"commit without answer": {{Key: "failCommands", Value: bson.A{"commitTransaction"}}, {Key: "closeConnection", Value: true}},
	} {
		t.Run(name, func(t *testing.T) {
			const app = "payments under test"
			a := start(t, options.Client().SetAppName(app))
			failOnce(t, a.db.Client(), append(data, bson.E{Key: "appName", Value: app}))
			if ans := a.post(good); ans.status != http.StatusAccepted {
				t.Errorf("POST: %d %s", ans.status, ans.text)
			}
			if list, intents := a.written(); len(list) != 1 || len(intents) != 1 {
				t.Errorf("%d payments and %d intents, want one of each", len(list), len(intents))
			}
		})
	}
}

// failOnce arms the server's fail point for one command of the client under test.
func failOnce(t *testing.T, client *mongo.Client, data bson.D) {
	t.Helper()
	command := bson.D{{Key: "configureFailPoint", Value: "failCommand"}, {Key: "mode", Value: bson.D{{Key: "times", Value: 1}}}, {Key: "data", Value: data}}
	if err := client.Database("admin").RunCommand(t.Context(), command).Err(); err != nil {
		t.Fatalf("arm a fail point (the test server must run with --setParameter enableTestCommands=1): %v", err)
	}
	t.Cleanup(func() {
		off := bson.D{{Key: "configureFailPoint", Value: "failCommand"}, {Key: "mode", Value: "off"}}
		if err := client.Database("admin").RunCommand(t.Context(), off).Err(); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
}

// What a customer writes is never read as a reference into the intent.
func TestCustomersTextIsNoReference(t *testing.T) {
	a := start(t)
	body := strings.NewReplacer("Two books", "${payload.customer}", "ada@example.org", "${_id}@example.org").Replace(good)
	if ans := a.post(body); ans.status != http.StatusAccepted {
		t.Fatalf("POST: %d %s", ans.status, ans.text)
	}
	_, intents := a.written()
	got, err := bson.MarshalExtJSON(intents[0], false, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"to":"$${_id}@example.org"`, ` for ${payload.description}`, `"description":"${payload.customer}"`} {
		if !strings.Contains(string(got), want) {
			t.Errorf("the intent lacks %s: %s", want, got)
		}
	}
}
