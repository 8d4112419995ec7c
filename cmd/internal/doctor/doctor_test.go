package doctor_test

import (
	"context"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/cmd/internal/doctor"
	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/store"
)

func TestMain(m *testing.M) { mongotest.Main(m) }

// On a busy server each wait for a majority's journal is long, whatever the write itself does.
func TestOnlyOneCheckWaitsForAMajority(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	waits, writes := 0, 0
	monitor := &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		mu.Lock()
		defer mu.Unlock()
		switch e.CommandName {
		case "update", "insert", "delete", "abortTransaction", "commitTransaction":
			writes++
			_, within := e.Command.Lookup("autocommit").BooleanOK()
			w, has := e.Command.Lookup("writeConcern", "w").AsInt64OK()
			if within && e.CommandName == "insert" { // a transaction waits at its end
				return
			}
			if !has || w != 1 {
				waits++
			}
		}
	}}
	db := mongotest.Database(t, options.Client().SetMonitor(monitor))
	schema := migrations.New(db, "")
	if _, err := schema.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	waits, writes = 0, 0
	mu.Unlock()
	patient := doctor.Patient{Store: store.New(db, "", store.Options{}), Schema: schema, Collection: migrations.DefaultCollection}
	well, err := doctor.Examine(t.Context(), patient, func(f doctor.Finding) error {
		if !f.OK {
			t.Errorf("%s: %s", f.Check, f.Detail)
		}
		return nil
	})
	if err != nil || !well {
		t.Errorf("Examine: %t, %v", well, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if waits != 1 || writes < 9 {
		t.Errorf("%d of %d writes waited for a majority, want one", waits, writes)
	}
}
