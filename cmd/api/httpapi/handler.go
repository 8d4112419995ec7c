package httpapi

import (
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// Bounds of a request.
const (
	maxURL     = 4 << 10  // bytes of path and query
	maxBody    = 64 << 10 // bytes of an order
	maxWebhook = 2 << 20  // bytes; SendGrid posts as soon as it has 768 KB (SendGrid, "Event Webhook Overview")
)

// Handler returns the API. It may be mounted at the root of a host only, since Location names paths from there.
func (a *API) Handler() http.Handler {
	return a.exchanges(func(x *exchange) {
		if err := a.route(x); err != nil {
			x.refuse(err)
			return
		}
		if err := a.admit(x); err != nil {
			x.refuse(err)
			return
		}
		a.mux.ServeHTTP(x, x.r)
	})
}

// route finds the route of a request. What has none is answered here, since the mux would answer in a form of its own.
func (a *API) route(x *exchange) error {
	r := x.r
	if len(r.RequestURI) > maxURL {
		return transport(http.StatusRequestURITooLong, "path and query must have at most %d bytes together", maxURL)
	}
	// The mux redirects to the clean form of a path; nobody who meant well sends another.
	if p := r.URL.Path; !strings.HasPrefix(p, "/") || path.Clean(p) != p {
		return transport(http.StatusNotFound, "there is nothing at this path; GET /docs describes what there is")
	}
	if x.route = a.pattern(r, r.Method); x.route != "" {
		return nil
	}
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if pattern := a.pattern(r, method); pattern != "" {
			x.route = pattern
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		return transport(http.StatusNotFound, "there is nothing at this path; GET /docs describes what there is")
	}
	if slices.Contains(allowed, http.MethodGet) {
		allowed = append(allowed, http.MethodHead)
	}
	slices.Sort(allowed)
	x.Header().Set("Allow", strings.Join(allowed, ", "))
	return transport(http.StatusMethodNotAllowed, "the method is not allowed here; the header Allow lists those that are")
}

// pattern is the path of the route that a method would take, empty if there is none.
func (a *API) pattern(r *http.Request, method string) string {
	asked := *r
	asked.Method = method
	_, pattern := a.mux.Handler(&asked)
	_, p, _ := strings.Cut(pattern, " ")
	return strings.TrimSuffix(p, "{$}")
}

// admit lets a request through its client's limit.
func (a *API) admit(x *exchange) error {
	switch {
	case x.route == "/healthz", x.route == "/readyz", x.route == "/metrics":
		return nil // those who watch over this process ask, above all when it has no time
	case strings.HasPrefix(x.route, "/webhooks/"): // from few addresses, in bursts, and signed
		return nil
	}
	return a.clients.admit(x, a.clientOf(x.r), time.Now())
}

// work takes one of the places among those that use the database. It is called once the request is read: who sends
// slowly must not keep a place from others.
func (a *API) work(x *exchange) error {
	release, ok := a.working.take()
	if !ok {
		return transport(http.StatusServiceUnavailable, "too many requests are under way; nothing was done").after(time.Second)
	}
	x.release = release
	return nil
}
