package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/outboxd/outboxd/admin"
)

// Times of a stream.
const (
	streamLife = 5 * time.Minute  // then the client comes again, and is asked again who it is
	streamBeat = 15 * time.Second // between two signs of life
	streamSend = 10 * time.Second // a client that does not read for so long has left
)

// Events tells what changed, to many at once.
type Events interface {
	// Subscribe begins a stream of a person. next waits for events until its context ends. The caller calls leave.
	Subscribe(who string, intents []string) (next func(context.Context) ([]admin.Event, error), leave func(), err error)
}

var streamOf = what{id: "watch", method: http.MethodGet, path: "/events", summary: "Hear what changed: server-sent events census, lanes, jobs, intent and end; " +
	"intent names up to five intents to hear of", role: admin.RoleRead, query: []string{"intent"}}

// events describes the stream. huma has no part in it: a stream has no body that it could encode.
func (a *API) events() {
	op := a.operation(streamOf)
	op.Responses["200"] = &huma.Response{Description: "A stream.", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}}}
	a.huma.OpenAPI().Paths[op.Path] = &huma.PathItem{Get: &op}
	a.mux.HandleFunc("GET "+op.Path, func(w http.ResponseWriter, r *http.Request) { a.stream(w, r) })
}

// stream tells one client what changed, until it leaves or the process ends.
func (a *API) stream(w http.ResponseWriter, r *http.Request) {
	next, leave, err := a.subscribe(r)
	if err != nil {
		write(w, a.replyTo(r.Context(), streamOf.id, err))
		return
	}
	defer leave()
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Time{}); err != nil { // it would end the request
		write(w, a.replyTo(r.Context(), streamOf.id, err))
		return
	}
	send := func(text string) bool {
		if err := rc.SetWriteDeadline(time.Now().Add(streamSend)); err != nil {
			return false
		}
		_, err := w.Write([]byte(text))
		return err == nil && rc.Flush() == nil
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	if !send("retry: 3000\n\n") {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), streamLife)
	defer cancel()
	for ctx.Err() == nil {
		text := ""
		switch events, err := a.within(ctx, next); {
		case errors.Is(err, admin.ErrStreamOver):
			send("event: end\ndata: {}\n\n")
			return
		case err != nil:
			text = ":\n\n"
		default:
			for _, e := range events {
				text += eventText(e)
			}
		}
		if !send(text) {
			return
		}
	}
}

func (a *API) within(ctx context.Context, next func(context.Context) ([]admin.Event, error)) ([]admin.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, streamBeat)
	defer cancel()
	return next(ctx)
}

// subscribe begins the stream of a request. Who asks for an intent has to be allowed to see it.
func (a *API) subscribe(r *http.Request) (next func(context.Context) ([]admin.Event, error), leave func(), err error) {
	asked := r.Clone(r.Context())
	query := asked.URL.Query()
	ids := query["intent"]
	query.Del("intent")
	asked.URL.RawQuery = query.Encode()
	c, err := a.admit(asked, streamOf)
	if err != nil {
		return nil, nil, err
	}
	if a.config.Events == nil {
		return nil, nil, transport(http.StatusNotFound, "no_route", "this process has no stream of events")
	}
	if len(ids) > maxWatched {
		return nil, nil, transport(http.StatusBadRequest, "bad_query", "a stream tells of at most %d intents", maxWatched)
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	var names []string
	for _, id := range ids {
		name, ok := nameOf(id)
		if !ok {
			return nil, nil, transport(http.StatusBadRequest, "bad_id", "intent must be the `id` of a list: the name in base64url")
		}
		if _, err := a.service.Show(ctx, c.actor, name); err != nil {
			return nil, nil, err
		}
		names = append(names, name)
	}
	next, leave, err = a.config.Events.Subscribe(c.actor.Who, names)
	switch {
	case errors.Is(err, admin.ErrManyStreams):
		return nil, nil, transport(http.StatusTooManyRequests, "too_many_streams", "%v", err)
	case errors.Is(err, admin.ErrStreamOver):
		return nil, nil, transport(http.StatusServiceUnavailable, "unavailable", "%v", err)
	}
	return next, leave, err
}

// maxWatched is how many intents one stream tells of.
const maxWatched = 5

func eventText(e admin.Event) string {
	data := []byte("{}")
	if e.Name != "" {
		data, _ = json.Marshal(map[string]string{"id": idOf(e.Name)}) // base64url can be encoded
	}
	return fmt.Sprintf("event: %s\ndata: %s\n\n", e.What, data)
}
