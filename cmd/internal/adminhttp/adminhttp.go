// Package adminhttp puts the parts of the admin process together: the guard in front, the API, and the pages.
package adminhttp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/admin/api"
	"github.com/outboxd/outboxd/admin/auth"
)

// Times of a connection. Who sends or reads slowly does not keep a connection for longer.
const (
	readHeader = 5 * time.Second
	readAll    = 15 * time.Second
	writeAll   = 30 * time.Second
	idle       = time.Minute
)

// Parts are what is served.
type Parts struct {
	Guard    *auth.Guard
	API      http.Handler // of package api
	Pages    http.Handler // nil: the API alone. Its paths begin at /, whatever the base path
	BasePath string       // "" or "/outboxd"
	// Requested is told of each request: the pattern of its route, never its path. Nil: nobody is.
	Requested func(route string, status int, took time.Duration)
}

// Handler returns the whole, guarded.
func Handler(p Parts) http.Handler {
	inside := http.NewServeMux()
	inside.Handle(p.BasePath+api.Prefix+"/", http.StripPrefix(p.BasePath, routed(p.API)))
	if p.Pages != nil {
		inside.Handle(p.BasePath+"/", http.StripPrefix(p.BasePath, routed(p.Pages)))
	}
	if p.Requested == nil {
		return p.Guard.Wrap(inside)
	}
	return counted(p.Guard.Wrap(inside), p.Requested)
}

// Actor returns the person of a request as package admin knows them. The kinds are those for which they have the role.
func Actor(r *http.Request, role admin.Role) (admin.Actor, bool) {
	p, ok := auth.From(r.Context())
	if !ok {
		return admin.Actor{}, false
	}
	a := admin.Actor{Who: p.Name, Via: p.Via, From: p.From, RequestID: strings.ToLower(rand.Text())}
	for _, right := range admin.Roles() {
		if p.Can(auth.Right(right)) {
			a.Roles = append(a.Roles, right)
		}
	}
	if kinds, all := p.KindsFor(auth.Right(role)); !all {
		a.Kinds = kinds
	}
	return a, true
}

// Serve answers on the listener until ctx ends, and then ends what is under way within drain.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, drain time.Duration, log *slog.Logger) error {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: readHeader, ReadTimeout: readAll, WriteTimeout: writeAll, IdleTimeout: idle,
		MaxHeaderBytes: auth.MaxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve the admin: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	err := s.Shutdown(end)
	if err != nil {
		err = errors.Join(fmt.Errorf("requests under way took longer than the drain time %v: %w", drain, err), s.Close())
	}
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
