package payments_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/cmd/api/payments"
	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
)

func TestMain(m *testing.M) { mongotest.Main(m) }

var senders = payments.Senders{Email: "receipts@shop.example", Phone: "+15005550006"}

const good = `{"amount":1999,"currency":"eur","customer":"cus_1","payment_method":"pm_card_visa","email":"ada@example.org","phone":"+4915112345678","description":"Two books"}`

// api is the API on a server of its own, with a migrated database.
type api struct {
	t    *testing.T
	url  string
	http *http.Client
	db   *mongo.Database
	log  *safeBuffer
}

func start(t *testing.T, opts ...*options.ClientOptions) *api {
	t.Helper()
	db := mongotest.Database(t, append([]*options.ClientOptions{options.Client().SetTimeout(10 * time.Second)}, opts...)...)
	if _, err := migrations.New(db, "").Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return serve(t, db)
}

// serve serves the API on a database as it stands.
func serve(t *testing.T, db *mongo.Database) *api {
	t.Helper()
	log := new(safeBuffer)
	app, err := payments.New(payments.Config{Database: db, Senders: senders,
		Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(app.Handler())
	t.Cleanup(server.Close)
	return &api{t: t, url: server.URL, http: server.Client(), db: db, log: log}
}

// answer is what the API answered.
type answer struct {
	status int
	header http.Header
	text   string
	body   struct {
		ID      string
		State   string
		Amount  int64
		Receipt *payments.Receipt
		Failure *payments.Failure
		Error   struct{ Code, Msg string }
		Status  int
		Detail  string
		Ready   *bool
		Reasons []string
	}
}

func (a *api) do(method, path, body string, headers ...string) answer {
	a.t.Helper()
	ans, err := a.try(method, path, body, headers...)
	if err != nil {
		a.t.Fatal(err)
	}
	return ans
}

// try is do for goroutines that may not end the test.
func (a *api) try(method, path, body string, headers ...string) (answer, error) {
	var ans answer
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		return ans, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return ans, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return ans, err
	}
	ans.status, ans.header, ans.text = resp.StatusCode, resp.Header, string(data)
	if method == http.MethodHead {
		return ans, nil
	}
	if got := resp.Header.Get("Content-Type"); got != "application/json" {
		a.t.Errorf("%s %s: Content-Type %q", method, path, got)
	}
	return ans, json.Unmarshal(data, &ans.body)
}

func (a *api) post(body string, headers ...string) answer {
	a.t.Helper()
	return a.do(http.MethodPost, "/payments", body, headers...)
}

// written are all payments and all intents.
func (a *api) written() (list []payments.Payment, intents []bson.M) {
	a.t.Helper()
	a.read(payments.Collection, &list)
	a.read(migrations.DefaultCollection, &intents)
	return list, intents
}

func (a *api) read(collection string, list any) {
	a.t.Helper()
	cursor, err := a.db.Collection(collection).Find(a.t.Context(), bson.D{})
	if err != nil {
		a.t.Fatal(err)
	}
	if err := cursor.All(a.t.Context(), list); err != nil {
		a.t.Fatal(err)
	}
}

// safeBuffer is a buffer that a server writes while a test reads.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// serveToo serves another handler and returns its URL.
func (a *api) serveToo(h http.Handler) string {
	a.t.Helper()
	server := httptest.NewServer(h)
	a.t.Cleanup(server.Close)
	return server.URL
}
