package auth

import (
	"net/http"
	"net/netip"
	"strings"
)

// Limits of one request, in bytes.
const (
	MaxBody   = 64 << 10
	MaxHeader = 16 << 10
	MaxQuery  = 4 << 10
)

// setHeaders sets what every answer carries. The policy allows this origin's own files and nothing else.
func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
		"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// examine returns the status of a request that no handler should see, or 0.
func (g *Guard) examine(r *http.Request) (status int, code, msg string) {
	size := 0
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v) + len(": \r\n")
		}
	}
	switch {
	case len(r.URL.RawQuery) > MaxQuery:
		return http.StatusRequestURITooLong, "query_too_long", "the query has more than 4 KiB"
	case size > MaxHeader:
		return http.StatusRequestHeaderFieldsTooLarge, "header_too_large", "the header has more than 16 KiB"
	case r.ContentLength > MaxBody:
		return http.StatusRequestEntityTooLarge, "body_too_large", "the body has more than 64 KiB"
	case trick(r):
		return http.StatusBadRequest, "bad_path", "the path is not one that this program writes"
	case !g.hostFits(r):
		return http.StatusMisdirectedRequest, "wrong_host", "the Host is not this machine's, nor that of the public URL"
	case g.open && proxied(r.Header):
		return http.StatusForbidden, "proxied", "a proxy forwards to a process without authentication; configure admin.proxy, tokens or OpenID"
	}
	if err := g.origins.Check(r); err != nil {
		return http.StatusForbidden, "cross_origin", "another site sent this request"
	}
	if !safe(r.Method) && len(r.Cookies()) > 0 && r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == "" {
		return http.StatusForbidden, "origin_missing", "a change with a cookie needs Origin or Sec-Fetch-Site; without a browser, send a token"
	}
	return 0, "", ""
}

func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// trick reports whether a path could mean something else to a proxy in front than to us.
func trick(r *http.Request) bool {
	raw := strings.ToLower(r.URL.EscapedPath())
	if !strings.HasPrefix(raw, "/") || strings.Contains(raw, "//") || strings.ContainsAny(r.URL.Path, "\\;\x00\r\n") {
		return true
	}
	for _, part := range []string{"%2f", "%5c", "%00", "%2e", "%25"} {
		if strings.Contains(raw, part) {
			return true
		}
	}
	for part := range strings.SplitSeq(r.URL.Path, "/") {
		if part == "." || part == ".." {
			return true
		}
	}
	return false
}

// hostFits stops DNS rebinding: a page elsewhere whose name suddenly points here sends its own name as Host.
func (g *Guard) hostFits(r *http.Request) bool {
	public := g.config.PublicURL
	if public != nil && strings.EqualFold(r.Host, public.Host) {
		return true
	}
	host := r.Host
	if ap, err := netip.ParseAddrPort(r.Host); err == nil {
		host = ap.Addr().String()
	} else if name, _, ok := strings.Cut(r.Host, ":"); ok && strings.Count(r.Host, ":") == 1 {
		host = name
	}
	if g.loopback {
		return loopbackHost(host)
	}
	return public == nil || loopbackHost(host)
}

func proxied(h http.Header) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"} {
		if h.Get(name) != "" {
			return true
		}
	}
	return false
}
