package auth_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/outboxd/outboxd/admin/auth"
)

// issuer is an OpenID provider in this process. It checks PKCE, and signs with its own key.
type issuer struct {
	*httptest.Server
	key *rsa.PrivateKey

	mu        sync.Mutex
	groups    []string
	challenge string
	nonce     string
	lifetime  int    // of access tokens, seconds
	audience  string // of ID tokens
	forge     string // replaces the nonce
	refreshes int
	revoked   bool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key, groups: []string{"sre"}, lifetime: 3600, audience: "outboxd"}
	mux := http.NewServeMux()
	say := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		say(w, map[string]any{"issuer": i.URL, "authorization_endpoint": i.URL + "/auth", "token_endpoint": i.URL + "/token",
			"jwks_uri": i.URL + "/keys", "userinfo_endpoint": i.URL + "/me", "id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		say(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("GET /me", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		say(w, map[string]any{"sub": "u1", "groups": i.groups})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		refresh := r.PostFormValue("grant_type") == "refresh_token"
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if i.revoked || !refresh && base64.RawURLEncoding.EncodeToString(sum[:]) != i.challenge {
			w.WriteHeader(http.StatusBadRequest)
			say(w, map[string]string{"error": "invalid_grant"})
			return
		}
		claims := map[string]any{"iss": i.URL, "sub": "u1", "aud": i.audience, "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
			"email": "ada@shop.example", "email_verified": true, "groups": i.groups}
		if refresh {
			i.refreshes++
		} else {
			claims["nonce"] = i.nonce
			if i.forge != "" {
				claims["nonce"] = i.forge
			}
		}
		say(w, map[string]any{"access_token": "at", "refresh_token": "rt", "token_type": "Bearer", "expires_in": i.lifetime, "id_token": i.sign(t, claims)})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) sign(t *testing.T, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: i.key, KeyID: "1"}}, nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	data, err := json.Marshal(claims)
	if err != nil {
		t.Error(err)
		return ""
	}
	signed, err := signer.Sign(data)
	if err != nil {
		t.Error(err)
		return ""
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Error(err)
	}
	return text
}

func (i *issuer) config() auth.Config {
	return auth.Config{OIDC: &auth.OIDC{Issuer: i.URL, ClientID: "outboxd", ClientSecret: "s", RedirectURL: "http://127.0.0.1:8427/oidc/callback",
		Roles: map[string]string{"sre": "operate", "helpdesk": "reveal"}}}
}

