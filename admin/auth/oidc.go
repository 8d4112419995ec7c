package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	recheckAfter  = 10 * time.Minute // how long a group that was taken away may still count
	flowLife      = 10 * time.Minute // how long a person may take to sign in
	maxChecked    = 10_000
	issuerTimeout = 10 * time.Second
)

// OIDC is an OpenID provider.
type OIDC struct {
	Issuer       string
	ClientID     string
	ClientSecret string            // empty: a public client, which PKCE alone protects
	RedirectURL  string            // the public URL of /oidc/callback
	Name         string            // claim with the name that records show; empty: email, only if it is verified
	Groups       string            // claim with the groups; empty: "groups"
	Scopes       []string          // besides openid; empty: profile, email, groups, offline_access
	Roles        map[string]string // role of each group
}

// provider is an OpenID provider that was found.
type provider struct {
	OIDC
	issuer   *oidc.Provider
	oauth    oauth2.Config
	verifier *oidc.IDTokenVerifier
	client   *http.Client
}

// discover asks the issuer for its addresses and keys.
func discover(ctx context.Context, c OIDC, client *http.Client) (*provider, error) {
	if c.Issuer == "" || c.ClientID == "" || c.RedirectURL == "" || len(c.Roles) == 0 {
		return nil, errors.New("oidc needs an issuer, a client id, roles by group, and a public URL")
	}
	if client == nil {
		client = &http.Client{Timeout: issuerTimeout}
	}
	// The issuer's keys are fetched again as long as the process runs, so they may not hang on the start's context.
	issuer, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), client), c.Issuer)
	if err != nil {
		return nil, fmt.Errorf("ask the OpenID issuer %s: %w", c.Issuer, err)
	}
	if c.Groups == "" {
		c.Groups = "groups"
	}
	if c.Scopes == nil {
		c.Scopes = []string{"profile", "email", "groups", oidc.ScopeOfflineAccess}
	}
	return &provider{
		OIDC: c, issuer: issuer, client: client,
		verifier: issuer.Verifier(&oidc.Config{ClientID: c.ClientID}),
		oauth: oauth2.Config{
			ClientID: c.ClientID, ClientSecret: c.ClientSecret, RedirectURL: c.RedirectURL,
			Endpoint: issuer.Endpoint(), Scopes: append([]string{oidc.ScopeOpenID}, c.Scopes...),
		},
	}, nil
}

// flow is what a browser keeps while its person is at the issuer.
type flow struct {
	State, Nonce, Verifier, Next string
}

func (g *Guard) flowName() string {
	if g.insecure {
		return flowPlain
	}
	return flowSecure
}

// begin sends a browser to the issuer.
func (g *Guard) begin(w http.ResponseWriter, r *http.Request) {
	f := flow{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Next: g.local(r.URL.Query().Get("next"))}
	data, err := json.Marshal(f)
	if err != nil {
		g.refuse(w, r, http.StatusInternalServerError, "internal", "the sign-in could not begin")
		return
	}
	// Lax: the browser comes back from another site, and a strict cookie would not come with it.
	http.SetCookie(w, g.cookie(g.flowName(), b64.EncodeToString(data), int(flowLife/time.Second), http.SameSiteLaxMode))
	http.Redirect(w, r, g.oidc.oauth.AuthCodeURL(f.State, oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier)), http.StatusSeeOther)
}

// callback is where the issuer sends the browser back.
func (g *Guard) callback(w http.ResponseWriter, r *http.Request) {
	var f flow
	if c, err := r.Cookie(g.flowName()); err == nil {
		if data, err := b64.DecodeString(c.Value); err == nil {
			_ = json.Unmarshal(data, &f) // what cannot be read has no state, which is refused below
		}
	}
	http.SetCookie(w, g.cookie(g.flowName(), "", -1, http.SameSiteLaxMode))
	query := r.URL.Query()
	if f.State == "" || subtle.ConstantTimeCompare([]byte(f.State), []byte(query.Get("state"))) != 1 {
		g.failed(w, r, viaOIDC, "", errors.New("the answer of the issuer belongs to no sign-in of this browser"))
		return
	}
	if query.Get("error") != "" { // its text is the issuer's, or whoever wrote the link
		g.failed(w, r, viaOIDC, "", errors.New("the issuer refused the sign-in"))
		return
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(r.Context(), g.oidc.client), issuerTimeout)
	defer cancel()
	token, err := g.oidc.oauth.Exchange(ctx, query.Get("code"), oauth2.VerifierOption(f.Verifier))
	if err != nil {
		g.failed(w, r, viaOIDC, "", errors.New("the issuer did not accept the code"))
		return
	}
	name, roles, err := g.oidc.read(ctx, token, f.Nonce)
	if err != nil {
		g.failed(w, r, viaOIDC, name, err)
		return
	}
	secret, err := json.Marshal(token)
	if err == nil {
		err = g.start(w, r, session{Name: name, Via: viaOIDC, Roles: roles}, secret)
	}
	if err != nil {
		g.unavailable(w, r, err)
		return
	}
	g.log.InfoContext(r.Context(), "signed in", "who", name, "via", viaOIDC, "role", strings.Join(roles, ","))
	// A redirect would still count as coming from the issuer's site, and the strict cookie would stay behind.
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = onward.Execute(w, f.Next) // the browser has gone
}

