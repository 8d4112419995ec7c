package auth_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outboxd/outboxd/admin/auth"
)

// kept keeps sessions in memory; time is what the test says.
type kept struct {
	mu     sync.Mutex
	now    time.Time
	all    map[string]*keptSession
	broken error
}

type keptSession struct {
	data       []byte
	ends, idle time.Time
}

func newKept() *kept { return &kept{now: time.Unix(0, 0), all: make(map[string]*keptSession)} }

func (k *kept) Start(_ context.Context, key, _ string, data []byte, life, idle time.Duration) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all[key] = &keptSession{data: data, ends: k.now.Add(life), idle: k.now.Add(idle)}
	return k.broken
}

func (k *kept) Use(_ context.Context, key string, idle time.Duration) ([]byte, bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.all[key]
	if k.broken != nil || s == nil || !k.now.Before(s.ends) || !k.now.Before(s.idle) {
		return nil, false, k.broken
	}
	s.idle = k.now.Add(idle)
	return s.data, true, nil
}

func (k *kept) Keep(_ context.Context, key string, data []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.all[key]; s != nil {
		s.data = data
	}
	return k.broken
}

func (k *kept) End(_ context.Context, key string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.all, key)
	return k.broken
}

func (k *kept) pass(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now = k.now.Add(d)
}

// place is a guard behind a real server.
type place struct {
	*httptest.Server
	sessions *kept
	log      *bytes.Buffer
	failed   int
}

// echo answers who came in, and what they may do.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	p, ok := auth.From(r.Context())
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	fmt.Fprintf(w, "%v %s via %s role %s:", ok, p.Name, p.Via, p.Role)
	for _, right := range auth.Rights() {
		if p.Can(right) {
			fmt.Fprintf(w, " %s", right)
		}
	}
})

func serve(t *testing.T, c auth.Config) *place {
	t.Helper()
	p := &place{sessions: newKept(), log: new(bytes.Buffer)}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:8427"
	}
	c.Sessions, c.Logger = p.sessions, slog.New(slog.NewTextHandler(p.log, nil))
	c.Failed = func(string) { p.failed++ }
	g, err := auth.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	p.Server = httptest.NewServer(g.Wrap(echo))
	t.Cleanup(p.Close)
	return p
}

// tokens makes one token for each role, and returns the secrets by role.
func tokens(t *testing.T, roles ...string) (*auth.Tokens, map[string]string) {
	t.Helper()
	secrets, file := make(map[string]string), "# tokens\n\n"
	for _, role := range roles {
		secret, line, err := auth.NewToken("of-"+role, role)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, secret) {
			t.Error("the line holds the secret")
		}
		secrets[role] = secret
		file += line + "\n"
	}
	read, err := auth.ReadTokens(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return read, secrets
}

// ask sends one request. Headers are pairs; Host sets the host.
func (p *place) ask(t *testing.T, method, path, body string, headers ...string) (status int, text string, head http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.URL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	raw, query, _ := strings.Cut(path, "?")
	req.URL.Opaque = raw // exactly as written
	req.URL.RawQuery = query
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Add(headers[i], headers[i+1])
	}
	client := &http.Client{Transport: p.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(all), resp.Header
}

const form = "application/x-www-form-urlencoded"

// signIn returns the session's cookie.
func (p *place) signIn(t *testing.T, secret string) string {
	t.Helper()
	status, text, head := p.ask(t, "POST", "/login", url.Values{"token": {secret}, "next": {"/dead"}}.Encode(), "Content-Type", form, "Sec-Fetch-Site", "same-origin")
	if status != http.StatusSeeOther || head.Get("Location") != "/dead" {
		t.Fatalf("signing in: %d %s", status, text)
	}
	cookie, _, _ := strings.Cut(head.Get("Set-Cookie"), ";")
	return cookie
}

