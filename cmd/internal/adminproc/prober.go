package adminproc

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/worker"
	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// prober asks providers what their records show.
type prober struct {
	of map[string]dispatcher.Provider // by kind; those with keys
}

// newProber returns a prober, nil where no provider has keys. The function that is returned ends its connections.
func newProber(cfg config.Admin, db *mongo.Database, log *slog.Logger) (*prober, func(), error) {
	transport := providers.NewTransport(providers.TransportConfig{})
	p := &prober{of: make(map[string]dispatcher.Provider)}
	var errs []error
	for _, l := range cfg.Lanes {
		if cfg.Providers.Missing(l.Kind) != "" {
			continue
		}
		provider, err := worker.Provider(l.Kind, cfg.Providers, worker.Plain(transport.Wrapped(onlyQuestions)), worker.EmailEvents(db, cfg.EmailEvents, log))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		p.of[l.Kind] = provider
	}
	if len(p.of) == 0 {
		p = nil
	}
	return p, transport.CloseIdleConnections, errors.Join(errs...)
}

// Ask returns what the provider's records show. It is a look-up whose requests that would change something are stopped
// before they leave: a person who asks must not cancel what a worker is about to confirm.
func (p *prober) Ask(ctx context.Context, in *outbox.Intent) (admin.Evidence, error) {
	provider, ok := p.of[in.Kind]
	if !ok {
		return admin.Evidence{}, &admin.Error{Code: admin.ProviderUnknown, Text: "this process has no keys of the provider of " + in.Kind + "; look at the provider's own page"}
	}
	stopped := new(atomic.Bool)
	answer, err := provider.LookUp(context.WithValue(ctx, stoppedKey{}, stopped), in)
	e := admin.Evidence{At: time.Now().UTC(), Provider: answer.Receipt.Provider, Found: answer.Found, Receipt: answer.Receipt}
	if named, ok := provider.(interface{ Name() string }); ok {
		e.Provider = cmp.Or(e.Provider, named.Name())
	}
	switch failure, told := errors.AsType[*outbox.Failure](err); {
	case stopped.Load():
		e.Text = "it has an unfinished object of this intent, which has had no effect so far; a worker's look-up would cancel it"
	case told:
		e.Text = "its answer does not tell: " + cmp.Or(failure.Message, failure.Code)
	case err != nil:
		return admin.Evidence{}, err
	case answer.Found:
		e.Text = "it shows the effect, as " + cmp.Or(answer.Receipt.ID, "a record without an id")
	case answer.Certain:
		e.Text = "it has nothing of this intent, and nothing of it can come any more"
	default:
		e.Text = "it shows nothing of this intent so far; its records may be late"
	}
	return e, nil
}

type stoppedKey struct{}

var errWouldChange = errors.New("the request would change something at the provider, and this process only asks")

// onlyQuestions stops every request but a GET.
func onlyQuestions(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodGet {
			return next.RoundTrip(req)
		}
		if stopped, ok := req.Context().Value(stoppedKey{}).(*atomic.Bool); ok {
			stopped.Store(true)
		}
		return nil, errWouldChange
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
