package httpapi

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/outboxd/outboxd/cmd/api/payments"
)

// Config is what an API is made of.
type Config struct {
	// Payments is required.
	Payments *payments.Service
	// Version stands in the API's description.
	Version string
	// Webhooks that are received. The zero value receives none.
	Webhooks Webhooks
	// Limits of clients and load; zero fields take their defaults.
	Limits Limits
	// ClientHeader names the header in which a proxy in front gives the client's address, such as X-Real-IP. Empty: the
	// connection's address is the client's. Set it only where a proxy overwrites the header: it decides whom a limit
	// meets.
	ClientHeader string
	// Simulator is the control URL of the providers' simulators. It lets the shop switch them off and on. Nil: it
	// cannot.
	Simulator *url.URL
	// Logger gets a line for each request. Defaults to one that discards.
	Logger *slog.Logger
}

// Webhooks are the secrets by which webhooks are verified. A route exists where its secret is set.
type Webhooks struct {
	Stripe      []string         // signing secrets of the endpoint; two while one is rolled over
	SendGrid    *ecdsa.PublicKey // see webhook.ParseSendGridKey
	TwilioToken string           // the account's auth token
	PublicURL   *url.URL         // of this API as Twilio was told it, which its signature covers; required with TwilioToken
}

// API serves payments. It is safe for concurrent use.
type API struct {
	cfg        Config
	log        *slog.Logger
	mux        *http.ServeMux
	huma       huma.API
	clients    *clients
	working    slots // requests that may use the database
	waiting    slots // requests that wait for a change
	metrics    *metrics
	registry   *prometheus.Registry
	simulators *simulators     // nil: none
	stopping   context.Context // no request's: it ends when the API stops, and with it every request that waits
	stop       context.CancelFunc
}

// New checks the configuration, all of it, and returns an API. It does no I/O.
func New(cfg Config) (*API, error) {
	var errs []error
	if cfg.Payments == nil {
		errs = append(errs, errors.New("httpapi: Payments is required"))
	}
	if cfg.Webhooks.TwilioToken != "" && (cfg.Webhooks.PublicURL == nil || cfg.Webhooks.PublicURL.Host == "") {
		errs = append(errs, errors.New("httpapi: Webhooks.PublicURL is required with TwilioToken: Twilio signs the URL"))
	}
	limits, err := cfg.Limits.complete()
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	cfg.Limits, cfg.Version = limits, cmp.Or(cfg.Version, "unknown")
	a := &API{
		cfg: cfg, log: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)), mux: http.NewServeMux(),
		clients: newClients(limits), working: make(slots, limits.Working), waiting: make(slots, limits.Waiting),
		registry: prometheus.NewRegistry(),
	}
	a.stopping, a.stop = context.WithCancel(context.Background())
	a.metrics = newMetrics(a.registry, a.working, a.waiting)
	if cfg.Simulator != nil {
		a.simulators = newSimulators(cfg.Simulator)
	}
	a.describe()
	if err := a.plainRoutes(); err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	return a, nil
}
