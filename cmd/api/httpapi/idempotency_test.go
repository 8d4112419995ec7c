package httpapi_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/api/payments"
)

func TestIdempotencyKey(t *testing.T) {
	a := start(t)
	first := a.post(good, "Idempotency-Key", "order 1")
	a.set(first.body.ID, bson.D{{Key: "state", Value: "paid"}})
	again := a.post(good, "Idempotency-Key", "order 1")
	if first.status != 202 || again.status != 202 || first.text != again.text || first.header.Get("Location") != again.header.Get("Location") {
		t.Errorf("first %d %s, again %d %s", first.status, first.text, again.status, again.text)
	}
	if again.header.Get("Idempotent-Replayed") != "true" || first.header.Get("Idempotent-Replayed") != "" {
		t.Error("only the second answer must be marked as replayed")
	}
	// The IETF's draft writes the key as a quoted string.
	if quoted := a.post(good, "Idempotency-Key", `"order 1"`); quoted.text != first.text {
		t.Errorf("the key in quotes: %d %s", quoted.status, quoted.text)
	}
	// Another spelling of the same order is the same order.
	spelled := strings.NewReplacer(`"amount":1999`, `"amount": 1.999e3`, `Two`, `\u0054wo`).Replace(good)
	if same := a.post(spelled, "Idempotency-Key", "order 1"); same.text != first.text {
		t.Errorf("the order in another spelling: %d %s", same.status, same.text)
	}
	for _, change := range [][2]string{{"1999", "2999"}, {"Two books", "Two  books"}, {`,"phone":"+4915112345678"`, ""}, {"ada@", "bob@"}} {
		other := a.post(strings.Replace(good, change[0], change[1], 1), "Idempotency-Key", "order 1")
		if other.status != 422 || other.body.Error.Code != payments.CodeIdempotencyKeyReused {
			t.Errorf("another order under the key: %d %s", other.status, other.text)
		}
	}
	if a.post(good, "Idempotency-Key", "order 2").body.ID == first.body.ID || a.post(good).body.ID == first.body.ID {
		t.Error("a request with another key, or none, got the first one's payment")
	}
	if list, intents := a.written(); len(list) != 3 || len(intents) != 3 {
		t.Errorf("%d payments and %d intents, want 3 of each", len(list), len(intents))
	}
}

// Twelve at once under one key: each is told the payment or that it is under way, and one payment comes of it.
func TestOneKeyAtOnce(t *testing.T) {
	a := start(t)
	const clients = 12
	ids := make([]string, clients)
	var originals, replayed int
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for ids[i] == "" && !t.Failed() {
				ans, err := a.try(http.MethodPost, "/payments", good, "Idempotency-Key", "once")
				switch {
				case err != nil:
					t.Errorf("client %d: %v", i, err)
				case ans.status == http.StatusConflict && ans.header.Get("Retry-After") != "":
				case ans.status == http.StatusAccepted:
					ids[i] = ans.body.ID
					mu.Lock()
					if ans.header.Get("Idempotent-Replayed") == "" {
						originals++
					} else {
						replayed++
					}
					mu.Unlock()
				default:
					t.Errorf("client %d: %d %s", i, ans.status, ans.text)
				}
			}
		})
	}
	all.Wait()
	for i, id := range ids {
		if id != ids[0] {
			t.Errorf("client %d got the payment %s, client 0 %s", i, id, ids[0])
		}
	}
	if originals != 1 || replayed != clients-1 {
		t.Errorf("%d answers say that they are the first, %d that they are replayed", originals, replayed)
	}
	if list, intents := a.written(); len(list) != 1 || len(intents) != 1 {
		t.Errorf("%d payments and %d intents, want one of each", len(list), len(intents))
	}
}

// While a transaction under the key is open, a second request is told so at once. Once it is aborted, the key is free.
func TestInFlight(t *testing.T) {
	a := start(t)
	session, err := a.db.Client().StartSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.EndSession(context.Background())
	if err := session.StartTransaction(); err != nil {
		t.Fatal(err)
	}
	ctx := mongoSession(t, session)
	if _, err := a.db.Collection(payments.Collection).InsertOne(ctx, bson.D{{Key: "_id", Value: "other"}, {Key: "idempotency_key", Value: "k"}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		ans := a.post(good, "Idempotency-Key", "k")
		if ans.status != http.StatusConflict || ans.header.Get("Retry-After") != "1" || ans.body.Detail == "" {
			t.Errorf("while it is under way: %d %s", ans.status, ans.text)
		}
	}
	if ans := a.post(good, "Idempotency-Key", "another"); ans.status != http.StatusAccepted {
		t.Errorf("under another key: %d %s", ans.status, ans.text)
	}
	if err := session.AbortTransaction(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ans := a.post(good, "Idempotency-Key", "k"); ans.status != http.StatusAccepted || ans.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("after it was given up: %d %s", ans.status, ans.text)
	}
}
