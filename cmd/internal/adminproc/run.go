// Package adminproc is the process of `outboxd admin`: it puts the service of operators, its API and its pages on the
// store, and carries out bulk jobs beside them.
//
// It delivers nothing. None, one or several may run, and a worker needs none of them.
package adminproc

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/admin/api"
	"github.com/outboxd/outboxd/admin/auth"
	"github.com/outboxd/outboxd/admin/jobs"
	"github.com/outboxd/outboxd/admin/live"
	"github.com/outboxd/outboxd/admin/page"
	"github.com/outboxd/outboxd/cmd/internal/adminhttp"
	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/health"
	"github.com/outboxd/outboxd/cmd/internal/metrics"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

// Options say how the process runs.
type Options struct {
	Config  config.Admin
	Logger  *slog.Logger
	Version string
	// Connect opens the outbox; the function that it returns closes it.
	Connect func(context.Context, store.Options) (*store.Store, func(), error)
}

// Run serves until ctx ends, and then ends requests and a job's batch within the drain time.
func Run(ctx context.Context, o Options) error {
	cfg := o.Config
	db, leave, err := o.Connect(ctx, store.Options{Rules: outbox.Rules{WriteBack: cfg.WriteBack}, Retention: cfg.Retention.Done,
		RetentionCancelled: cfg.Retention.Cancelled, AuditKept: cfg.AuditKept})
	if err != nil {
		return err
	}
	defer leave()
	schema := migrations.New(db.Database(), cfg.Mongo.Collection).Register(cfg.Kinds...)
	if err := schema.Check(ctx); err != nil {
		return err
	}
	namespace, err := schema.Namespace(ctx)
	if err != nil {
		return err
	}
	db.UseNamespace(namespace)
	p := &process{Options: o, db: db, schema: schema, desk: db.Desk(), counts: metrics.NewAdmin(), name: name()}
	return p.serve(ctx)
}

// process is one run.
type process struct {
	Options
	db     *store.Store
	schema *migrations.Migrator
	desk   *store.Desk
	counts *metrics.AdminMetrics
	name   string
	hub    *live.Hub
}

func (p *process) serve(ctx context.Context) error {
	service, leave, err := p.service()
	if err != nil {
		return err
	}
	defer leave()
	p.hub = live.New(live.Config{State: p.desk, Jobs: p.desk, Reader: p.desk, Logger: p.Logger})
	handler, open, err := p.handler(ctx, service)
	if err != nil {
		return err
	}
	ln, err := p.listen(ctx)
	if err != nil {
		return err
	}
	defer ln.Close()
	ready := new(readiness)
	ready.ask = func(ctx context.Context) error { return errors.Join(p.db.Ready(ctx), p.schema.Check(ctx)) }
	h, metricsAddr, err := health.Listen(p.Config.MetricsListen, "--metrics-listen, OUTBOXD_ADMIN_METRICS_LISTEN", ready, p.counts.Handler(), p.Logger)
	if err != nil {
		return err
	}
	p.announce(ln.Addr(), metricsAddr, open)

	beside, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() { p.hub.Run(beside) })
	group.Go(func() { p.countJobs(beside) })
	if !p.Config.Auth.ReadOnly {
		group.Go(func() { p.takeCensus(beside) })
		group.Go(func() { p.runner().Run(beside) })
	}
	context.AfterFunc(beside, func() {
		ready.stop()
		p.Logger.Info("stopping: no request is taken any more, and jobs stand still after their batch", "drain", p.Config.Drain)
	})
	served := adminhttp.Serve(ctx, ln, handler, p.Config.Drain, p.Logger)
	stop()
	group.Wait()
	p.Logger.Info("stopped")
	return errors.Join(served, h.Close())
}

