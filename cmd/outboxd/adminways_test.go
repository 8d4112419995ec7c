package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A proxy of a stated network names people; its groups are roles. The pages are below the base path.
func TestAdminBehindAProxy(t *testing.T) {
	w := newWorld(t)
	d := w.admin(t, "  base_path: /ops\n  proxy: {from: [127.0.0.0/8], user: X-Forwarded-User, groups: X-Forwarded-Groups, roles: {sre: operate, desk: read}}\n")
	sre := []string{"X-Forwarded-User: ada", "X-Forwarded-Groups: staff, sre"}
	d.call(t, "GET", "/api/v1/overview", "", sre...).want(t, 200)
	d.call(t, "POST", "/api/v1/lanes/sms/pause", `{"why":"x"}`, sre...).want(t, 200)
	d.call(t, "POST", "/api/v1/lanes/sms/resume", `{"why":"x"}`, "X-Forwarded-User: bob", "X-Forwarded-Groups: desk").want(t, 403)
	d.call(t, "GET", "/api/v1/overview", "", "X-Forwarded-User: eve", "X-Forwarded-Groups: others").want(t, 403)
	d.call(t, "GET", "/api/v1/overview", "").want(t, 401)
	if line := d.log.await(t, "audit", 1); line["who"] != "ada" || line["via"] != "proxy" {
		t.Errorf("the audit's line: %v", line)
	}
	if code, _ := get(t, strings.TrimSuffix(d.url, "/ops")+"/api/v1/overview"); code != 401 && code != 404 {
		t.Errorf("outside of the base path: %d", code)
	}
}

// With TLS the process serves by itself, and nothing else on that port.
func TestAdminTLS(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	pool := certificate(t, dir)
	d := w.admin(t, "  tls: {cert: "+filepath.Join(dir, "cert.pem")+", key: "+filepath.Join(dir, "key.pem")+"}\n")
	if !strings.HasPrefix(d.url, "https://") {
		t.Fatalf("it serves at %s", d.url)
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.url+"/api/v1/overview", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 {
		t.Errorf("status %d by %s", resp.StatusCode, resp.Proto)
	}
	if code, _ := get(t, strings.Replace(d.url, "https", "http", 1)+"/api/v1/overview"); code != 400 {
		t.Errorf("without TLS: %d", code)
	}
}

// certificate writes a certificate for loopback, and returns who trusts it.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "outboxd"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if parsed, err := x509.ParseCertificate(der); err == nil {
		pool.AddCert(parsed)
	}
	return pool
}

// The issuer of the configuration is asked at the start, and browsers are sent to it with the public URL to come back.
func TestAdminOIDC(t *testing.T) {
	w := newWorld(t)
	mux := http.NewServeMux()
	issuer := httptest.NewServer(mux)
	t.Cleanup(issuer.Close)
	mux.HandleFunc("GET /.well-known/openid-configuration", func(rw http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(rw).Encode(map[string]any{"issuer": issuer.URL, "authorization_endpoint": issuer.URL + "/auth", "token_endpoint": issuer.URL + "/token",
			"jwks_uri": issuer.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	config := "  public_url: https://ops.example.com\n  base_path: /ops\n  oidc: {issuer: " + issuer.URL + ", client_id: outboxd, roles: {sre: operate}}\n"
	w.env = append(w.env, "OUTBOXD_ADMIN_OIDC_SECRET=secret4711")
	d := w.admin(t, config)
	if page := d.call(t, "GET", "/login", "", "Host: ops.example.com").want(t, 200); !strings.Contains(page.body, "your organisation") {
		t.Errorf("the sign-in: %s", page.body)
	}
	to, err := url.Parse(d.call(t, "GET", "/oidc/start", "", "Host: ops.example.com").want(t, 303).header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	q := to.Query()
	if !strings.HasPrefix(to.String(), issuer.URL+"/auth?") || q.Get("redirect_uri") != "https://ops.example.com/ops/oidc/callback" || q.Get("client_id") != "outboxd" ||
		q.Get("code_challenge_method") != "S256" || q.Get("nonce") == "" {
		t.Errorf("browsers are sent to %s", to)
	}
	d.call(t, "GET", "/api/v1/overview", "", "Host: ops.example.com").want(t, 401)
	if strings.Contains(d.log.String(), "secret4711") {
		t.Error("the log has the client's secret")
	}
	issuer.Close()
	path := filepath.Join(t.TempDir(), "outboxd.yaml")
	if err := os.WriteFile(path, []byte("admin:\n"+config), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := must(t, exitFailed, append(w.env, "OUTBOXD_ADMIN_LISTEN=127.0.0.1:0"), "admin", "--config", path); !strings.Contains(r.err, "ask the OpenID issuer") {
		t.Errorf("without its issuer: %s", r.err)
	}
}
