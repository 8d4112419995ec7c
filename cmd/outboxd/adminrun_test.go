package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/admin/auth"
)

// adminProcess is `outboxd admin` in a process of its own.
type adminProcess struct {
	*process
	url, metrics string
}

// admin starts the process and returns once it serves. The configuration is what stands under `admin:`.
func (w *world) admin(t *testing.T, configuration string, args ...string) *adminProcess {
	t.Helper()
	path := filepath.Join(t.TempDir(), "outboxd.yaml")
	if configuration != "" {
		if err := os.WriteFile(path, []byte("admin:\n"+configuration), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	env := append(slices.Clone(w.env), "OUTBOXD_ADMIN_LISTEN=127.0.0.1:0", "OUTBOXD_ADMIN_METRICS_LISTEN=127.0.0.1:0")
	p := launch(t, env, append([]string{"admin", "--log-format", "json", "--log-level", "debug"}, args...)...)
	line := p.log.await(t, "serving operators", 1)
	return &adminProcess{p, strings.TrimSuffix(fmt.Sprint(line["url"]), "/"), "http://" + fmt.Sprint(line["metrics"])}
}

// tokens writes a tokens file with one token for each role, and returns its path and the secrets by role.
func tokens(t *testing.T, roles ...string) (path string, secrets map[string]string) {
	t.Helper()
	path, secrets = filepath.Join(t.TempDir(), "tokens"), make(map[string]string)
	var lines strings.Builder
	for _, role := range roles {
		secret, line, err := auth.NewToken("with-"+role, role)
		if err != nil {
			t.Fatal(err)
		}
		secrets[role] = secret
		lines.WriteString(line + "\n")
	}
	if err := os.WriteFile(path, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, secrets
}

// reply is an answer of the admin process.
type reply struct {
	status int
	body   string
	header http.Header
}

// field returns a part of the answer, by its path with dots.
func (r reply) field(path string) any {
	var doc any
	_ = json.Unmarshal([]byte(r.body), &doc) // what is no JSON has no fields
	for key := range strings.SplitSeq(path, ".") {
		m, _ := doc.(map[string]any)
		doc = m[key]
	}
	return doc
}

// call sends a request. Headers are "name: value"; a token goes as "Authorization: Bearer …".
func (d *adminProcess) call(t *testing.T, method, path, body string, headers ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, d.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	client := &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", method, path, err, d.log)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, string(all), resp.Header}
}

func bearer(secret string) string { return "Authorization: Bearer " + secret }

// want fails the test unless the answer has the status.
func (r reply) want(t *testing.T, status int) reply {
	t.Helper()
	if r.status != status {
		t.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
	return r
}

func inPath(id string) string { return base64.RawURLEncoding.EncodeToString([]byte(id)) }

// Whoever listens for others has to know who they are. Nothing is asked of the database before that is clear.
func TestAdminIsClosedByDefault(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path, _ := tokens(t, "nobody-knows")
	for name, c := range map[string]struct {
		args []string
		yaml string
		want string
	}{
		"all addresses":         {args: []string{"--listen", "0.0.0.0:0"}, want: "refusing to serve others without authentication"},
		"no host":               {args: []string{"--listen", ":8427"}, want: "admin.tokens_file"},
		"IPv6":                  {args: []string{"--listen", "[::]:0"}, want: "admin.oidc, admin.proxy"},
		"by the file":           {yaml: "admin: {listen: 192.0.2.1:8427}", want: "refusing to serve"},
		"public":                {args: []string{"--public-url", "https://ops.example.com"}, want: "refusing to serve"},
		"public, in clear":      {args: []string{"--public-url", "http://ops.example.com"}, yaml: "admin: {proxy: {from: [10.0.0.0/8], user: X-User, role: read}}", want: "must be https"},
		"a proxy that is all":   {args: []string{"--listen", "0.0.0.0:0"}, yaml: "admin: {proxy: {from: [0.0.0.0/0], user: X-User, role: read}}", want: "is everybody"},
		"a proxy without roles": {yaml: "admin: {proxy: {from: [10.0.0.0/8], user: X-User}}", want: "gives nobody a role"},
		"an unknown role":       {args: []string{"--tokens-file", path}, want: `the role "nobody-knows", which is not configured`},
		"a tokens file for all": {args: []string{"--tokens-file", write("open", "", 0o666)}, want: "can be written by others"},
		"no tokens file":        {args: []string{"--tokens-file", filepath.Join(dir, "gone")}, want: "read the tokens file"},
		"OIDC without URL":      {yaml: "admin: {oidc: {issuer: https://id.example, client_id: x, roles: {sre: operate}}}", want: "needs admin.public_url"},
		"half of TLS":           {yaml: "admin: {tls: {cert: /nowhere}}", want: "admin.tls"},
		"base path":             {args: []string{"--base-path", "ops/"}, want: "is no base path"},
		"unknown key":           {yaml: "admin: {lisen: x}", want: "outboxd.yaml:1: admin.lisen: is an unknown key"},
		"a right that is none":  {yaml: "admin: {roles: {oncall: [read, write]}}", want: "admin.roles.oncall[1]: must be the name of a right"},
		"mask":                  {yaml: "admin: {mask: [customer]}", want: "like metadata.customer_email"},
	} {
		args := append([]string{"admin"}, c.args...)
		if c.yaml != "" {
			sub := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			if err := os.Mkdir(sub, 0o700); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(sub, "outboxd.yaml")
			if err := os.WriteFile(file, []byte(c.yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, "--config", file)
		}
		if err := os.Chmod(filepath.Join(dir, "open"), 0o666); err != nil { // past the umask
			t.Fatal(err)
		}
		r := must(t, exitWrongUse, []string{"OUTBOXD_MONGODB_URI=mongodb://127.0.0.1:1/?replicaSet=none"}, args...)
		if !strings.Contains(r.err, c.want) {
			t.Errorf("%s: it does not say %q:\n%s", name, c.want, r.err)
		}
	}
}

// Without authentication, on loopback: a person at this machine reads and operates, and payloads stay masked.
func TestAdminOnLoopback(t *testing.T) {
	w := newWorld(t)
	w.insert(t, intent("sms", "one"))
	d := w.admin(t, "")
	if !strings.Contains(d.log.String(), "open to everybody on this machine") {
		t.Errorf("it does not say who gets in:\n%s", d.log)
	}
	d.call(t, "GET", "/api/v1/overview", "").want(t, 200)
	if shown := d.call(t, "GET", "/api/v1/intents/"+inPath("one"), "").want(t, 200); strings.Contains(shown.body, "4915112345678") || !strings.Contains(shown.body, "+49•••••678") {
		t.Errorf("not masked: %s", shown.body)
	}
	d.call(t, "POST", "/api/v1/intents/"+inPath("one")+"/payload", `{"why":"I want to"}`).want(t, 403)
	d.call(t, "POST", "/api/v1/lanes/sms/pause", `{"why":"the provider asked us to, says +4915112345678"}`).want(t, 200)
	acts := d.call(t, "GET", "/api/v1/audit", "").want(t, 200)
	for _, want := range []string{`"op":"pause"`, `"outcome":"done"`, `"who":"somebody on this machine"`, `"via":"loopback"`} {
		if !strings.Contains(acts.body, want) {
			t.Errorf("the audit lacks %s: %s", want, acts.body)
		}
	}
	line := d.log.await(t, "audit", 1)
	if line["op"] != "pause" || line["on"] != "sms" || line["outcome"] != "done" || line["before"] != "open" {
		t.Errorf("the audit's line: %v", line)
	}
	if text := d.log.String(); strings.Contains(text, "4915112345678") || strings.Contains(text, "secret4711") {
		t.Errorf("the log has personal data or a secret:\n%s", text)
	}
	if code, body := get(t, d.metrics+"/livez"); code != 200 || body != "ok\n" {
		t.Errorf("/livez: %d %s", code, body)
	}
	if code, body := get(t, d.metrics+"/readyz"); code != 200 || !strings.Contains(body, `"ready":true`) {
		t.Errorf("/readyz: %d %s", code, body)
	}
	_, page := get(t, d.metrics+"/metrics")
	for _, want := range []string{`outboxd_admin_requests_total{route="GET /api/v1/overview",status="2xx"} 1`, "outboxd_admin_reveals_total 0",
		`outboxd_jobs{state="running"} 0`, "outboxd_admin_request_duration_seconds_count"} {
		if !strings.Contains(page, want) {
			t.Errorf("/metrics lacks %s:\n%s", want, page)
		}
	}
	if code := d.call(t, "GET", "/metrics", "").status; code != 404 {
		t.Errorf("the metrics are on the operators' listener: %d", code)
	}
	d.signal(t, syscall.SIGTERM)
	if code := d.end(t); code != exitDone {
		t.Errorf("exit code %d\n%s", code, d.log)
	}
}

// Each operation of the description, with each role, over HTTP, on a real database.
func TestAdminRoleMatrix(t *testing.T) {
	w := newWorld(t)
	roles := []string{"read", "reveal", "operate", "approve"}
	path, secrets := tokens(t, roles...)
	d := w.admin(t, "", "--tokens-file", path)
	data, err := os.ReadFile("../../docs/api/admin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]struct {
			ID   string `yaml:"operationId"`
			Role string `yaml:"x-role"`
		} `yaml:"paths"`
	}
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if op.ID == "watch" { // a stream does not end
				continue
			}
			url := strings.NewReplacer("{id}", inPath("order-7"), "{kind}", "sms").Replace(path)
			body := ""
			if method == "post" {
				body = `{"why":"a test"}`
			}
			d.call(t, strings.ToUpper(method), url, body).want(t, 401)
			for _, role := range roles {
				tried++
				r := d.call(t, strings.ToUpper(method), url, body, bearer(secrets[role]))
				may := role == op.Role || op.Role == "read" // each of these roles reads as well
				if (r.status != 403) != may || r.status >= 500 || r.status == 401 {
					t.Errorf("%s with %s (needs %s): %d %s", op.ID, role, op.Role, r.status, r.body)
				}
			}
		}
	}
	d.call(t, "GET", "/api/v1/openapi.json", "").want(t, 401)
	if r := d.call(t, "GET", "/api/v1/openapi.json", "", bearer(secrets["read"])).want(t, 200); r.field("openapi") != "3.1.0" {
		t.Errorf("the description: %.200s", r.body)
	}
	if tried < 80 {
		t.Errorf("only %d were tried", tried)
	}
	capped := w.admin(t, "", "--tokens-file", path, "--read-only")
	for _, role := range roles {
		for url, want := range map[string]int{"/api/v1/lanes/sms/pause": 403, "/api/v1/intents/" + inPath("x") + "/payload": 403, "/api/v1/jobs": 403} {
			capped.call(t, "POST", url, `{"why":"a test"}`, bearer(secrets[role])).want(t, want)
		}
		capped.call(t, "GET", "/api/v1/lanes", "", bearer(secrets[role])).want(t, 200)
	}
}

// Roles of the configuration: sets of rights, for some kinds alone.
func TestAdminConfiguredRoles(t *testing.T) {
	w := newWorld(t)
	w.insert(t, intent("sms", "text"), intent("email", "mail"))
	path, secrets := tokens(t, "support", "oncall")
	d := w.admin(t, "  tokens_file: "+path+"\n  roles:\n    oncall: [read, operate, approve]\n    support: {rights: [read, reveal], kinds: [email]}\n  audit: {kept: 24h}\n")
	d.call(t, "POST", "/api/v1/intents/"+inPath("mail")+"/payload", `{"why":"ticket 7"}`, bearer(secrets["support"])).want(t, 200)
	d.call(t, "POST", "/api/v1/intents/"+inPath("text")+"/payload", `{"why":"ticket 7"}`, bearer(secrets["support"])).want(t, 403)
	d.call(t, "GET", "/api/v1/intents/"+inPath("text"), "", bearer(secrets["support"])).want(t, 403)
	d.call(t, "POST", "/api/v1/lanes/sms/pause", `{"why":"x"}`, bearer(secrets["support"])).want(t, 403)
	d.call(t, "POST", "/api/v1/lanes/sms/pause", `{"why":"x"}`, bearer(secrets["oncall"])).want(t, 200)
	if line := d.log.await(t, "audit", 1); line["op"] != "reveal" || line["who"] != "with-support" {
		t.Errorf("the reveal's line: %v", line)
	}
	if _, page := get(t, d.metrics+"/metrics"); !strings.Contains(page, "outboxd_admin_reveals_total 1") {
		t.Error("the reveal is not counted")
	}
	var act struct {
		At      time.Time
		PurgeAt time.Time `bson:"purge_at"`
	}
	if err := w.db.Collection("outbox_audit").FindOne(t.Context(), bson.D{{Key: "op", Value: "reveal"}}).Decode(&act); err != nil || act.PurgeAt.Sub(act.At) != 24*time.Hour {
		t.Errorf("the record is kept from %v until %v, %v", act.At, act.PurgeAt, err)
	}
}

// A session begins at one process, is good at another, and ends at both.
func TestAdminSessionsAreShared(t *testing.T) {
	w := newWorld(t)
	path, secrets := tokens(t, "operate")
	one, two := w.admin(t, "", "--tokens-file", path), w.admin(t, "", "--tokens-file", path)
	in := one.call(t, "POST", "/login", "token="+secrets["operate"], "Content-Type: application/x-www-form-urlencoded", "Origin: "+one.url).want(t, 303)
	set := in.header.Get("Set-Cookie")
	cookie := "Cookie: " + strings.Split(set, ";")[0]
	if !strings.Contains(set, "HttpOnly") || !strings.Contains(set, "SameSite=Strict") {
		t.Errorf("the cookie: %s", set)
	}
	for _, d := range []*adminProcess{one, two} {
		d.call(t, "GET", "/api/v1/overview", "", cookie).want(t, 200)
	}
	two.call(t, "POST", "/api/v1/lanes/sms/pause", `{"why":"x"}`, cookie, "Origin: "+two.url).want(t, 200)
	raw, err := w.db.Collection("outbox_sessions").FindOne(t.Context(), bson.D{}).Raw()
	if err != nil || time.Until(raw.Lookup("purge_at").Time()) > 31*time.Minute {
		t.Errorf("the session: %v %v", raw, err)
	}
	if value := strings.TrimPrefix(cookie, "Cookie: outboxd="); strings.Contains(raw.String(), value) {
		t.Error("who reads the database can sign in")
	}
	two.call(t, "POST", "/logout", "", cookie, "Origin: "+two.url).want(t, 303)
	for _, d := range []*adminProcess{one, two} {
		d.call(t, "GET", "/api/v1/overview", "", cookie).want(t, 401)
	}
}