func TestAttacks(t *testing.T) {
	read, secrets := tokens(t, "operate")
	p := serve(t, auth.Config{Tokens: read, Proxy: &auth.Proxy{From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, User: "X-Forwarded-User", Role: "operate"}})
	bearer := "Bearer " + secrets["operate"]
	cookie := p.signIn(t, secrets["operate"])
	_, other, _ := strings.Cut(bearer, "_")
	for _, c := range []struct {
		attack, method, path, body string
		headers                    []string
		status                     int
		code                       string
	}{
		{"no token", "GET", "/api/v1/overview", "", nil, 401, "unauthenticated"},
		{"wrong token", "GET", "/api/v1/overview", "", []string{"Authorization", "Bearer outboxd_of-operate_" + strings.Repeat("A", 43)}, 401, "unauthenticated"},
		{"token of nobody", "GET", "/api/v1/overview", "", []string{"Authorization", "Bearer outboxd_nobody_" + other}, 401, "unauthenticated"},
		{"basic instead of bearer", "GET", "/api/v1/overview", "", []string{"Authorization", "Basic b3A6b3A="}, 401, "unauthenticated"},
		{"invented session", "GET", "/api/v1/overview", "", []string{"Cookie", "outboxd=" + strings.Repeat("A", 43)}, 401, "unauthenticated"},
		{"forged proxy header", "GET", "/", "", []string{"X-Forwarded-User", "root"}, 400, "forged_proxy_header"},
		{"forged proxy header beside a token", "GET", "/", "", []string{"X-Forwarded-User", "root", "Authorization", bearer}, 400, "forged_proxy_header"},
		{"CSRF: Sec-Fetch-Site", "POST", "/api/v1/lanes/sms/pause", "{}", []string{"Cookie", cookie, "Sec-Fetch-Site", "cross-site"}, 403, "cross_origin"},
		{"CSRF: a sibling domain", "POST", "/api/v1/lanes/sms/pause", "{}", []string{"Cookie", cookie, "Sec-Fetch-Site", "same-site"}, 403, "cross_origin"},
		{"CSRF: Origin", "POST", "/api/v1/lanes/sms/pause", "{}", []string{"Cookie", cookie, "Origin", "https://evil.example"}, 403, "cross_origin"},
		{"CSRF: Origin null", "POST", "/api/v1/lanes/sms/pause", "{}", []string{"Cookie", cookie, "Origin", "null"}, 403, "cross_origin"},
		{"CSRF: neither header", "POST", "/api/v1/lanes/sms/pause", "{}", []string{"Cookie", cookie}, 403, "origin_missing"},
		{"CSRF: sign-in of somebody else", "POST", "/login", "token=x", []string{"Content-Type", form, "Origin", "https://evil.example"}, 403, "cross_origin"},
		{"DNS rebinding", "GET", "/", "", []string{"Host", "evil.example:8427", "Authorization", bearer}, 421, "wrong_host"},
		{"DNS rebinding: a name with localhost", "GET", "/", "", []string{"Host", "localhost.evil.example", "Authorization", bearer}, 421, "wrong_host"},
		{"path: ..", "GET", "/api/../dead", "", []string{"Authorization", bearer}, 400, "bad_path"},
		{"path: encoded ..", "GET", "/api/%2e%2e/dead", "", []string{"Authorization", bearer}, 400, "bad_path"},
		{"path: encoded slash", "GET", "/i/..%2fdead", "", []string{"Authorization", bearer}, 400, "bad_path"},
		{"path: double slash", "GET", "/a//evil.example/", "", []string{"Authorization", bearer}, 400, "bad_path"},
		{"path: of another host", "GET", "//evil.example/", "", []string{"Authorization", bearer}, 421, "wrong_host"},
		{"path: backslash", "GET", "/%5cevil.example", "", []string{"Authorization", bearer}, 400, "bad_path"},
		{"path: NUL", "GET", "/i/a%00b", "", []string{"Authorization", bearer}, 400, "bad_path"},
		{"path: encoded twice", "GET", "/i/%252e%252e", "", []string{"Authorization", bearer}, 400, "bad_path"},
		{"path: parameters", "GET", "/login;/../dead", "", []string{"Authorization", bearer}, 400, "bad_path"},
		{"filter of 10,000 bytes", "GET", "/intents?id=" + strings.Repeat("a", 10_000), "", []string{"Authorization", bearer}, 414, "query_too_long"},
		{"filter of 10⁶ bytes in a body", "POST", "/api/v1/jobs", strings.Repeat("a", 1_000_000), []string{"Authorization", bearer}, 413, "body_too_large"},
		{"header of 20 KiB", "GET", "/", "", []string{"Authorization", bearer, "X-A", strings.Repeat("a", 20<<10)}, 431, "header_too_large"},
	} {
		status, text, head := p.ask(t, c.method, c.path, c.body, c.headers...)
		if status != c.status || !strings.Contains(text, `"code":"`+c.code+`"`) {
			t.Errorf("%s: got %d %s, want %d %s", c.attack, status, text, c.status, c.code)
		}
		for _, name := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy", "Cache-Control"} {
			if head.Get(name) == "" {
				t.Errorf("%s: the answer lacks %s", c.attack, name)
			}
		}
	}
	if !strings.Contains(p.log.String(), "refused a header of the proxy") {
		t.Error("the forged header is not in the log")
	}
	if strings.Contains(p.log.String(), secrets["operate"]) {
		t.Error("the log shows a token")
	}
	for name, headers := range map[string][]string{
		"token":  {"Authorization", bearer},
		"cookie": {"Cookie", cookie, "Sec-Fetch-Site", "same-origin"},
		"origin": {"Cookie", cookie, "Origin", p.URL},
	} {
		if status, text, _ := p.ask(t, "POST", "/api/v1/lanes/sms/pause", "{}", headers...); status != 200 || text != "true of-operate via token role operate: read operate" {
			t.Errorf("%s: got %d %s", name, status, text)
		}
	}
}

