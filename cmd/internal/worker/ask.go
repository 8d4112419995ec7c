package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

// askTimeout bounds a provider's harmless question.
const askTimeout = 10 * time.Second

// checker is a provider that can be asked something harmless, which shows whether its address and credentials are
// right.
type checker interface {
	Name() string
	Check(context.Context) error
}

// askProviders asks each served provider once. The answers are for people, in the log and in the details of /readyz.
// Whatever they are, the worker goes on: a lane copes with each of them by itself.
func (w *worker) askProviders(lanes []dispatcher.Lane) {
	var asking sync.WaitGroup
	for _, l := range lanes {
		if c, ok := l.Provider.(checker); ok {
			asking.Go(func() { w.askProvider(c) })
		}
	}
	asking.Wait()
}

func (w *worker) askProvider(c checker) {
	name := c.Name()
	ctx, cancel := context.WithTimeout(w.stop, askTimeout)
	defer cancel()
	err := c.Check(ctx)
	f, told := errors.AsType[*outbox.Failure](err)
	switch {
	case err == nil:
		w.Logger.Info("provider answered", "provider", name)
		w.ready.asked(name, "ok")
	case w.stop.Err() != nil: // nobody wants to know any more
	case !told:
		w.Logger.Warn("provider could not be asked", "provider", name)
		w.ready.asked(name, "it could not be asked")
	default:
		w.Logger.Warn("provider did not answer as it should: see its credentials and base URL", "provider", name, "code", f.Code,
			"http_status", f.HTTPStatus, "provider_code", f.ProviderCode, "why", f.Message)
		w.ready.asked(name, f.Error())
	}
}
