package auth

import (
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strings"
)

// onward takes a browser on by its own step. See callback for the reason.
var onward = template.Must(template.New("onward").Parse(`<!doctype html><html lang="en"><meta charset="utf-8">
<title>Signed in</title><meta http-equiv="refresh" content="0;url={{.}}"><p>Signed in. <a href="{{.}}">Go on</a></p></html>
`))

var signInForm = template.Must(template.New("login").Parse(`<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Sign in to outboxd</title><main><h1>Sign in to outboxd</h1>
{{with .Problem}}<p role="alert">{{.}}</p>{{end}}
{{with .Start}}<p><a href="{{.}}">Sign in with your organisation's account</a></p>{{end}}
{{if .Tokens}}<form method="post" action="{{.Login}}"><input type="hidden" name="next" value="{{.Next}}">
<label for="token">Token</label> <input id="token" name="token" type="password" autocomplete="current-password" required>
<button>Sign in</button></form>{{end}}</main></html>
`))

// refuse answers with a problem (RFC 9457), as transport errors of the API do.
func (g *Guard) refuse(w http.ResponseWriter, _ *http.Request, status int, code, msg string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct { // the client has gone
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Code   string `json:"code"`
	}{"about:blank", http.StatusText(status), status, msg, code})
}

func (g *Guard) tooMany(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", "60")
	g.refuse(w, r, http.StatusTooManyRequests, "too_many_failures", errLimited.Error())
}

// unavailable answers where the store of sessions or the issuer did not. What they said stays in the log.
func (g *Guard) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	g.log.ErrorContext(r.Context(), "could not see who calls", "error", err)
	w.Header().Set("Retry-After", "5")
	g.refuse(w, r, http.StatusServiceUnavailable, "unavailable", "sessions cannot be read now; try again")
}

// nobody sends a browser to the sign-in, and tells a program what it needs.
func (g *Guard) nobody(w http.ResponseWriter, r *http.Request, err error) {
	canSignIn := g.tokens != nil || g.oidc != nil
	if canSignIn && r.Method == http.MethodGet && !strings.HasPrefix(r.URL.Path, g.config.BasePath+"/api/") && strings.Contains(r.Header.Get("Accept"), "text/html") {
		http.Redirect(w, r, g.config.BasePath+"/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="outboxd"`)
	msg := errNobody.Error()
	if errors.Is(err, errNoSession) {
		msg = errNoSession.Error()
	}
	g.refuse(w, r, http.StatusUnauthorized, "unauthenticated", msg)
}

// failed answers a sign-in that failed.
func (g *Guard) failed(w http.ResponseWriter, r *http.Request, via, name string, err error) {
	g.count(r, via, name, g.proxy.clientOf(r, peerOf(r)), err)
	g.form(w, r, http.StatusUnauthorized, "The sign-in failed: "+err.Error()+".", g.config.BasePath+"/")
}

func (g *Guard) signInPage(w http.ResponseWriter, r *http.Request) {
	if g.config.SignIn != nil {
		g.config.SignIn.ServeHTTP(w, r)
		return
	}
	g.form(w, r, http.StatusOK, "", g.local(r.URL.Query().Get("next")))
}

func (g *Guard) form(w http.ResponseWriter, r *http.Request, status int, problem, next string) {
	view := struct {
		Problem, Start, Login, Next string
		Tokens                      bool
	}{Problem: problem, Login: g.config.BasePath + "/login", Next: next, Tokens: g.tokens != nil}
	if g.oidc != nil {
		view.Start = g.config.BasePath + "/oidc/start?next=" + url.QueryEscape(next)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = signInForm.Execute(w, view) // the browser has gone
}

// signIn changes a token for a session's cookie.
func (g *Guard) signIn(w http.ResponseWriter, r *http.Request) {
	if g.tokens == nil {
		g.refuse(w, r, http.StatusNotFound, "no_tokens", "no tokens file is configured")
		return
	}
	if err := r.ParseForm(); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			g.refuse(w, r, http.StatusRequestEntityTooLarge, "body_too_large", "the body has more than 64 KiB")
			return
		}
		g.refuse(w, r, http.StatusBadRequest, "bad_form", "the form cannot be read")
		return
	}
	name, err := g.check(r, g.proxy.clientOf(r, peerOf(r)), strings.TrimSpace(r.PostForm.Get("token")))
	next := g.local(r.PostForm.Get("next"))
	switch {
	case errors.Is(err, errLimited):
		g.tooMany(w, r)
		return
	case err != nil:
		g.form(w, r, http.StatusUnauthorized, "This token is not right.", next)
		return
	}
	if err := g.start(w, r, session{Name: name, Via: viaToken}, nil); err != nil {
		g.unavailable(w, r, err)
		return
	}
	g.log.InfoContext(r.Context(), "signed in", "who", name, "via", viaToken)
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// signOut ends the session in the store, so that a copied cookie is worth nothing either.
func (g *Guard) signOut(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(g.cookieName()); err == nil && g.sessions != nil {
		if err := g.sessions.End(r.Context(), sessionKey(c.Value)); err != nil {
			g.unavailable(w, r, err)
			return
		}
	}
	http.SetCookie(w, g.cookie(g.cookieName(), "", -1, http.SameSiteStrictMode))
	http.Redirect(w, r, g.config.BasePath+"/login", http.StatusSeeOther)
}

// local returns a path below the base path, whatever a link asked for.
func (g *Guard) local(next string) string {
	home := g.config.BasePath + "/"
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(next, home) || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return home
	}
	return next
}
