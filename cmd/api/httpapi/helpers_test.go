package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/cmd/api/httpapi"
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
	app  *httpapi.API
	url  string
	http *http.Client
	db   *mongo.Database
	log  *safeBuffer

	namespace string // that Twilio's callbacks carry
}

func start(t *testing.T, opts ...*options.ClientOptions) *api {
	t.Helper()
	db := mongotest.Database(t, append([]*options.ClientOptions{options.Client().SetTimeout(payments.ClientTimeout)}, opts...)...)
	if _, err := migrations.New(db, "").Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return serve(t, db, httpapi.Config{})
}

// with serves the API on the same database with another configuration.
func (a *api) with(cfg httpapi.Config) *api {
	a.t.Helper()
	return serve(a.t, a.db, cfg)
}

// serve serves the API on a database that is migrated.
func serve(t *testing.T, db *mongo.Database, cfg httpapi.Config) *api {
	t.Helper()
	service, err := payments.New(payments.Config{Database: db, Senders: senders})
	if err != nil {
		t.Fatal(err)
	}
	if err := service.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return serveService(t, service, db, cfg)
}

// serveService serves a service as it stands. Tests send more than one person would.
func serveService(t *testing.T, service *payments.Service, db *mongo.Database, cfg httpapi.Config) *api {
	t.Helper()
	t.Cleanup(service.Close)
	log := new(safeBuffer)
	cfg.Payments = service
	cfg.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if cfg.Limits == (httpapi.Limits{}) {
		cfg.Limits = httpapi.Limits{Rate: 1e6, Burst: 1e6}
	}
	app, err := httpapi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(app.Handler())
	t.Cleanup(server.Close)
	return &api{t: t, app: app, url: server.URL, http: server.Client(), db: db, log: log}
}

// answer is what the API answered.
type answer struct {
	status int
	header http.Header
	text   string
	body   struct {
		payments.View
		Error     struct{ Code, Msg string }
		Errors    []struct{ Code, Msg, Field string }
		Type      string
		Title     string
		Status    int
		Detail    string
		RequestID string `json:"request_id"`
		Ready     *bool
		Reasons   []string
	}
}

// codes are the business codes of an answer, in order.
func (a answer) codes() []string {
	if a.body.Error.Code != "" {
		return []string{a.body.Error.Code}
	}
	var codes []string
	for _, e := range a.body.Errors {
		codes = append(codes, e.Code)
	}
	return codes
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
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
			continue
		}
		req.Header.Add(headers[i], headers[i+1])
		if headers[i] == "Content-Type" {
			req.Header.Set(headers[i], headers[i+1])
		}
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
	if method == http.MethodHead || len(data) == 0 {
		return ans, nil
	}
	a.checkForm(method+" "+path, ans)
	return ans, json.Unmarshal(data, &ans.body)
}

// checkForm checks the one convention: 422 is business, every other error is a problem, and neither looks like the
// other.
func (a *api) checkForm(what string, ans answer) {
	a.t.Helper()
	want := "application/json"
	if ans.status >= 400 && ans.status != http.StatusUnprocessableEntity {
		want = "application/problem+json"
	}
	if got := ans.header.Get("Content-Type"); got != want {
		a.t.Errorf("%s: %d with Content-Type %q, want %q", what, ans.status, got, want)
	}
	if ans.header.Get("X-Request-Id") == "" || ans.header.Get("Cache-Control") != "no-store" {
		a.t.Errorf("%s: the header is %v", what, ans.header)
	}
}

func (a *api) post(body string, headers ...string) answer {
	a.t.Helper()
	return a.do(http.MethodPost, "/payments", body, headers...)
}

// order posts the good order and returns the payment's id.
func (a *api) order() string {
	a.t.Helper()
	ans := a.post(good)
	if ans.status != http.StatusAccepted {
		a.t.Fatalf("POST: %d %s", ans.status, ans.text)
	}
	return ans.body.ID
}

// set writes fields of a payment, as the worker does.
func (a *api) set(id string, fields bson.D) {
	a.t.Helper()
	result, err := a.db.Collection(payments.Collection).UpdateByID(a.t.Context(), id, bson.D{{Key: "$set", Value: fields}})
	if err != nil || result.MatchedCount != 1 {
		a.t.Fatalf("write on the payment: %v", err)
	}
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

// mongoSession returns the test's context with a session in it.
func mongoSession(t *testing.T, s *mongo.Session) context.Context {
	return mongo.NewSessionContext(t.Context(), s)
}

// metrics are those of the API under test, without its server: they are there when it has stopped, too.
func (a *api) metrics() string {
	a.t.Helper()
	rec := httptest.NewRecorder()
	a.app.Handler().ServeHTTP(rec, httptest.NewRequestWithContext(a.t.Context(), http.MethodGet, "/metrics", nil))
	return rec.Body.String()
}
