package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/outboxd/outboxd/admin/auth"
)

// defaultAuditKept is how long a record of the audit is kept.
const defaultAuditKept = 400 * 24 * time.Hour

// adminKeys are what the file says under admin.
type adminKeys struct {
	listen, metricsListen, basePath, tokensFile string
	publicURL                                   *url.URL
	readOnly                                    bool
	cert, key                                   string // paths of PEM files
	oidc                                        *auth.OIDC
	proxy                                       *auth.Proxy
	roles                                       auth.Roles // beside those that are there without a configuration
	mask                                        []string   // keys of metadata
	auditKept                                   time.Duration
	approval                                    int
}

func defaultAdmin() adminKeys {
	return adminKeys{listen: DefaultAdminListen, metricsListen: DefaultAdminMetrics, roles: auth.DefaultRoles(), auditKept: defaultAuditKept, approval: 100}
}

// adminKeys is the keys under admin.
func (f *file) adminKeys(to *adminKeys) keys {
	return keys{
		"listen":         f.text(&to.listen, "an address to listen on, like 127.0.0.1:8427", tcpAddress),
		"metrics_listen": f.text(&to.metricsListen, "an address to listen on, like 127.0.0.1:8428", tcpAddress),
		"base_path":      f.text(&to.basePath, "a path like /outboxd", nil),
		"public_url":     f.url(&to.publicURL),
		"read_only":      f.yes(&to.readOnly),
		"tokens_file":    f.text(&to.tokensFile, "the path of a file", nil),
		"tls":            f.mapping(keys{"cert": f.text(&to.cert, "the path of a file", nil), "key": f.text(&to.key, "the path of a file", nil)}),
		"oidc":           f.oidc(&to.oidc),
		"proxy":          f.proxy(&to.proxy),
		"roles":          f.roles(to.roles),
		"mask":           f.masked(&to.mask),
		"audit":          f.mapping(keys{"kept": f.duration(&to.auditKept)}),
		"approval_above": f.number(&to.approval),
	}
}

func (f *file) oidc(to **auth.OIDC) func(string, ast.Node) {
	return func(key string, n ast.Node) {
		o := new(auth.OIDC)
		f.mapping(keys{
			"issuer": f.text(&o.Issuer, "the issuer's URL", nil), "client_id": f.text(&o.ClientID, "a text", nil),
			"name": f.text(&o.Name, "the name of a claim", nil), "groups": f.text(&o.Groups, "the name of a claim", nil),
			"scopes": f.names(&o.Scopes, "a scope", notEmpty), "roles": f.roleOfGroup(&o.Roles),
		})(key, n)
		for name, value := range map[string]string{"issuer": o.Issuer, "client_id": o.ClientID} {
			if value == "" {
				f.bad(key, "needs %s", name)
			}
		}
		if len(o.Roles) == 0 {
			f.bad(key, "needs roles: a mapping of groups to roles")
		}
		*to = o
	}
}

func (f *file) proxy(to **auth.Proxy) func(string, ast.Node) {
	return func(key string, n ast.Node) {
		p := new(auth.Proxy)
		var networks []string
		f.mapping(keys{
			"from": f.names(&networks, "a network like 10.0.0.0/8", func(s string) bool { return network(s).IsValid() }),
			"user": f.text(&p.User, "the name of a header", headerName), "groups": f.text(&p.Groups, "the name of a header", headerName),
			"role": f.text(&p.Role, "the name of a role", nil), "roles": f.roleOfGroup(&p.Roles),
		})(key, n)
		for _, s := range networks {
			p.From = append(p.From, network(s))
		}
		*to = p
	}
}

// network reads a network, or a single address.
func network(text string) netip.Prefix {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked()
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, a.BitLen())
}

// roles reads roles: a list of rights, or a mapping with rights and kinds.
func (f *file) roles(to auth.Roles) func(string, ast.Node) {
	right := func(name string) bool { return slices.Contains(auth.Rights(), auth.Right(name)) }
	return f.entries(func(name, key string, n ast.Node) {
		var rights []string
		var role auth.Role
		if _, list := f.resolve(n).(*ast.SequenceNode); list {
			f.names(&rights, "a right: read, reveal, operate, approve", right)(key, n)
		} else {
			f.mapping(keys{"rights": f.names(&rights, "a right: read, reveal, operate, approve", right), "kinds": f.names(&role.Kinds, "a kind", validKind)})(key, n)
		}
		for _, r := range rights {
			role.Rights = append(role.Rights, auth.Right(r))
		}
		if len(rights) == 0 {
			f.bad(key, "has no rights")
		}
		to[name] = role
	})
}

// roleOfGroup reads which role each group has.
func (f *file) roleOfGroup(to *map[string]string) func(string, ast.Node) {
	return func(key string, n ast.Node) {
		roles := make(map[string]string)
		f.entries(func(name, key string, n ast.Node) {
			var role string
			f.text(&role, "the name of a role", nil)(key, n)
			roles[name] = role
		})(key, n)
		*to = roles
	}
}

// masked reads the keys of metadata whose values are masked, each written as metadata.KEY.
func (f *file) masked(to *[]string) func(string, ast.Node) {
	return func(key string, n ast.Node) {
		var names []string
		f.names(&names, "a key of metadata, like metadata.customer_email", func(s string) bool {
			name, ok := strings.CutPrefix(s, "metadata.")
			return ok && metadataKey(name)
		})(key, n)
		*to = nil
		for _, name := range names {
			*to = append(*to, strings.TrimPrefix(name, "metadata."))
		}
	}
}

// entries reads a mapping whose keys are names that a person chose.
func (f *file) entries(read func(name, key string, value ast.Node)) func(string, ast.Node) {
	return func(key string, n ast.Node) {
		pairs, ok := f.pairs(n, 0)
		if !ok {
			f.bad(key, "must be a mapping of names to values")
			return
		}
		for _, pair := range pairs {
			name := strings.Trim(pair.Key.String(), `"'`)
			path := key + "." + name
			f.lines[path] = pair.Key.GetToken().Position.Line
			read(name, path, pair.Value)
		}
	}
}

// text reads a text that is not empty. Valid may be nil.
func (f *file) text(to *string, what string, valid func(string) bool) func(string, ast.Node) {
	return func(key string, n ast.Node) {
		text, ok := f.scalar(n)
		if !ok || text == "" || valid != nil && !valid(text) {
			f.bad(key, "must be %s", what)
			return
		}
		*to = text
	}
}

func (f *file) url(to **url.URL) func(string, ast.Node) {
	return func(key string, n ast.Node) {
		text, ok := f.scalar(n)
		if *to = origin(text); !ok || *to == nil {
			f.bad(key, "must be a URL without a path, like https://ops.example.com")
		}
	}
}

// origin reads a URL of scheme and host alone; nil if it is none.
func origin(text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil
	}
	u.Path = ""
	return u
}

func (f *file) yes(to *bool) func(string, ast.Node) {
	return func(key string, n ast.Node) {
		text, ok := f.scalar(n)
		v, err := strconv.ParseBool(text)
		if !ok || err != nil {
			f.bad(key, "must be true or false")
			return
		}
		*to = v
	}
}

func notEmpty(text string) bool { return text != "" }

// headerName reports whether a text can be a header's name.
func headerName(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}
