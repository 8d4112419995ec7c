package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Config says who gets in. At least one of Tokens, OIDC and Proxy is needed off loopback.
type Config struct {
	Listen    string   // the address that is listened on; it decides whether this is loopback
	PublicURL *url.URL // by which browsers come; nil: by the address itself
	BasePath  string   // where the pages are mounted: "" or "/outboxd"; no slash at the end
	ReadOnly  bool     // caps everybody to Read

	Tokens   *Tokens
	OIDC     *OIDC
	Proxy    *Proxy
	Roles    Roles            // nil: DefaultRoles
	Sessions Sessions         // needed with Tokens and OIDC
	Client   *http.Client     // to the OpenID issuer; nil: one with a time limit
	SignIn   http.Handler     // the page at /login; nil: a plain one
	Failed   func(via string) // called for each failed sign-in, to count it; nil: nobody counts
	Logger   *slog.Logger     // nil: none
}

// ErrOpen says that the admin would be open to everybody who reaches it.
var ErrOpen = errors.New("refusing to serve others without authentication; set one of " +
	"admin.tokens_file (made by `outboxd admin token new`), admin.oidc, admin.proxy; or listen on 127.0.0.1 without a public URL")

// Check returns every problem of the configuration that can be seen without the network.
func (c Config) Check() error {
	var all []error
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		all = append(all, fmt.Errorf("%q is no address to listen on; write one like 127.0.0.1:8427", c.Listen))
	}
	open := c.Tokens == nil && c.OIDC == nil && c.Proxy == nil
	if err == nil && open && (!loopbackHost(host) || c.PublicURL != nil && !loopbackHost(c.PublicURL.Hostname())) {
		all = append(all, ErrOpen)
	}
	if c.BasePath != "" && (c.BasePath[0] != '/' || strings.HasSuffix(c.BasePath, "/") || strings.ContainsAny(c.BasePath, "%?#\\;") || strings.Contains(c.BasePath, "//") || strings.Contains(c.BasePath, "..")) {
		all = append(all, fmt.Errorf("%q is no base path; write one like /outboxd", c.BasePath))
	}
	if u := c.PublicURL; u != nil && (u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopbackHost(u.Hostname()))) {
		all = append(all, errors.New("the public URL must be https, because it carries the session's cookie"))
	}
	roles := c.roles()
	all = append(all, roles.Check())
	known := func(where, role string) {
		if _, ok := roles[role]; !ok {
			all = append(all, fmt.Errorf("%s has the role %q, which is not configured", where, role))
		}
	}
	if c.Tokens != nil {
		for name, role := range c.Tokens.Names() {
			known("the token "+name, role)
		}
	}
	if c.OIDC != nil {
		for group, role := range c.OIDC.Roles {
			known("the group "+group+" of admin.oidc", role)
		}
	}
	if c.Proxy != nil {
		all = append(all, c.Proxy.Check())
		for group, role := range c.Proxy.Roles {
			known("the group "+group+" of admin.proxy", role)
		}
		if c.Proxy.Role != "" {
			known("admin.proxy", c.Proxy.Role)
		}
	}
	return errors.Join(all...)
}

func (c Config) roles() Roles {
	if c.Roles == nil {
		return DefaultRoles()
	}
	return c.Roles
}

// loopbackHost reports whether a host names this machine to itself. The empty host listens everywhere.
func loopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.Unmap().IsLoopback()
}
