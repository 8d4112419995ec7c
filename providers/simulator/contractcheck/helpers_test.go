package contractcheck

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.uber.org/goleak"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTransport(t *testing.T) *providers.Transport {
	t.Helper()
	transport := providers.NewTransport(providers.TransportConfig{})
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// newIntent is a leased intent whose first attempt was a moment ago, with metadata of its own.
func newIntent(kind string, payload any) *outbox.Intent {
	now := time.Now()
	return &outbox.Intent{
		ID: outbox.NewStringID("order-17"), Namespace: "contract00", Kind: kind, Status: outbox.StatusLeased, Attempts: 1,
		FirstDueAt: now.Add(-time.Second), FirstAttemptAt: now.Add(-time.Second),
		AmbiguousAt: now, Lease: outbox.Lease{Token: "t", At: now}, Metadata: map[string]string{"note": "4711"}, Payload: payload,
	}
}

func decoded(t *testing.T, body []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	return v
}

// noUnset fails where a payload that claims to be full leaves a field empty, such as one that was added later. The
// fields named in but are left out by right.
func noUnset(t *testing.T, payload any, but ...string) {
	t.Helper()
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		if v.IsZero() && !slices.Contains(but, path) {
			t.Errorf("%s is not set: a request with it is not checked", path)
		}
		switch v.Kind() {
		case reflect.Pointer:
			walk(path, v.Elem())
		case reflect.Slice:
			for i := range v.Len() {
				walk(path, v.Index(i))
			}
		case reflect.Struct:
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		}
	}
	walk("", reflect.ValueOf(payload))
}

// gate serves a simulated provider and holds every request against descriptions before it lets it in.
type gate struct {
	t    *testing.T
	apis []*openAPI
	next http.Handler
	url  string

	mu   sync.Mutex
	seen []string
}

// skipped are requests that no description has.
var skipped = []string{"GET /v3/scopes"}

func newGate(t *testing.T, next http.Handler, files ...string) *gate {
	t.Helper()
	g := &gate{t: t, next: next}
	for _, file := range files {
		data, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		api, err := parseOpenAPI(data)
		if err != nil {
			t.Fatal(err)
		}
		g.apis = append(g.apis, api)
	}
	srv := httptest.NewServer(g)
	t.Cleanup(srv.Close)
	g.url = srv.URL
	return g
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		g.t.Errorf("read the request: %v", err)
	}
	if err := g.check(r, body); err != nil {
		g.t.Errorf("%s %s: %v\n%s", r.Method, r.URL, err, body)
	}
	g.mu.Lock()
	g.seen = append(g.seen, r.Method+" "+r.URL.Path)
	g.mu.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(body))
	g.next.ServeHTTP(w, r)
}

// check holds a request against the description that has it.
func (g *gate) check(r *http.Request, body []byte) error {
	if slices.Contains(skipped, r.Method+" "+r.URL.Path) {
		return nil
	}
	var err error
	for _, api := range g.apis {
		if _, _, _, err = api.operation(r.Method, r.URL.Path); err == nil {
			return api.request(r, body)
		}
	}
	return err
}

// expect compares the requests seen since the last time.
func (g *gate) expect(t *testing.T, want ...string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Equal(g.seen, want) {
		t.Errorf("requests %q, want %q", g.seen, want)
	}
	g.seen = nil
}
