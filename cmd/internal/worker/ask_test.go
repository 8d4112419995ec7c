package worker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

// asked is a provider of which only the harmless question counts.
type asked struct {
	dispatcher.Provider
	name  string
	check func(context.Context) error
}

func (a asked) Name() string { return a.name }

func (a asked) Check(ctx context.Context) error { return a.check(ctx) }

// mute is a provider that cannot be asked.
type mute struct{ dispatcher.Provider }

func TestProvidersAreAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w := &worker{Options: Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, stopper: newStopper(t.Context()), ready: newReadiness()}
		defer w.end()
		nothing := func(context.Context) error { return nil }
		w.ready.begin(nothing, nothing, nothing)
		answers := map[string]func(context.Context) error{
			"stripe": nothing,
			"sendgrid": func(context.Context) error {
				return &outbox.Failure{Class: outbox.Hold, Code: outbox.CodeUnauthorized, HTTPStatus: 401, Provider: "sendgrid", Message: "no"}
			},
			"twilio": func(ctx context.Context) error { <-ctx.Done(); return errors.New("secret") },
			"fax":    func(context.Context) error { return errors.New("secret") },
			"other":  nil,
		}
		var lanes []dispatcher.Lane
		for name, check := range answers {
			lane := dispatcher.Lane{Kind: "of " + name, Provider: asked{name: name, check: check}}
			if check == nil {
				lane.Provider = mute{}
			}
			lanes = append(lanes, lane)
		}
		w.askProviders(lanes)
		code, body := answer(w.ready)
		want := `{"ready":true,"providers":{"fax":"it could not be asked","sendgrid":"sendgrid: unauthorized (hold), HTTP 401: no","stripe":"ok","twilio":"it could not be asked"}}`
		if code != 200 || body != want {
			t.Errorf("got %d %s, want %s", code, body, want)
		}
		if text := log.String(); !strings.Contains(text, "code=unauthorized") || strings.Contains(text, "secret") || strings.Count(text, "\n") != 4 {
			t.Errorf("logged %s", text)
		}
	})
}

// A worker that stops does not wait for a provider's answer.
func TestAskingEndsWithTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w := &worker{Options: Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, stopper: newStopper(t.Context()), ready: newReadiness()}
		defer w.end()
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.askProviders([]dispatcher.Lane{{Kind: "sms", Provider: asked{check: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}}})
		}()
		synctest.Wait()
		w.stopNow(errDone)
		<-done
		if log.Len() > 0 {
			t.Errorf("logged %s", log.String())
		}
	})
}