// A body whose length nobody says is cut where the limit is.
func TestBodyWithoutLength(t *testing.T) {
	read, secrets := tokens(t, "read")
	p := serve(t, auth.Config{Tokens: read})
	req, err := http.NewRequestWithContext(t.Context(), "POST", p.URL+"/x", struct{ io.Reader }{strings.NewReader(strings.Repeat("a", auth.MaxBody+1))})
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secrets["read"])
	resp, err := p.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("got %s", resp.Status)
	}
}

func TestFailedSignInsAreLimited(t *testing.T) {
	read, secrets := tokens(t, "read")
	p := serve(t, auth.Config{Tokens: read})
	wrong := "Bearer outboxd_of-read_" + strings.Repeat("A", 43)
	for i := range 5 {
		if status, _, _ := p.ask(t, "GET", "/", "", "Authorization", wrong); status != 401 {
			t.Fatalf("attempt %d: %d", i, status)
		}
	}
	status, text, head := p.ask(t, "GET", "/", "", "Authorization", wrong)
	if status != 429 || head.Get("Retry-After") == "" {
		t.Errorf("the sixth attempt: %d %s", status, text)
	}
	if status, _, _ := p.ask(t, "GET", "/", "", "Authorization", "Bearer "+secrets["read"]); status != 429 {
		t.Errorf("the right token under the name that is locked: %d", status)
	}
	if p.failed != 7 {
		t.Errorf("%d failures were counted, want 7", p.failed)
	}
	for i := range 30 { // other names are of the same address
		status, _, _ = p.ask(t, "GET", "/", "", "Authorization", fmt.Sprintf("Bearer outboxd_name%d_%s", i, strings.Repeat("A", 43)))
	}
	if status != 429 {
		t.Errorf("the 35th attempt of an address under ever new names: %d", status)
	}
}

// Whoever signed in right is not locked out by somebody who guesses under the same name.
func TestKnownTokenIsNotLockedOut(t *testing.T) {
	read, secrets := tokens(t, "read")
	p := serve(t, auth.Config{Tokens: read})
	right, wrong := "Bearer "+secrets["read"], "Bearer outboxd_of-read_"+strings.Repeat("A", 43)
	for _, header := range []string{right, wrong, wrong, wrong, wrong, wrong, wrong} {
		p.ask(t, "GET", "/", "", "Authorization", header)
	}
	if status, text, _ := p.ask(t, "GET", "/", "", "Authorization", right); status != 200 {
		t.Errorf("got %d %s", status, text)
	}
}

