package demo

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/integration/mongodb"
	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
)

func TestMain(m *testing.M) { mongotest.Main(m) }

// A developer may insert nothing for as long as they like: the operations of the stage have a timeout, and waiting for
// an event has none.
func TestNothingHappensForLong(t *testing.T) {
	db := mongotest.Database(t)
	if _, err := migrations.New(db, collection).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &stage{server: &mongodb.Server{URI: mongotest.URI(t)}}
	t.Cleanup(func() {
		if err := s.clear(); err != nil {
			t.Error(err)
		}
	})
	const timeout = 500 * time.Millisecond
	client, err := s.connect(t.Context(), timeout)
	if err != nil {
		t.Fatal(err)
	}
	s.db = client.Database(db.Name())
	stream, err := s.follow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	watching, end := context.WithCancel(t.Context()) // with a deadline the driver would take that instead
	defer time.AfterFunc(4*timeout, end).Stop()
	if err := tell(watching, stream, newTeller(io.Discard, term.Style{})); err != nil || watching.Err() == nil {
		t.Errorf("it ended with %v, want nothing before the watching ends", err)
	}
}
