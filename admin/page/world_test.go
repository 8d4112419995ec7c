package page_test

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/admin/jobs"
	"github.com/outboxd/outboxd/admin/page"
	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

// world is the page on a real database.
type world struct {
	*testing.T
	db      *mongo.Database
	store   *store.Store
	desk    *store.Desk
	service *admin.Service
	page    *page.Page
	server  *httptest.Server
}

func policy(kind string) outbox.Policy {
	p := outbox.Policy{Retry: outbox.RetryPolicy{MaxAttempts: 12, Base: time.Second, Max: time.Minute}, OnAmbiguous: outbox.Park}
	if kind == outbox.KindCharge {
		p.AsksFirst, p.OnAmbiguous = true, outbox.Retry
	}
	return p
}

const base = "/ops"

// newWorld serves the page under a base path. Who asks, and with which roles, stands in the header Role.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := bareWorld(t, func(r *http.Request, _ admin.Role) (admin.Actor, bool) {
		var roles []admin.Role
		for role := range strings.SplitSeq(r.Header.Get("Role"), ",") {
			roles = append(roles, admin.Role(role))
		}
		return admin.Actor{Who: "ann", Via: "token", Roles: roles}, r.Header.Get("Role") != ""
	})
	w.server = httptest.NewServer(http.StripPrefix(base, w.page.Handler()))
	t.Cleanup(w.server.Close)
	return w
}

func bareWorld(t *testing.T, actor func(*http.Request, admin.Role) (admin.Actor, bool)) *world {
	t.Helper()
	db := mongotest.Database(t)
	if _, err := migrations.New(db, "").Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Collection("outbox").Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: bson.D{{Key: "metadata.order", Value: 1}}}); err != nil {
		t.Fatal(err)
	}
	s := store.New(db, "", store.Options{})
	desk := s.Desk()
	if err := desk.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, db: db, store: s, desk: desk}
	w.service = admin.New(admin.Config{Reader: desk, State: desk, Operator: desk, Controls: desk, Jobs: desk, Audit: desk, Doctor: lines{},
		Kinds: []string{"charge", "email", "sms"}, Policy: policy, Mask: []string{"customer"}})
	p, err := page.New(page.Config{Service: w.service, Actor: actor, BasePath: base, CursorKey: []byte("0123456789abcdef"), SignOut: true})
	if err != nil {
		t.Fatal(err)
	}
	w.page = p
	return w
}

func (w *world) runner() *jobs.Runner {
	return jobs.New(jobs.Config{Reader: w.desk, Operator: w.desk, Jobs: w.desk, Audit: w.desk, Policy: policy, Now: w.desk.Now, Owner: "test",
		Log: slog.New(slog.DiscardHandler)})
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// insert puts an intent there as no producer may have written it.
func (w *world) insert(id any, fields bson.M) {
	w.Helper()
	doc := bson.M{"_id": id, "kind": "sms", "status": "pending", "due_at": time.Now(), "created_at": time.Now(),
		"payload": bson.M{"to": "+4915112345678", "from": "+15550001111", "body": "code 4711"}, "metadata": bson.M{"order": "o7", "customer": "kim@example.com"}}
	for name, value := range fields {
		if doc[name] = value; value == nil {
			delete(doc, name)
		}
	}
	_, err := w.db.Collection("outbox").InsertOne(w.Context(), doc, options.InsertOne().SetBypassDocumentValidation(true))
	w.must(err)
}

// dead are the fields of a dead letter.
func dead(reason, class, code string) bson.M {
	at := time.Now().Add(-time.Hour)
	doc := bson.M{"status": "dead", "due_at": nil, "dead_at": at, "dead_reason": reason, "attempts": 1, "first_attempt_at": at,
		"last_error": bson.M{"class": class, "code": code, "at": at, "message": "the provider said no"},
		"history": bson.A{bson.M{"what": "attempt", "attempt": 1, "at": at, "ms": 41, "outcome": class, "code": code, "http_status": 503,
			"request_id": "req_1", "worker": "vm-1"}}}
	if reason == "ambiguous" {
		doc["ambiguous_at"] = at
	}
	return doc
}

// with adds fields to a document.
func with(doc bson.M, more bson.M) bson.M {
	maps.Copy(doc, more)
	return doc
}

type lines struct{}

const (
	goodLine = "the indexes are there"
	badLine  = "the clock is 3 s off"
)

// answer is what the page said.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) has(texts ...string) error {
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			return fmt.Errorf("%d, without %q:\n%s", a.status, text, a.body)
		}
	}
	return nil
}

// ask sends a request with roles, and follows no redirect.
func (w *world) ask(roles, method, path string, form url.Values) answer {
	w.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(w.Context(), method, w.server.URL+base+path, body)
	w.must(err)
	if roles != "" {
		req.Header.Set("Role", roles)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return w.send(w.server.Client(), req)
}

func (w *world) send(client *http.Client, req *http.Request) answer {
	w.Helper()
	plain := *client
	plain.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := plain.Do(req)
	w.must(err)
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	w.must(err)
	return answer{resp.StatusCode, resp.Header, string(all)}
}

func (w *world) get(path string) answer {
	w.Helper()
	return w.ask("read,operate", "GET", path, nil)
}

// post sends a form that is to be carried out, and returns the view that it leads to.
func (w *world) post(roles, path string, pairs ...string) answer {
	w.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	a := w.ask(roles, "POST", path, form)
	if a.status != http.StatusSeeOther {
		return a
	}
	return w.ask(roles, "GET", strings.TrimPrefix(a.header.Get("Location"), base), nil)
}
