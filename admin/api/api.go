package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/outboxd/outboxd/admin"
)

// Prefix is where the operations are, below the base path.
const Prefix = "/api/v1"

// How long one request may keep the database busy.
const (
	readTimeout  = 2 * time.Second
	writeTimeout = 10 * time.Second
	slowTimeout  = 20 * time.Second // of the doctor, and of a question to a provider
)

// Config is what an [API] is made of.
type Config struct {
	Service *admin.Service
	// Actor returns who sent a request. Kinds are those for which they have the role. Ok is false for nobody.
	Actor func(r *http.Request, role admin.Role) (a admin.Actor, ok bool)
	// CursorKey signs cursors, so that nobody can write their own. All admin processes need the same.
	CursorKey []byte
	Events    Events       // nil: there is no stream of events
	Answers   Answers      // nil: the header Idempotency-Key is refused
	Logger    *slog.Logger // nil: none
}

// API answers requests. It is safe for concurrent use.
type API struct {
	config  Config
	service *admin.Service
	mux     *http.ServeMux
	huma    huma.API
	log     *slog.Logger
	exports chan struct{} // a place for each export under way
}

// New returns an API.
func New(c Config) (*API, error) {
	if c.Service == nil || c.Actor == nil || len(c.CursorKey) < 16 {
		return nil, errors.New("the admin API needs a service, somebody who knows who calls, and a cursor key of 16 bytes")
	}
	a := &API{config: c, service: c.Service, mux: http.NewServeMux(), log: c.Logger, exports: make(chan struct{}, maxExports)}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.describe()
	return a, nil
}

// OpenAPI returns the description of the API as YAML.
func (a *API) OpenAPI() ([]byte, error) { return a.huma.OpenAPI().YAML() }

// Handler returns the API. Paths begin with [Prefix]: who mounts it below a base path strips that path.
func (a *API) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, pattern := a.mux.Handler(r)
		r.Pattern = pattern // for whoever counts requests
		switch {
		case pattern == "":
			a.noRoute(w, r)
			return
		case pattern == "GET "+Prefix+"/events":
			a.stream(w, r)
			return
		case a.exported(w, r, pattern):
			return
		case r.Method == http.MethodPost && r.Header.Get(idempotencyKey) != "" && !strings.HasSuffix(pattern, payloadPath):
			a.once(w, r)
			return
		}
		a.carryOut(w, r)
	})
}

// carryOut serves a request within its time.
func (a *API) carryOut(w http.ResponseWriter, r *http.Request) {
	timeout := readTimeout
	switch {
	case r.Method == http.MethodPost:
		timeout = writeTimeout
	case strings.HasSuffix(r.Pattern, evidencePath), strings.HasSuffix(r.Pattern, doctorPath):
		timeout = slowTimeout
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	behind := new(held)
	behind.r = r.WithContext(context.WithValue(ctx, requestKey{}, behind))
	a.mux.ServeHTTP(w, behind.r)
}

// noRoute answers 404, or 405 where another method has a route.
func (a *API) noRoute(w http.ResponseWriter, r *http.Request) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		asked := *r
		asked.Method = method
		if _, pattern := a.mux.Handler(&asked); pattern != "" {
			w.Header().Set("Allow", method)
			write(w, transport(http.StatusMethodNotAllowed, "method_not_allowed", "the method is not allowed here; see the header Allow"))
			return
		}
	}
	write(w, transport(http.StatusNotFound, "no_route", "there is nothing at this path"))
}

// description answers with the description of the API.
func (a *API) description(w http.ResponseWriter, r *http.Request) {
	_, err := a.admit(r, what{id: "describe", role: admin.RoleRead})
	var text []byte
	if err == nil {
		text, err = json.Marshal(a.huma.OpenAPI())
	}
	if err != nil {
		write(w, a.replyTo(r.Context(), "describe", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // the client has gone
}

type requestKey struct{}

// held holds the very request that the mux gets: it writes the values of the path there.
type held struct{ r *http.Request }

// requestOf returns the request behind a context of huma's.
func requestOf(ctx context.Context) *http.Request {
	return ctx.Value(requestKey{}).(*held).r
}

func (a *API) describe() {
	a.huma = humago.New(a.mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{Title: "outboxd admin API", Version: "1", Description: "What operators do. A success is 2xx. " +
				"A request that is refused for a reason of the business is 422, with a stable code. Everything else is transport."},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}, "session": {Type: "apiKey", In: "cookie", Name: "__Host-outboxd"}},
			},
			Security: []map[string][]string{{"token": {}}, {"session": {}}},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
	})
	a.reads()
	a.changes()
	a.jobs()
	a.events()
	a.mux.HandleFunc("GET "+Prefix+"/openapi.json", a.description)
	for _, unused := range []string{"ErrorModel", "ErrorDetail"} { // huma describes its own errors, which are never answered
		delete(a.huma.OpenAPI().Components.Schemas.Map(), unused)
	}
}
