package page

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"path"
	"time"

	"github.com/a-h/templ"

	"github.com/outboxd/outboxd/admin"
)

// call is one request, and what the frame around its view needs.
type call struct {
	*http.Request
	page    *Page
	actor   admin.Actor
	path    string // of the view, without the base path
	problem string // what was refused, in a sentence
	said    string // what was done, in a sentence
	ask     *admin.Evidence
	reveal  *string // a payload as it stands; nil: masked
}

// content is one view.
type content struct {
	title string
	live  templ.Component // what is kept current; nil: nothing
	rest  templ.Component // what stays as it is, such as forms; nil: nothing
	every time.Duration   // how often live is read again; 0: never
}

var (
	errNoView  = errors.New("there is no such page")
	errSealed  = errors.New("the list's position is not one that this page wrote; begin at the first page")
	errStrange = errors.New("this form is not one of this page")
)

// problemOf says of an error what a person may read, and its status.
func problemOf(err error) (status int, text string) {
	if e, ok := errors.AsType[*admin.Error](err); ok {
		switch e.Code {
		case admin.IntentNotFound, admin.JobNotFound:
			return http.StatusNotFound, e.Text
		default:
			return http.StatusUnprocessableEntity, e.Text
		}
	}
	if f, ok := errors.AsType[*admin.Forbidden](err); ok {
		return http.StatusForbidden, f.Error()
	}
	if large := new(http.MaxBytesError); errors.As(err, &large) {
		return http.StatusRequestEntityTooLarge, "the form is too large"
	}
	if b, ok := errors.AsType[*badField](err); ok {
		return http.StatusBadRequest, b.Error()
	}
	switch {
	case errors.Is(err, errNoView):
		return http.StatusNotFound, err.Error()
	case errors.Is(err, errSealed), errors.Is(err, errStrange):
		return http.StatusBadRequest, err.Error()
	}
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return http.StatusServiceUnavailable, "the database did not answer in time; try again"
	}
	return http.StatusInternalServerError, "something went wrong here, not with the request; the log says what"
}

// badField is a field of a form or query that cannot be read.
type badField struct{ text string }

// Error says what the field must be.
func (b *badField) Error() string { return b.text }

func (p *Page) begin(w http.ResponseWriter, r *http.Request, role admin.Role) (*call, bool) {
	actor, ok := p.config.Actor(r, role)
	if !ok {
		http.Error(w, "sign in", http.StatusUnauthorized)
		return nil, false
	}
	return &call{Request: r, page: p, actor: actor, path: r.URL.Path, said: saidOf(r.URL.Query().Get("did"))}, true
}

// get registers a view.
func (p *Page) get(mux *http.ServeMux, path string, view func(*call) (content, error)) {
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		if c, ok := p.begin(w, r, admin.RoleRead); ok {
			p.show(w, c, http.StatusOK, view)
		}
	})
}

// post registers a change. It leads on to another view; what is refused is said on the view where the form stands.
func (p *Page) post(mux *http.ServeMux, pattern string, change func(*call) (to string, err error), view func(*call) (content, error)) {
	mux.HandleFunc("POST "+pattern, func(w http.ResponseWriter, r *http.Request) {
		c, ok := p.begin(w, r, admin.RoleRead)
		if !ok {
			return
		}
		if r.PathValue("op") != "" {
			c.path = path.Dir(c.path)
		}
		status := http.StatusOK
		err := r.ParseForm()
		if err != nil && !errors.As(err, new(*http.MaxBytesError)) {
			err = errStrange
		}
		if err == nil {
			var to string
			if to, err = change(c); err == nil && to != "" {
				http.Redirect(w, r, p.config.BasePath+to, http.StatusSeeOther)
				return
			}
		}
		if err != nil {
			p.note(r, err)
			status, c.problem = problemOf(err)
		}
		if c.reveal != nil { // a payload is on the screen for a minute
			w.Header().Set("Refresh", "60; url="+p.config.BasePath+c.path)
		}
		p.show(w, c, status, view)
	})
}

// update reports whether this asks for what changes in a view, and not for the whole page.
func (c *call) update() bool { return c.Header.Get("HX-Request") == "true" }

// as returns the actor with the kinds for which they have the role.
func (c *call) as(role admin.Role) admin.Actor {
	if a, ok := c.page.config.Actor(c.Request, role); ok {
		return a
	}
	return c.actor
}

// note logs what is nobody's answer.
func (p *Page) note(r *http.Request, err error) {
	if status, _ := problemOf(err); status >= http.StatusInternalServerError {
		p.log.ErrorContext(r.Context(), "a page failed", "path", r.Pattern, "error", err)
	}
}

func (p *Page) show(w http.ResponseWriter, c *call, status int, view func(*call) (content, error)) {
	v, err := view(c)
	if err != nil {
		p.note(c.Request, err)
		failed, text := problemOf(err)
		if status == http.StatusOK || c.problem == "" {
			status = failed
		}
		c.problem = cmp.Or(c.problem, text)
		v.title = cmp.Or(v.title, http.StatusText(failed))
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Vary", "HX-Request")
	w.WriteHeader(status)
	shown := frame(c, v)
	if c.update() {
		shown = liveRegion(c, v)
	}
	if err := shown.Render(c.Context(), w); err != nil && c.Context().Err() == nil {
		p.log.ErrorContext(c.Context(), "a page was not rendered whole", "path", c.Pattern, "error", err)
	}
}

// link returns a path of the page with a query. Values that are empty are left out.
func (c *call) link(path string, pairs ...string) templ.SafeURL {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Add(pairs[i], pairs[i+1])
		}
	}
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return templ.SafeURL(c.page.config.BasePath + path)
}

// here is the URL of this view without what was done last, and with the live updates on or off.
func (c *call) here(live bool) string {
	q := c.URL.Query()
	q.Del("did")
	q.Del("live")
	if !live {
		q.Set("live", "off")
	}
	here := url.URL{Path: c.page.config.BasePath + c.path, RawQuery: q.Encode()}
	return here.String()
}

// still reports whether this view's updates are switched off.
func (c *call) still() bool { return c.URL.Query().Get("live") == "off" }

// query returns a field of the query without the blanks around it.
func (c *call) query(name string) string { return trim(c.URL.Query().Get(name)) }

func saidOf(did string) string {
	switch did {
	case "retry":
		return "It is pending again."
	case "resolve":
		return "Your answer is recorded."
	case "resolve-waiting":
		return "Your answer is recorded. What follows it is not written yet; workers go on with it."
	case "cancel":
		return "It is cancelled, and nothing follows it."
	case "discard":
		return "It is discarded."
	case "plan":
		return "This is the dry run. Nothing has been changed yet."
	case "start":
		return "You have started the job."
	case "pause":
		return "The job stands still once its batch has ended."
	case "stop":
		return "The job has ended."
	case "approve":
		return "You have approved the job."
	case "pause-lane":
		return "The lane is paused on every worker."
	case "resume-lane":
		return "The lane is open."
	case "rate-set":
		return "The rate is set on every worker."
	case "rate-off":
		return "The lane keeps to its configured rate again."
	case "rate-none":
		return "No rate was set."
	case "resume-none":
		return "The lane was neither paused nor held."
	default:
		return ""
	}
}
