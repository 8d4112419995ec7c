package config

import (
	"cmp"
	"crypto/tls"
	"net/url"
	"time"

	"github.com/outboxd/outboxd/admin/auth"
)

// Defaults of `outboxd admin`.
const (
	DefaultAdminListen  = "127.0.0.1:8427"
	DefaultAdminMetrics = "127.0.0.1:8428"
)

// VariableOIDCSecret holds the secret of the client that the OpenID issuer knows.
const VariableOIDCSecret = "OUTBOXD_ADMIN_OIDC_SECRET" //nolint:gosec // A variable's name.

// Admin is the configuration of `outboxd admin`.
type Admin struct {
	Policies
	Mongo       Mongo
	Providers   Providers // that can be asked; none is needed
	EmailEvents string    // as of a worker
	// Auth says who gets in. Its sessions, logger and what counts failures are the caller's to add.
	Auth          auth.Config
	TLS           *tls.Certificate // nil: plain HTTP
	MetricsListen string
	Drain         time.Duration // for requests and a job's batch to end after the first signal
	Mask          []string      // keys of metadata whose values are masked
	AuditKept     time.Duration // negative: for good
	Approval      int           // charges above which a job needs a second person
}

// LoadAdmin reads the configuration of the admin process. Listening off loopback without authentication is a problem.
func LoadAdmin(src Source) (Admin, error) {
	r := &reader{Source: src}
	mongo, mongoErr := LoadMongo(src)
	a := Admin{Mongo: mongo, Providers: r.providers(), Policies: r.policies(), EmailEvents: r.emailEvents(mongo)}
	keys := a.Policies.admin
	a.MetricsListen = r.address(setting{"metrics-listen", "OUTBOXD_ADMIN_METRICS_LISTEN", keys.metricsListen})
	a.Drain = r.duration(setting{"drain", "OUTBOXD_DRAIN", DefaultDrain}, 0)
	a.Mask, a.Approval, a.AuditKept = keys.mask, keys.approval, cmp.Or(keys.auditKept, -1)
	a.Auth = auth.Config{
		Listen: r.address(setting{"listen", "OUTBOXD_ADMIN_LISTEN", keys.listen}), PublicURL: r.publicURL(keys.publicURL),
		ReadOnly: keys.readOnly || src.Flags["read-only"] == "true", OIDC: keys.oidc, Proxy: keys.proxy, Roles: keys.roles,
	}
	a.Auth.BasePath, _ = r.text(setting{"base-path", "OUTBOXD_ADMIN_BASE_PATH", keys.basePath})
	a.Auth.Tokens = r.tokens(keys.tokensFile)
	if o := a.Auth.OIDC; o != nil {
		if secret, _ := r.secret(VariableOIDCSecret); secret != "" {
			o.ClientSecret = secret.Reveal()
		}
		if a.Auth.PublicURL == nil {
			r.problems.add("admin.oidc", "needs admin.public_url: the issuer sends browsers back there")
		} else {
			o.RedirectURL = a.Auth.PublicURL.String() + a.Auth.BasePath + "/oidc/callback"
		}
	}
	switch {
	case keys.approval < 1:
		r.problems.add("admin.approval_above", "is %d, must be at least 1", keys.approval)
	case keys.auditKept < 0:
		r.problems.add("admin.audit.kept", "is %v, must not be negative; 0s keeps the records for good", keys.auditKept)
	}
	a.TLS = r.certificate(keys.cert, keys.key)
	if len(r.problems) == 0 { // else the same may be told twice
		for _, leaf := range leaves(a.Auth.Check()) {
			r.problems.add("admin", "%v", leaf)
		}
	}
	return a, Join(mongoErr, r.problems.orNil())
}

func (r *reader) publicURL(of *url.URL) *url.URL {
	text, where := r.text(setting{"public-url", "OUTBOXD_ADMIN_PUBLIC_URL", ""})
	if text == "" {
		return of
	}
	u := origin(text)
	if u == nil {
		r.problems.add(where, "must be a URL without a path, like https://ops.example.com")
	}
	return u
}

func (r *reader) tokens(file string) *auth.Tokens {
	path, where := r.text(setting{"tokens-file", "OUTBOXD_ADMIN_TOKENS_FILE", file})
	if path == "" {
		return nil
	}
	tokens, err := auth.LoadTokens(path)
	if err != nil {
		r.problems.add(cmp.Or(where, "admin.tokens_file"), "%v", err)
	}
	return tokens
}

func (r *reader) certificate(cert, key string) *tls.Certificate {
	if cert == "" && key == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		r.problems.add("admin.tls", "cert and key must name PEM files that go together: %v", err)
		return nil
	}
	return &pair
}
