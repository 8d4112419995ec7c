package page_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/admin/auth"
)

// kept keeps sessions in memory, for as long as the test lasts.
type kept struct {
	mu  sync.Mutex
	all map[string][]byte
}

func (k *kept) Start(ctx context.Context, key, _ string, data []byte, _, _ time.Duration) error {
	return k.Keep(ctx, key, data)
}

func (k *kept) Use(_ context.Context, key string, _ time.Duration) ([]byte, bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	data, ok := k.all[key]
	return data, ok, nil
}

func (k *kept) Keep(_ context.Context, key string, data []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all[key] = data
	return nil
}

func (k *kept) End(_ context.Context, key string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.all, key)
	return nil
}

// person is the actor of a request that the guard let in.
func person(r *http.Request, role admin.Role) (admin.Actor, bool) {
	p, ok := auth.From(r.Context())
	a := admin.Actor{Who: p.Name, Via: p.Via, From: p.From}
	for _, right := range admin.Roles() {
		if p.Can(auth.Right(right)) {
			a.Roles = append(a.Roles, right)
		}
	}
	if kinds, all := p.KindsFor(auth.Right(role)); !all {
		a.Kinds = kinds
	}
	return a, ok
}

// guardedWorld serves the page behind the guard, and returns the tokens by role.
func guardedWorld(t *testing.T, roles auth.Roles) (*world, map[string]string) {
	t.Helper()
	w := bareWorld(t, person)
	secrets, file := make(map[string]string), ""
	for role := range roles {
		secret, line, err := auth.NewToken(role, role)
		w.must(err)
		secrets[role], file = secret, file+line+"\n"
	}
	tokens, err := auth.ReadTokens(strings.NewReader(file))
	w.must(err)
	g, err := auth.New(t.Context(), auth.Config{Listen: "127.0.0.1:0", BasePath: base, Tokens: tokens, Roles: roles, Sessions: &kept{all: make(map[string][]byte)}})
	w.must(err)
	inside := http.NewServeMux()
	inside.Handle(base+"/", http.StripPrefix(base, w.page.Handler()))
	w.server = httptest.NewServer(g.Wrap(inside))
	t.Cleanup(w.server.Close)
	return w, secrets
}