func TestSession(t *testing.T) {
	read, secrets := tokens(t, "read")
	p := serve(t, auth.Config{Tokens: read})
	in := func(cookie string) bool {
		status, _, _ := p.ask(t, "GET", "/", "", "Cookie", cookie)
		return status == 200
	}
	_, _, head := p.ask(t, "POST", "/login", "token="+secrets["read"], "Content-Type", form, "Sec-Fetch-Site", "same-origin")
	for _, want := range []string{"outboxd=", "HttpOnly", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(head.Get("Set-Cookie"), want) {
			t.Errorf("the cookie lacks %s: %s", want, head.Get("Set-Cookie"))
		}
	}
	idle := p.signIn(t, secrets["read"])
	for key := range p.sessions.all {
		if strings.Contains(idle, key) {
			t.Error("the store holds the cookie")
		}
	}
	p.sessions.pass(auth.SessionIdle - time.Second)
	if !in(idle) {
		t.Error("a session ended before it was idle")
	}
	p.sessions.pass(auth.SessionIdle)
	if in(idle) {
		t.Error("an idle session goes on")
	}
	long := p.signIn(t, secrets["read"])
	for range 17 { // used every half hour, it ends after eight hours nevertheless
		p.sessions.pass(auth.SessionIdle - time.Second)
		in(long)
	}
	if in(long) {
		t.Error("a session lives longer than its life")
	}
	out := p.signIn(t, secrets["read"])
	if status, _, _ := p.ask(t, "POST", "/logout", "", "Cookie", out, "Sec-Fetch-Site", "same-origin"); status != http.StatusSeeOther || in(out) {
		t.Errorf("signing out: %d, and the cookie still works: %v", status, in(out))
	}
	p.sessions.broken = net.ErrClosed
	if status, text, _ := p.ask(t, "GET", "/", "", "Cookie", out); status != 503 || strings.Contains(text, "closed") {
		t.Errorf("without a store: %d %s", status, text)
	}
}

func TestSignInGoesOnOnlyHere(t *testing.T) {
	read, secrets := tokens(t, "read")
	p := serve(t, auth.Config{Tokens: read, BasePath: "/ops"})
	for next, want := range map[string]string{
		"/ops/dead?kind=sms": "/ops/dead?kind=sms", "https://evil.example/ops/": "/ops/", "//evil.example": "/ops/",
		"/elsewhere": "/ops/", "/ops/\\evil": "/ops/", "javascript:alert(1)": "/ops/", "": "/ops/",
	} {
		_, _, head := p.ask(t, "POST", "/ops/login", url.Values{"token": {secrets["read"]}, "next": {next}}.Encode(), "Content-Type", form, "Sec-Fetch-Site", "same-origin")
		if head.Get("Location") != want {
			t.Errorf("next=%s goes to %s, want %s", next, head.Get("Location"), want)
		}
	}
	status, _, head := p.ask(t, "GET", "/ops/dead?kind=sms", "", "Accept", "text/html")
	if status != http.StatusSeeOther || head.Get("Location") != "/ops/login?next=%2Fops%2Fdead%3Fkind%3Dsms" {
		t.Errorf("a browser without a session: %d %s", status, head.Get("Location"))
	}
	if _, text, _ := p.ask(t, "GET", `/ops/login?next=/ops/%22%3E%3Cscript%3E`, ""); strings.Contains(text, "<script") {
		t.Errorf("the form repeats a script: %s", text)
	}
}

func TestRolesAreSets(t *testing.T) {
	read, secrets := tokens(t, "oncall", "support", "read", "approve")
	c := auth.Config{Tokens: read, Roles: auth.Roles{
		"oncall": {Rights: []auth.Right{auth.Read, auth.Operate}}, "support": {Rights: []auth.Right{auth.Read, auth.Reveal}},
		"read": {Rights: []auth.Right{auth.Read}}, "approve": {Rights: []auth.Right{auth.Approve}},
	}}
	for _, readOnly := range []bool{false, true} {
		c.ReadOnly = readOnly
		p := serve(t, c)
		for role, want := range map[string]string{"oncall": " read operate", "support": " read reveal", "read": " read", "approve": " approve"} {
			if readOnly {
				want = map[bool]string{true: " read"}[role != "approve"]
			}
			if _, text, _ := p.ask(t, "GET", "/", "", "Authorization", "Bearer "+secrets[role]); text != "true of-"+role+" via token role "+role+":"+want {
				t.Errorf("read-only %v, %s: %s", readOnly, role, text)
			}
		}
	}
}

