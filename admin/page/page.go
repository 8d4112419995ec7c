package page

import (
	"errors"
	"log/slog"
	"net/http"
	"path"

	"github.com/outboxd/outboxd/admin"
)

// Config is what a Page is made of.
type Config struct {
	Service Service
	// Actor returns who sent a request. Kinds are those for which they have the role. Ok is false for nobody.
	Actor     func(r *http.Request, role admin.Role) (a admin.Actor, ok bool)
	BasePath  string // that links begin with: "" or "/outboxd"; requests come without it
	CursorKey []byte // signs the positions of lists; all admin processes need the same
	SignOut   bool   // people have sessions, so they can sign out
	Logger    *slog.Logger
}

// Page answers requests. It is safe for concurrent use.
type Page struct {
	config  Config
	service Service
	log     *slog.Logger
	assets  assets
	polls   polls
	handler http.Handler
}

// New returns a page. It has to stand behind a guard that refuses requests of other sites, and sets the policies of
// package auth.
func New(c Config) (*Page, error) {
	if len(c.CursorKey) < macBytes {
		return nil, errors.New("the key for the positions of lists has fewer than 16 bytes; make one with crypto/rand")
	}
	a, err := loadAssets()
	if err != nil {
		return nil, err
	}
	p := &Page{config: c, service: c.Service, log: c.Logger, assets: a, polls: polls{seen: make(map[string]*poll)}}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.handler = p.routes()
	return p, nil
}

// Handler returns the page. Its paths begin at /, whatever the base path.
func (p *Page) Handler() http.Handler { return p.handler }

func (p *Page) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /assets/{name}", p.assets.serve)
	p.get(mux, "/{$}", p.overview)
	p.get(mux, "/intents", p.intents)
	p.get(mux, "/i/{id}", p.intent)
	p.get(mux, "/dead", p.dead)
	p.get(mux, "/dead/plan", p.planning)
	p.get(mux, "/jobs", p.jobs)
	p.get(mux, "/jobs/{id}", p.job)
	p.get(mux, "/lanes", p.lanes)
	p.get(mux, "/rates", p.rates)
	p.get(mux, "/workers", p.workers)
	p.get(mux, "/audit", p.audit)
	p.get(mux, "/doctor", p.doctor)
	p.post(mux, "/i/{id}/{op}", p.changeIntent, p.intent)
	p.post(mux, "/dead/plan", p.plan, p.planning)
	p.post(mux, "/jobs/{id}/{op}", p.moveJob, p.job)
	p.post(mux, "/lanes", p.changeLane, p.lanes)
	// A form that was refused leaves its own address in the browser.
	for _, form := range []string{"/i/{id}/{op}", "/jobs/{id}/{op}"} {
		mux.HandleFunc("GET "+form, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, p.config.BasePath+path.Dir(r.URL.Path), http.StatusSeeOther)
		})
	}
	p.get(mux, "/", func(*call) (content, error) { return content{}, errNoView })
	return mux
}
