package store_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

func TestConnect(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	uri := mongotest.URI(t)
	s, err := store.Connect(t.Context(), store.Options{URI: uri, Database: h.db.Name()})
	if err != nil {
		t.Fatalf("Connect: %v", err)
	}
	if s.Database().Name() != h.db.Name() || s.Ready(t.Context()) != nil {
		t.Errorf("connected to %s, ready: %v", s.Database().Name(), s.Ready(t.Context()))
	}
	if off := time.Since(s.Now()); off.Abs() > 5*time.Second {
		t.Errorf("Now is %v off", off)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := s.Claim(t.Context(), outbox.ClaimOrder{Kind: "sms", Limit: 1, Lease: time.Minute}); err == nil {
		t.Error("a closed store claims")
	}
	if err := h.store.Close(t.Context()); err != nil || h.store.Ready(t.Context()) != nil {
		t.Errorf("Close of a store made by New ended its client: %v", err)
	}
	const secret = "hunter2"
	for _, bad := range []string{"mongodb://user:" + secret + "@[", "http://" + secret, "mongodb://a:" + secret + "@host.invalid/?connectTimeoutMS=100", ""} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // one of them names a host that does not exist
		_, err := store.Connect(ctx, store.Options{URI: bad, Selection: 100 * time.Millisecond})
		cancel()
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("Connect to a bad URI: %v", err)
		}
	}
}

// A server that is not there is waited for until the context ends.
func TestConnectGivesUp(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	uri := "mongodb://" + l.Addr().String() + "/?directConnection=true"
	l.Close() // nobody listens there now
	patience := errors.New("out of patience")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, patience)
	defer cancel()
	if _, err := store.Connect(ctx, store.Options{URI: uri, Selection: 100 * time.Millisecond}); err == nil || !strings.Contains(err.Error(), patience.Error()) {
		t.Errorf("Connect: %v", err)
	}
}

// The database's name is the option's, else the connection string's, else "outbox".
func TestConnectDatabase(t *testing.T) {
	t.Parallel()
	uri := mongotest.URI(t)
	base, query, _ := strings.Cut(uri, "?")
	base = base[:strings.LastIndex(base, "/")]
	for _, c := range []struct{ path, option, want string }{{"/", "", "outbox"}, {"/mine", "", "mine"}, {"/mine", "yours", "yours"}} {
		s, err := store.Connect(t.Context(), store.Options{URI: base + c.path + "?" + query, Database: c.option})
		if err != nil {
			t.Errorf("Connect: %v", err)
			continue
		}
		if got := s.Database().Name(); got != c.want {
			t.Errorf("path %s and option %q: database %s, want %s", c.path, c.option, got, c.want)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestReadyWithoutPrimary(t *testing.T) {
	h := newHarness(t)
	h.fail(4, []string{"hello"}, bson.E{Key: "errorCode", Value: 189})
	defer h.disarm()
	if err := h.store.Ready(t.Context()); err == nil {
		t.Error("ready without a primary")
	}
}