// service makes what operators can do. The function that it returns ends the connections to the providers.
func (p *process) service() (*admin.Service, func(), error) {
	ask, leave, err := newProber(p.Config, p.db.Database(), p.Logger)
	if err != nil {
		return nil, nil, err
	}
	var kinds []string
	for _, l := range p.Config.Lanes {
		kinds = append(kinds, l.Kind)
	}
	c := admin.Config{Reader: p.desk, State: p.desk, Operator: p.desk, Controls: p.desk, Jobs: p.desk, Audit: p.audit(), Doctor: physician{p}, Kinds: append(kinds, p.Config.Kinds...),
		Policy: p.Config.Policy, Approval: p.Config.Approval, ReadOnly: p.Config.Auth.ReadOnly, Mask: p.Config.Mask}
	if ask != nil {
		c.Prober = ask
	}
	return admin.New(c), leave, nil
}

// handler puts the guard, the API and the pages together. open says that nobody has to sign in.
func (p *process) handler(ctx context.Context, service *admin.Service) (h http.Handler, open bool, err error) {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails: it ends the program first
	key, err := p.desk.CursorKey(ctx, random)
	if err != nil {
		return nil, false, err
	}
	a, err := api.New(api.Config{Service: service, Actor: adminhttp.Actor, CursorKey: key, Events: p.hub, Answers: answers{p.desk}, Logger: p.Logger})
	if err != nil {
		return nil, false, err
	}
	who := p.Config.Auth
	who.Sessions, who.Logger, who.Failed = p.db.Sessions(), p.Logger, func(string) { p.counts.LoginFailed() }
	guard, err := auth.New(ctx, who)
	if err != nil {
		return nil, false, err
	}
	pages, err := page.New(page.Config{Service: service, Actor: adminhttp.Actor, BasePath: who.BasePath, CursorKey: key,
		SignOut: !guard.Open(), Logger: p.Logger})
	if err != nil {
		return nil, false, err
	}
	return adminhttp.Handler(adminhttp.Parts{
		Guard: guard, API: a.Handler(), Pages: pages.Handler(), BasePath: who.BasePath, Requested: p.counts.Requested,
	}), guard.Open(), nil
}

func (p *process) listen(ctx context.Context) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", p.Config.Auth.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for operators, choose another address (--listen, OUTBOXD_ADMIN_LISTEN, admin.listen): %w", err)
	}
	if p.Config.TLS != nil {
		ln = tls.NewListener(ln, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*p.Config.TLS}, NextProtos: []string{"h2", "http/1.1"}})
	}
	return ln, nil
}

// announce says where operators come in, and who.
func (p *process) announce(addr, metricsAddr net.Addr, open bool) {
	c := p.Config
	tcp, _ := addr.(*net.TCPAddr)
	loopback := tcp != nil && tcp.IP.IsLoopback()
	switch {
	case open:
		p.Logger.Warn("open to everybody on this machine: no authentication is configured, so each of them may read and operate; payloads stay masked")
	case !loopback && c.TLS == nil && c.Auth.Proxy == nil && c.Auth.PublicURL == nil:
		p.Logger.Warn("tokens and cookies cross the network in clear: set admin.tls, or put a proxy with TLS in front and set admin.public_url")
	}
	var ways []string
	for way, there := range map[string]bool{"tokens": c.Auth.Tokens != nil, "oidc": c.Auth.OIDC != nil, "proxy": c.Auth.Proxy != nil} {
		if there {
			ways = append(ways, way)
		}
	}
	scheme := "http"
	if c.TLS != nil {
		scheme = "https"
	}
	p.Logger.Info("serving operators", "listen", addr.String(), "url", scheme+"://"+addr.String()+c.Auth.BasePath+"/", "metrics", metricsAddr.String(),
		"authentication", strings.Join(ways, ","), "read_only", c.Auth.ReadOnly, "database", c.Mongo.Database, "collection", c.Mongo.Collection, "process", p.name, "version", p.Version)
}

// runner carries out bulk jobs, whoever started them.
func (p *process) runner() *jobs.Runner {
	return jobs.New(jobs.Config{Reader: p.desk, Operator: p.desk, Jobs: p.desk, Audit: p.audit(), Policy: p.Config.Policy, Now: p.desk.Now, Owner: p.name, Log: p.Logger})
}

// name makes the process's name: unique among live ones, and telling where to look.
func name() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("admin-%s-%d-%s", host, os.Getpid(), strings.ToLower(rand.Text()[:6]))
}

// askTime bounds what is asked of the database beside requests.
const askTime = 5 * time.Second