func TestOpenOnLoopback(t *testing.T) {
	p := serve(t, auth.Config{})
	if status, text, _ := p.ask(t, "GET", "/", ""); status != 200 || text != "true somebody on this machine via loopback role : read operate" {
		t.Errorf("got %d %s", status, text)
	}
	if status, text, _ := p.ask(t, "GET", "/", "", "X-Forwarded-For", "203.0.113.9"); status != 403 {
		t.Errorf("through a proxy: %d %s", status, text)
	}
	if status, text, _ := p.ask(t, "POST", "/", "", "Sec-Fetch-Site", "cross-site"); status != 403 {
		t.Errorf("from another site: %d %s", status, text)
	}
}

func TestProxy(t *testing.T) {
	proxy := &auth.Proxy{
		From: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, User: "X-Forwarded-User", Groups: "X-Forwarded-Groups",
		Roles: map[string]string{"sre": "operate", "helpdesk": "reveal"},
	}
	p := serve(t, auth.Config{Listen: "0.0.0.0:8427", Proxy: proxy})
	for name, c := range map[string]struct {
		headers []string
		status  int
		text    string
	}{
		"two groups":  {[]string{"X-Forwarded-User", "ada", "X-Forwarded-Groups", "sre, helpdesk,other"}, 200, "true ada via proxy role operate,reveal: read reveal operate"},
		"no role":     {[]string{"X-Forwarded-User", "bob", "X-Forwarded-Groups", "other"}, 200, "true bob via proxy role :"},
		"two persons": {[]string{"X-Forwarded-User", "ada", "X-Forwarded-User", "root"}, 401, ""},
		"no name":     {[]string{"X-Forwarded-Groups", "sre"}, 401, ""},
		"nobody":      {nil, 401, ""},
	} {
		if status, text, _ := p.ask(t, "GET", "/", "", c.headers...); status != c.status || c.text != "" && text != c.text {
			t.Errorf("%s: got %d %s", name, status, text)
		}
	}
}

func TestCheck(t *testing.T) {
	read, _ := tokens(t, "read")
	parse := func(text string) *url.URL {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for name, c := range map[string]struct {
		config auth.Config
		want   string // empty: it may start
	}{
		"loopback":                   {auth.Config{Listen: "127.0.0.1:8427"}, ""},
		"loopback v6":                {auth.Config{Listen: "[::1]:8427"}, ""},
		"everywhere":                 {auth.Config{Listen: ":8427"}, "admin.tokens_file"},
		"everywhere with tokens":     {auth.Config{Listen: ":8427", Tokens: read}, ""},
		"off loopback":               {auth.Config{Listen: "10.0.0.1:8427"}, "admin.oidc"},
		"loopback, public elsewhere": {auth.Config{Listen: "127.0.0.1:8427", PublicURL: parse("https://ops.example")}, "admin.proxy"},
		"public without TLS":         {auth.Config{Listen: ":8427", Tokens: read, PublicURL: parse("http://ops.example")}, "https"},
		"base path":                  {auth.Config{Listen: "127.0.0.1:8427", BasePath: "/ops/"}, "base path"},
		"no such role":               {auth.Config{Listen: ":8427", Tokens: read, Roles: auth.Roles{"x": {Rights: []auth.Right{auth.Read}}}}, "of-read"},
		"no such right":              {auth.Config{Listen: "127.0.0.1:1", Roles: auth.Roles{"x": {Rights: []auth.Right{"root"}}}}, `"root"`},
		"a proxy from everywhere":    {auth.Config{Listen: ":1", Proxy: &auth.Proxy{From: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, User: "X-U", Role: "read"}}, "everybody"},
	} {
		err := c.config.Check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestTokensFileIsRefused(t *testing.T) {
	_, line, err := auth.NewToken("ci", "read")
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{
		"twice":      line + "\n" + line,
		"cheap hash": strings.Replace(line, "t=2", "t=1", 1),
		"plain text": "ci read hunter2",
		"two fields": "ci read",
		"cut":        line[:len(line)-5],
	} {
		if _, err := auth.ReadTokens(strings.NewReader(file)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", "a b", "a_b", "ä", strings.Repeat("a", 65)} {
		if _, _, err := auth.NewToken(name, "read"); err == nil {
			t.Errorf("the name %q is accepted", name)
		}
	}
}