// read returns the name and the roles that an ID token proves. Nonce is empty after a refresh.
func (p *provider) read(ctx context.Context, token *oauth2.Token, nonce string) (name string, roles []string, err error) {
	raw, _ := token.Extra("id_token").(string)
	id, err := p.verifier.Verify(ctx, raw)
	if err != nil {
		return "", nil, errors.New("the issuer's ID token does not hold")
	}
	if nonce != "" && subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(nonce)) != 1 {
		return "", nil, errors.New("the issuer's ID token belongs to another sign-in")
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return "", nil, errors.New("the claims of the ID token cannot be read")
	}
	return p.claimed(id.Subject, claims)
}

// claimed maps claims to a name and roles. Somebody without a role is refused.
func (p *provider) claimed(subject string, claims map[string]any) (name string, roles []string, err error) {
	name = subject
	if p.Name != "" {
		if text, _ := claims[p.Name].(string); text != "" {
			name = text
		}
	} else if mail, _ := claims["email"].(string); mail != "" && claims["email_verified"] == true {
		name = mail
	}
	groups, _ := claims[p.Groups].([]any)
	if one, ok := claims[p.Groups].(string); ok {
		groups = []any{one}
	}
	for _, g := range groups {
		text, _ := g.(string)
		if role := p.Roles[text]; role != "" && !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	if len(roles) == 0 {
		return name, nil, errors.New("no group of this account has a role here")
	}
	return name, roles, nil
}

// recheck reads the groups of a session again, if this process has not done so for ten minutes. Without an answer of
// the issuer the session ends: a role that nobody vouches for is no role.
func (g *Guard) recheck(ctx context.Context, id string, s session) (session, error) {
	key := sessionKey(id)
	if g.checkedLately(key) {
		return s, nil
	}
	secret, err := unseal(id, s.Sealed)
	if err != nil {
		return session{}, errors.Join(errNoSession, err)
	}
	var token oauth2.Token
	if err := json.Unmarshal(secret, &token); err != nil {
		return session{}, errors.Join(errNoSession, err)
	}
	asking, cancel := context.WithTimeout(oidc.ClientContext(ctx, g.oidc.client), issuerTimeout)
	defer cancel()
	fresh, err := g.oidc.oauth.TokenSource(asking, &token).Token()
	if err != nil {
		return session{}, errors.Join(errNoSession, g.sessions.End(ctx, key))
	}
	roles, err := g.oidc.again(asking, fresh)
	if err != nil {
		return session{}, errors.Join(errNoSession, g.sessions.End(ctx, key))
	}
	s.Roles = roles
	if secret, err = json.Marshal(fresh); err != nil {
		return session{}, err
	}
	if s.Sealed, err = seal(id, secret); err != nil {
		return session{}, err
	}
	data, err := json.Marshal(s)
	if err != nil {
		return session{}, err
	}
	if err := g.sessions.Keep(ctx, key, data); err != nil {
		return session{}, err
	}
	g.noteChecked(key)
	return s, nil
}

// again asks the issuer for the roles of an account that signed in before.
func (p *provider) again(ctx context.Context, token *oauth2.Token) ([]string, error) {
	if raw, _ := token.Extra("id_token").(string); raw != "" { // a refresh brought a new one
		_, roles, err := p.read(ctx, token, "")
		return roles, err
	}
	info, err := p.issuer.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return nil, err
	}
	var claims map[string]any
	if err := info.Claims(&claims); err != nil {
		return nil, err
	}
	_, roles, err := p.claimed(info.Subject, claims)
	return roles, err
}

func (g *Guard) checkedLately(key string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, ok := g.checked[key]
	return ok && time.Since(at) < recheckAfter
}

func (g *Guard) noteChecked(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.checked) >= maxChecked { // they are only asked again
		clear(g.checked)
	}
	g.checked[key] = time.Now()
}
