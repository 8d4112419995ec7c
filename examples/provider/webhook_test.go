package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

func TestMain(m *testing.M) { mongotest.Main(m) }

// system is the other system: it answers as it is told, in turn, and remembers the keys of what it was sent.
type system struct {
	mu      sync.Mutex
	answers []answer
	keys    []string
}

type answer struct {
	status int
	body   string
}

func (s *system) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, r.Header.Get("Idempotency-Key"))
	a := s.answers[min(len(s.keys), len(s.answers))-1]
	w.WriteHeader(a.status)
	_, _ = w.Write([]byte(a.body))
}

func serveSystem(t *testing.T, answers ...answer) (*system, string) {
	t.Helper()
	s := &system{answers: answers}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL
}

func TestWhatAnswersMean(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		answer
		class outbox.Class
		code  string
	}{
		"taken":               {answer{200, `{"id":"ev_1"}`}, outbox.Done, ""},
		"without an id":       {answer{200, `{}`}, outbox.Ambiguous, outbox.CodeBadAnswer},
		"refused":             {answer{422, `{"error":"unknown order"}`}, outbox.Permanent, outbox.CodeRejected},
		"refused by a proxy":  {answer{403, `<html>`}, outbox.Hold, outbox.CodeNotTheProvider},
		"wrong credentials":   {answer{401, `{"error":"who are you?"}`}, outbox.Hold, outbox.CodeUnauthorized},
		"too many":            {answer{429, `{"error":"slow down"}`}, outbox.RateLimited, outbox.CodeRateLimited},
		"broken":              {answer{500, `{"error":"oops"}`}, outbox.Ambiguous, outbox.CodeServerError},
		"somewhere else":      {answer{302, ``}, outbox.Ambiguous, outbox.CodeRedirected},
		"a conflict of sorts": {answer{409, `{"error":"busy"}`}, outbox.Ambiguous, outbox.CodeServerError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, url := serveSystem(t, row.answer)
			check(t, url, map[string]any{"event": "paid", "order": "1"}, row.class, row.code)
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		check(t, "http://127.0.0.1:1", map[string]any{"event": "paid", "order": "1"}, outbox.Transient, outbox.CodeNotSent)
	})
	t.Run("a payload of another form", func(t *testing.T) {
		t.Parallel()
		check(t, "http://127.0.0.1:1", map[string]any{"event": 1}, outbox.Permanent, outbox.CodeRejected)
	})
}

func check(t *testing.T, url string, payload map[string]any, class outbox.Class, code string) {
	t.Helper()
	transport := providers.NewTransport(providers.TransportConfig{})
	defer transport.CloseIdleConnections()
	p := &webhook{url: url, client: transport.Client()}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	receipt, err := p.Deliver(ctx, &outbox.Intent{Kind: kind, Payload: payload}, nil)
	if class == outbox.Done {
		if err != nil || receipt.ID != "ev_1" {
			t.Errorf("got %+v, %v, want the receipt ev_1", receipt, err)
		}
		return
	}
	if f, ok := errors.AsType[*outbox.Failure](err); !ok || f.Class != class || f.Code != code {
		t.Errorf("got %v, want %s of class %s", err, code, class)
	}
}

// The whole program on a real MongoDB: an event whose first answer tells nothing is sent again under the same key.
func TestWorker(t *testing.T) {
	s, url := serveSystem(t, answer{500, `{"error":"oops"}`}, answer{200, `{"id":"ev_1"}`})
	db := mongotest.Database(t)
	if _, err := migrations.New(db, "").Register("webhook").Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	for variable, value := range map[string]string{"OUTBOXD_MONGODB_URI": mongotest.URI(t), "OUTBOXD_DATABASE": db.Name(), "WEBHOOK_URL": url} {
		t.Setenv(variable, value)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }() // waited for below
	intent := insertAndAwait(t, db.Collection(migrations.DefaultCollection))
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the worker ended with %v", err)
	}
	if intent.Status != "done" || intent.Result.Provider != name || intent.Result.ID != "ev_1" {
		t.Errorf("the intent is %+v", intent)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) != 2 || s.keys[0] == "" || s.keys[0] != s.keys[1] {
		t.Errorf("the event was sent under the keys %q, want one key twice", s.keys)
	}
}

type stored struct {
	Status string
	Result struct{ Provider, ID string }
}

// insertAndAwait writes an intent as a producer does, and returns it once it has ended.
func insertAndAwait(t *testing.T, outbox *mongo.Collection) (in stored) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ends := mongo.Pipeline{{{Key: "$match", Value: bson.D{{Key: "fullDocument.status", Value: bson.D{{Key: "$in", Value: bson.A{"done", "dead"}}}}}}}}
	stream, err := outbox.Watch(ctx, ends, options.ChangeStream().SetFullDocument(options.UpdateLookup))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close(ctx)
	if _, err := outbox.InsertOne(ctx, bson.D{{Key: "_id", Value: "order-1:told"}, {Key: "kind", Value: kind}, {Key: "status", Value: "pending"},
		{Key: "due_at", Value: time.Now()}, {Key: "payload", Value: bson.D{{Key: "event", Value: "paid"}, {Key: "order", Value: "order-1"}}}}); err != nil {
		t.Fatal(err, migrations.Reasons(err))
	}
	if !stream.Next(ctx) {
		t.Fatalf("the intent has not ended: %v", stream.Err())
	}
	if err := stream.Current.Lookup("fullDocument").Unmarshal(&in); err != nil {
		t.Fatal(err)
	}
	return in
}
