package contractcheck

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stripe/stripe-mock/embedded"
	"github.com/stripe/stripe-mock/server"

	"github.com/outboxd/outboxd/providers/simulator"
)

// vendor is what Stripe publishes: its stand-in and its description. Reading it takes seconds, so it is done once.
type vendor struct {
	mock http.Handler
	api  *openAPI
}

func newVendor(t *testing.T) *vendor {
	t.Helper()
	fixtures, err := server.LoadFixtures(embedded.OpenAPIFixtures, "")
	if err != nil {
		t.Fatal(err)
	}
	description, err := server.LoadSpec(embedded.OpenAPISpec, "")
	if err != nil {
		t.Fatal(err)
	}
	stub, err := server.NewStubServer(fixtures, description, false, false)
	if err != nil {
		t.Fatal(err)
	}
	api, err := parseOpenAPI(embedded.OpenAPISpec)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", stub.HandleRequest)
	return &vendor{mock: &server.DoubleSlashFixHandler{Mux: mux}, api: api}
}

// exchange is what became of one request: the statuses of stripe-mock and of the simulator.
type exchange struct {
	request   string // method and path, ids left out
	mock, sim int
}

// twin serves Stripe's API. It hands every request to stripe-mock and to the simulator, and answers what the simulator
// says, since only that has a memory.
type twin struct {
	t      *testing.T
	vendor *vendor
	sim    *simulator.Sim
	url    string

	mu   sync.Mutex
	seen []exchange
}

func (v *vendor) twin(t *testing.T) *twin {
	t.Helper()
	tw := &twin{t: t, vendor: v, sim: simulator.New(simulator.Config{SearchLag: -1})}
	srv := httptest.NewServer(tw)
	tw.url = srv.URL
	t.Cleanup(func() {
		srv.Close()
		tw.sim.Close()
	})
	return tw
}

func (tw *twin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		tw.t.Errorf("read the request: %v", err)
	}
	mock, sim := tw.ask(tw.vendor.mock, r, body), tw.ask(tw.sim.Stripe(), r, body)
	if mock.Code >= 300 {
		tw.t.Logf("stripe-mock on %s %s %s: %s", r.Method, r.URL, body, mock.Body)
	}
	if sim.Code >= 300 {
		tw.t.Logf("the simulator on %s %s %s: %s", r.Method, r.URL, body, sim.Body)
	}
	tw.mu.Lock()
	tw.seen = append(tw.seen, exchange{request: r.Method + " " + plainPath(r.URL.Path), mock: mock.Code, sim: sim.Code})
	tw.mu.Unlock()
	if _, _, _, err := tw.vendor.api.operation(r.Method, r.URL.Path); err == nil {
		tw.fits(r, sim)
	}
	maps.Copy(w.Header(), sim.Header())
	w.WriteHeader(sim.Code)
	_, _ = w.Write(sim.Body.Bytes()) // the client that went away fails its test by itself
}

func (tw *twin) ask(h http.Handler, r *http.Request, body []byte) *httptest.ResponseRecorder {
	clone := r.Clone(r.Context())
	clone.Body = io.NopCloser(bytes.NewReader(body))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, clone)
	return rec
}

// fits holds an answer of the simulator against Stripe's description.
func (tw *twin) fits(r *http.Request, sim *httptest.ResponseRecorder) {
	tw.t.Helper()
	err := tw.vendor.api.answer(r.Method, r.URL.Path, sim.Code, sim.Header().Get("Content-Type"), sim.Body.Bytes())
	if err != nil {
		tw.t.Errorf("the simulator's answer to %s %s: %v\n%s", r.Method, r.URL.Path, err, sim.Body)
	}
}

// plainPath is a path without the ids of PaymentIntents.
func plainPath(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if strings.HasPrefix(part, "pi_") {
			parts[i] = "{intent}"
		}
	}
	return strings.Join(parts, "/")
}

// expect compares what was seen since the last time.
func (tw *twin) expect(t *testing.T, want ...exchange) {
	t.Helper()
	tw.mu.Lock()
	defer tw.mu.Unlock()
	if !slices.Equal(tw.seen, want) {
		t.Errorf("exchanges %+v, want %+v", tw.seen, want)
	}
	tw.seen = nil
}

// errorType is the type of error that an answer of Stripe's form names.
func errorType(t *testing.T, body []byte) string {
	t.Helper()
	var v struct{ Error struct{ Type string } }
	if err := json.Unmarshal(body, &v); err != nil {
		t.Errorf("no error of Stripe's form: %v in %q", err, body)
	}
	return v.Error.Type
}
