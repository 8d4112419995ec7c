package auth

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Ways in, as records and logs name them.
const (
	viaToken    = "token"
	viaOIDC     = "oidc"
	viaProxy    = "proxy"
	viaLoopback = "loopback"
)

// Guard lets people in. It is safe for concurrent use.
type Guard struct {
	config   Config
	tokens   *Tokens
	oidc     *provider
	proxy    *Proxy
	roles    Roles
	sessions Sessions
	limit    *limiter
	origins  *http.CrossOriginProtection
	log      *slog.Logger
	insecure bool // http on loopback: cookies without Secure
	loopback bool
	open     bool // nobody has to sign in

	mu      sync.Mutex
	checked map[string]time.Time // when this process last read the groups of a session; monotonic
}

// New returns a guard. With OIDC it asks the issuer, which has to answer.
func New(ctx context.Context, c Config) (*Guard, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if (c.Tokens != nil || c.OIDC != nil) && c.Sessions == nil {
		return nil, errors.New("signing in needs a store of sessions")
	}
	host, _, _ := net.SplitHostPort(c.Listen) // Check has seen it
	g := &Guard{
		config: c, tokens: c.Tokens, proxy: c.Proxy, roles: c.roles(), sessions: c.Sessions,
		limit: newLimiter(), origins: http.NewCrossOriginProtection(), log: c.Logger, checked: make(map[string]time.Time),
		loopback: loopbackHost(host), open: c.Tokens == nil && c.OIDC == nil && c.Proxy == nil,
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	g.insecure = g.loopback && (c.PublicURL == nil || c.PublicURL.Scheme == "http")
	if c.PublicURL != nil {
		if err := g.origins.AddTrustedOrigin(c.PublicURL.Scheme + "://" + c.PublicURL.Host); err != nil {
			return nil, err
		}
	}
	if c.OIDC != nil {
		p, err := discover(ctx, *c.OIDC, c.Client)
		if err != nil {
			return nil, err
		}
		g.oidc = p
	}
	return g, nil
}

// Open reports whether everybody on this machine comes in without signing in. Pages show a banner then.
func (g *Guard) Open() bool { return g.open }

// Wrap puts the guard in front of a handler. The handler finds the person by [From]. Paths keep the base path.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	inside := http.NewServeMux()
	base := g.config.BasePath
	inside.HandleFunc("GET "+base+"/login", g.signInPage)
	inside.HandleFunc("POST "+base+"/login", g.signIn)
	inside.HandleFunc("POST "+base+"/logout", g.signOut)
	if g.oidc != nil {
		inside.HandleFunc("GET "+base+"/oidc/start", g.begin)
		inside.HandleFunc("GET "+base+"/oidc/callback", g.callback)
	}
	inside.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p, err := g.identify(r)
		switch {
		case err == nil:
			next.ServeHTTP(w, r.WithContext(with(r.Context(), p)))
		case errors.Is(err, errForged):
			g.log.WarnContext(r.Context(), "refused a header of the proxy", "from", r.RemoteAddr, "header", g.proxy.User)
			g.refuse(w, r, http.StatusBadRequest, "forged_proxy_header", err.Error())
		case errors.Is(err, errLimited):
			g.tooMany(w, r)
		case errors.Is(err, errNobody), errors.Is(err, errNoSession):
			g.nobody(w, r, err)
		default:
			g.unavailable(w, r, err)
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setHeaders(w.Header())
		if status, code, msg := g.examine(r); status != 0 {
			g.refuse(w, r, status, code, msg)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, MaxBody)
		inside.ServeHTTP(w, r)
	})
}

var (
	errNobody  = errors.New("sign in, or send a token as `Authorization: Bearer`")
	errLimited = errors.New("too many failed sign-ins from this address; wait a minute")
)

// identify returns who sent the request. A token wins over a cookie, and both over the proxy's word.
func (g *Guard) identify(r *http.Request) (Person, error) {
	peer := peerOf(r)
	p := Person{}
	var named string
	var roles []string
	byProxy := false
	if g.proxy != nil { // first of all, so that a forged header is seen beside whatever else there is
		var err error
		if named, roles, byProxy, err = g.proxy.person(r, peer); err != nil {
			if errors.Is(err, errForged) {
				return p, err
			}
			return p, errors.Join(errNobody, err)
		}
	}
	client := g.proxy.clientOf(r, peer)
	switch header := r.Header.Get("Authorization"); {
	case g.open:
		p = g.person("somebody on this machine", viaLoopback, nil)
		p.grants = []Role{{Rights: []Right{Read, Operate}}}
	case header != "":
		scheme, secret, _ := strings.Cut(header, " ")
		if g.tokens == nil || !strings.EqualFold(scheme, "Bearer") {
			return p, errNobody
		}
		name, err := g.check(r, client, strings.TrimSpace(secret))
		if err != nil {
			return p, err
		}
		role, _ := g.tokens.Role(name)
		p = g.person(name, viaToken, []string{role})
	default:
		if c, err := r.Cookie(g.cookieName()); err == nil && g.sessions != nil {
			if p, err = g.resume(r, c.Value); err == nil || !byProxy || !errors.Is(err, errNoSession) {
				p.From = client
				return p, err
			}
		}
		if !byProxy {
			return p, errNobody
		}
		p = g.person(named, viaProxy, roles)
	}
	p.From = client
	return p, nil
}

// check returns whose token it is, and counts what fails.
func (g *Guard) check(r *http.Request, client, secret string) (name string, err error) {
	if name, ok := g.tokens.known(secret); ok {
		return name, nil
	}
	claimed := nameOf(secret)
	if !g.limit.take(client, claimed) {
		g.count(r, viaToken, claimed, client, errLimited)
		return "", errLimited
	}
	name, ok := g.tokens.verify(secret)
	if !ok {
		g.count(r, viaToken, claimed, client, errNobody)
		return "", errNobody
	}
	g.limit.giveBack(client, claimed)
	return name, nil
}

func (g *Guard) count(r *http.Request, via, name, client string, why error) {
	g.log.WarnContext(r.Context(), "a sign-in failed", "via", via, "who", name, "from", client, "error", why)
	if g.config.Failed != nil {
		g.config.Failed(via)
	}
}

// person gives somebody the rights of their roles.
func (g *Guard) person(name, via string, roles []string) Person {
	p := Person{Name: name, Via: via, Role: strings.Join(roles, ",")}
	for _, role := range roles {
		if r, ok := g.roles[role]; ok {
			p.grants = append(p.grants, r)
		}
	}
	if g.config.ReadOnly {
		p.only = Read
	}
	return p
}