// begin goes to the issuer, as a browser does. It returns the state and the cookie that the browser keeps.
func (i *issuer) begin(t *testing.T, p *place) (state, cookie string) {
	t.Helper()
	status, text, head := p.ask(t, "GET", "/oidc/start?next=/dead", "")
	if status != http.StatusSeeOther {
		t.Fatalf("start: %d %s", status, text)
	}
	to, err := url.Parse(head.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(head.Get("Set-Cookie"), "HttpOnly") || !strings.Contains(head.Get("Set-Cookie"), "SameSite=Lax") {
		t.Errorf("the cookie of the flow: %s", head.Get("Set-Cookie"))
	}
	q := to.Query()
	if q.Get("code_challenge_method") != "S256" || q.Get("nonce") == "" || q.Get("state") == "" {
		t.Errorf("the request to the issuer lacks PKCE, nonce or state: %s", to)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.challenge, i.nonce = q.Get("code_challenge"), q.Get("nonce")
	cookie, _, _ = strings.Cut(head.Get("Set-Cookie"), ";")
	return q.Get("state"), cookie
}

func sessionOf(head http.Header) string {
	for _, c := range head.Values("Set-Cookie") {
		if one, _, _ := strings.Cut(c, ";"); strings.HasPrefix(one, "outboxd=") {
			return one
		}
	}
	return ""
}

func TestOIDC(t *testing.T) {
	i := newIssuer(t)
	p := serve(t, i.config())
	state, flow := i.begin(t, p)
	status, text, head := p.ask(t, "GET", "/oidc/callback?code=c&state="+state, "", "Cookie", flow, "Sec-Fetch-Site", "cross-site")
	cookie := sessionOf(head)
	if status != 200 || cookie == "" || !strings.Contains(text, "url=/dead") {
		t.Fatalf("callback: %d %s %v", status, text, head)
	}
	if _, text, _ := p.ask(t, "GET", "/", "", "Cookie", cookie); text != "true ada@shop.example via oidc role operate: read operate" {
		t.Errorf("got %s", text)
	}
	for _, s := range p.sessions.all {
		if strings.Contains(string(s.data), `"rt"`) {
			t.Error("the store can read the refresh token")
		}
	}
}

func TestOIDCAttacks(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*issuer)
		path string // %s: the state
		flow bool   // the browser sends its cookie
	}{
		"no flow of this browser": {nil, "/oidc/callback?code=c&state=%s", false},
		"another state":           {nil, "/oidc/callback?code=c&state=x%s", true},
		"no state":                {nil, "/oidc/callback?code=c", true},
		"refused at the issuer":   {nil, "/oidc/callback?error=%%3Cscript%%3E&state=%s", true},
		"another verifier":        {func(i *issuer) { i.challenge = "x" }, "/oidc/callback?code=c&state=%s", true},
		"another nonce":           {func(i *issuer) { i.forge = "x" }, "/oidc/callback?code=c&state=%s", true},
		"of another client":       {func(i *issuer) { i.audience = "wiki" }, "/oidc/callback?code=c&state=%s", true},
		"in no group":             {func(i *issuer) { i.groups = []string{"sales"} }, "/oidc/callback?code=c&state=%s", true},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			p := serve(t, i.config())
			state, flow := i.begin(t, p)
			if c.set != nil {
				i.mu.Lock()
				c.set(i)
				i.mu.Unlock()
			}
			var headers []string
			if c.flow {
				headers = []string{"Cookie", flow}
			}
			status, text, head := p.ask(t, "GET", strings.ReplaceAll(strings.ReplaceAll(c.path, "%s", state), "%%", "%"), "", headers...)
			if status != http.StatusUnauthorized || sessionOf(head) != "" || strings.Contains(text, "<script") || p.failed != 1 {
				t.Errorf("got %d %s, cookie %q, %d failures counted", status, text, sessionOf(head), p.failed)
			}
		})
	}
}

// A group that was taken away ends the rights at the next check; an account that was closed ends the session.
// Another process has not checked yet, so it stands for the ten minutes.
func TestOIDCGroupsAreReadAgain(t *testing.T) {
	for _, lifetime := range []int{3600, 1} { // by userinfo, and by a refresh
		i := newIssuer(t)
		i.lifetime = lifetime
		p := serve(t, i.config())
		state, flow := i.begin(t, p)
		_, _, head := p.ask(t, "GET", "/oidc/callback?code=c&state="+state, "", "Cookie", flow)
		cookie := sessionOf(head)
		p.ask(t, "GET", "/", "", "Cookie", cookie) // this process has checked
		i.mu.Lock()
		i.groups = []string{"helpdesk"}
		i.mu.Unlock()
		if _, text, _ := p.ask(t, "GET", "/", "", "Cookie", cookie); !strings.Contains(text, "role operate") {
			t.Errorf("within ten minutes: %s", text)
		}
		other := i.config()
		next := serve(t, other)
		next.sessions.all = p.sessions.all
		if _, text, _ := next.ask(t, "GET", "/", "", "Cookie", cookie); !strings.Contains(text, "role reveal: read reveal") {
			t.Errorf("after the group changed: %s", text)
		}
		i.mu.Lock()
		i.groups, i.revoked = nil, true
		i.mu.Unlock()
		last := serve(t, other)
		last.sessions.all = p.sessions.all
		if status, text, _ := last.ask(t, "GET", "/", "", "Cookie", cookie); status != http.StatusUnauthorized {
			t.Errorf("after the account was closed: %d %s", status, text)
		}
		if status, _, _ := p.ask(t, "GET", "/", "", "Cookie", cookie); status != http.StatusUnauthorized {
			t.Errorf("the session goes on elsewhere: %d", status)
		}
		if lifetime == 1 && i.refreshes == 0 {
			t.Error("nothing was refreshed")
		}
	}
}
