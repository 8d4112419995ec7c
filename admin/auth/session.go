package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// How long a session lasts.
const (
	SessionLife = 8 * time.Hour
	SessionIdle = 30 * time.Minute
)

// Sessions keeps sessions where every admin process sees them. The key is the SHA-256 of the cookie in hex, so that
// who reads the store cannot sign in. Time is the store's.
type Sessions interface {
	// Start stores a session that ends after life, or when nobody used it for idle.
	Start(ctx context.Context, key, person string, data []byte, life, idle time.Duration) error
	// Use returns the data of a session that has not ended, and prolongs it by idle within its life.
	Use(ctx context.Context, key string, idle time.Duration) (data []byte, ok bool, err error)
	// Keep replaces the data of a session. A session that ended stays ended.
	Keep(ctx context.Context, key string, data []byte) error
	// End ends a session. It is no error if there is none.
	End(ctx context.Context, key string) error
}

// session is what a session's data hold.
type session struct {
	Name   string   `json:"name"`
	Via    string   `json:"via"`
	Roles  []string `json:"roles,omitempty"`  // of oidc; those of a token stand in its file
	Sealed []byte   `json:"sealed,omitempty"` // the provider's token, under a key that only the cookie has
}

// Names of cookies. A browser takes a cookie with __Host- only over TLS, for this host alone and for all paths.
const (
	cookieSecure = "__Host-outboxd"
	cookiePlain  = "outboxd" // http on loopback
	flowSecure   = "__Host-outboxd-signin"
	flowPlain    = "outboxd-signin"
)

func (g *Guard) cookieName() string {
	if g.insecure {
		return cookiePlain
	}
	return cookieSecure
}

func (g *Guard) cookie(name, value string, age int, mode http.SameSite) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: !g.insecure, SameSite: mode}
}

func sessionKey(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

// start begins a session and sets its cookie. Whoever had one before gets a new one.
func (g *Guard) start(w http.ResponseWriter, r *http.Request, s session, secret []byte) error {
	random := make([]byte, sha256.Size)
	_, _ = rand.Read(random) // never fails: it ends the program first
	id := b64.EncodeToString(random)
	if secret != nil {
		sealed, err := seal(id, secret)
		if err != nil {
			return err
		}
		s.Sealed = sealed
	}
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("store the session of %s: %w", s.Name, err)
	}
	if old, err := r.Cookie(g.cookieName()); err == nil {
		if err := g.sessions.End(r.Context(), sessionKey(old.Value)); err != nil {
			return fmt.Errorf("end the session before: %w", err)
		}
	}
	if err := g.sessions.Start(r.Context(), sessionKey(id), s.Name, data, SessionLife, SessionIdle); err != nil {
		return fmt.Errorf("store the session of %s: %w", s.Name, err)
	}
	http.SetCookie(w, g.cookie(g.cookieName(), id, int(SessionLife/time.Second), http.SameSiteStrictMode))
	return nil
}

var errNoSession = errors.New("the session has ended; sign in again")

// resume returns the person of a session's cookie.
func (g *Guard) resume(r *http.Request, id string) (Person, error) {
	key := sessionKey(id)
	data, ok, err := g.sessions.Use(r.Context(), key, SessionIdle)
	if err != nil {
		return Person{}, err
	}
	if !ok {
		return Person{}, errNoSession
	}
	var s session
	if err := json.Unmarshal(data, &s); err != nil {
		return Person{}, fmt.Errorf("read the session: %w", err)
	}
	switch {
	case s.Via == viaToken && g.tokens != nil:
		role, ok := g.tokens.Role(s.Name)
		if !ok { // taken out of the file
			return Person{}, errors.Join(errNoSession, g.sessions.End(r.Context(), key))
		}
		s.Roles = []string{role}
	case s.Via == viaOIDC && g.oidc != nil:
		if s, err = g.recheck(r.Context(), id, s); err != nil {
			return Person{}, err
		}
	default: // this way in was closed
		return Person{}, errNoSession
	}
	return g.person(s.Name, s.Via, s.Roles), nil
}
