package httpapi_test

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
	if ans.status != http.StatusAccepted || ans.body.State != "pending" || ans.body.Msg == "" || ans.header.Get("Retry-After") == "" {
		t.Fatalf("POST /payments: %d %s", ans.status, ans.text)
	}
	if got, want := ans.header.Get("Location"), "/payments/"+ans.body.ID; got != want {
		t.Errorf("Location is %q, want %q", got, want)
	}
	if len(ans.body.Messages) > 0 || ans.body.Amount != 0 {
		t.Errorf("a first answer says more than id, state and msg: %s", ans.text)
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
