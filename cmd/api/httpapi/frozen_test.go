package httpapi_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/cmd/api/httpapi"
	"github.com/outboxd/outboxd/cmd/api/payments"
	"github.com/outboxd/outboxd/integration/mongodb"
	"github.com/outboxd/outboxd/migrations"
)

// own is a MongoDB that a test may freeze, with a migrated database, and a client as the program has it.
func own(t *testing.T, monitor *event.CommandMonitor) (*mongodb.Member, *mongo.Database) {
	t.Helper()
	set, err := mongodb.StartReplicaSet(t.Context(), 1, mongodb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
	member, err := set.Primary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client, err := mongo.Connect(options.Client().ApplyURI(set.URI()).SetTimeout(payments.ClientTimeout).SetConnectTimeout(payments.ClientTimeout).
		SetHeartbeatInterval(payments.ClientTimeout).SetMonitor(monitor))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Disconnect(context.Background()); err != nil {
			t.Error(err)
		}
	})
	db := client.Database("frozen")
	if _, err := migrations.New(db, "").Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return member, db
}

// A MongoDB that freezes in the middle of a transaction: whether it was committed is not known, and the answer comes
// within 5 s. Repeating the order under its key tells, and it was taken once.
func TestMongoDBFreezesWithinATransaction(t *testing.T) {
	for _, command := range []string{"insert", "commitTransaction"} {
		t.Run(command, func(t *testing.T) {
			var frozen atomic.Pointer[mongodb.Member]
			var armed atomic.Bool
			freeze := &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
				coll, isInsert := e.Command.Lookup("insert").StringValueOK()
				if e.CommandName == command && (!isInsert || coll == "outbox") && armed.CompareAndSwap(true, false) {
					if err := frozen.Load().Pause(); err != nil {
						t.Error(err)
					}
				}
			}}
			member, db := own(t, freeze)
			frozen.Store(member)
			a := serve(t, db, httpapi.Config{})
			armed.Store(true)
			began := time.Now()
			ans := a.post(good, "Idempotency-Key", "frozen")
			if took := time.Since(began); ans.status != http.StatusServiceUnavailable || took > 5*time.Second {
				t.Errorf("%d %s after %v", ans.status, ans.text, took)
			}
			if err := member.Resume(); err != nil {
				t.Fatal(err)
			}
			a.retried(5 * time.Second)
			if list, intents := a.written(); len(list) != 1 || len(intents) != 1 {
				t.Errorf("%d payments and %d intents, want one of each", len(list), len(intents))
			}
		})
	}
}

// retried repeats the order until it is taken.
func (a *api) retried(within time.Duration) {
	a.t.Helper()
	began := time.Now()
	for {
		ans := a.do("POST", "/payments", good, "Idempotency-Key", "frozen")
		if ans.status == http.StatusAccepted {
			a.t.Logf("served again %v after it thawed", time.Since(began))
			return
		}
		if time.Since(began) > within {
			a.t.Fatalf("%v after it thawed: %d %s", time.Since(began), ans.status, ans.text)
		}
	}
}

// A MongoDB that answers nothing any more: every request is answered within 5 s all the same, those beyond the bound at
// once. When it thaws, the next request is served, and an order that nobody knew about was taken once.
func TestMongoDBFrozen(t *testing.T) {
	member, db := own(t, nil)
	a := serve(t, db, httpapi.Config{Limits: httpapi.Limits{Rate: 1e6, Burst: 1e6, Working: 20}})
	id := a.order()
	if err := member.Pause(); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	statuses := make(map[int]int)
	for i := range 60 {
		all.Go(func() {
			method, path, body := "GET", "/payments/"+id, ""
			switch i % 3 {
			case 1:
				method, path, body = "POST", "/payments", good
			case 2:
				path += "?wait=1s"
			}
			began := time.Now()
			ans, err := a.try(method, path, body, "Idempotency-Key", "frozen")
			if took := time.Since(began); err != nil || ans.status != http.StatusServiceUnavailable || ans.header.Get("Retry-After") == "" || took > 5*time.Second {
				t.Errorf("%s %s: %d %s after %v, error %v", method, path, ans.status, ans.text, took, err)
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[ans.status]++
		})
	}
	all.Wait()
	if err := member.Resume(); err != nil {
		t.Fatal(err)
	}
	a.retried(5 * time.Second)
	if list, intents := a.written(); len(list) != 2 || len(intents) != 2 {
		t.Errorf("%d payments and %d intents, want two of each", len(list), len(intents))
	}
}
