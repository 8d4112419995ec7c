package api

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"time"
)

const (
	ndjson     = "ndjson"
	maxExports = 4                // under way at once in one process
	exportPage = 30 * time.Second // for a client to take one page
)

// exported serves a list as one JSON object a line, all of it, if that is what the request asks for. Rows hold no
// payload, as in the list.
func (a *API) exported(w http.ResponseWriter, r *http.Request, pattern string) bool {
	if r.URL.Query().Get("format") != ndjson {
		return false
	}
	switch pattern {
	case "GET " + Prefix + "/intents":
		export(a, w, r, findIntents(), a.find)
	case "GET " + Prefix + "/audit":
		export(a, w, r, listActs(), a.acts)
	default:
		return false
	}
	return true
}

// export writes page after page. Where one fails in the middle the connection is cut, so that nobody takes a part for
// the whole.
func export[T any](a *API, w http.ResponseWriter, r *http.Request, of what, read func(context.Context, call) (page[T], error)) {
	c, err := a.admit(r, of)
	if err == nil {
		_, err = c.limit()
	}
	if err != nil {
		write(w, a.replyTo(r.Context(), of.id, err))
		return
	}
	select {
	case a.exports <- struct{}{}:
		defer func() { <-a.exports }()
	default:
		write(w, transport(http.StatusTooManyRequests, "too_many_exports", "other exports are under way; try again when one has ended"))
		return
	}
	query := r.URL.Query()
	query.Set("limit", strconv.Itoa(maxLimit))
	rc, lines := http.NewResponseController(w), json.NewEncoder(w)
	for begun := false; ; begun = true {
		c.r = r.Clone(r.Context())
		c.r.URL.RawQuery = query.Encode()
		p, err := readPage(r.Context(), c, read)
		switch {
		case err != nil && !begun:
			write(w, a.replyTo(r.Context(), of.id, err))
			return
		case err != nil:
			a.log.ErrorContext(r.Context(), "an export was cut short", "operation", of.id, "error", err)
			panic(http.ErrAbortHandler)
		case !begun:
			w.Header().Set("Content-Type", "application/x-ndjson")
		}
		if err := rc.SetWriteDeadline(time.Now().Add(exportPage)); err != nil {
			panic(http.ErrAbortHandler)
		}
		for i := range p.Items {
			if lines.Encode(render(reflect.ValueOf(&p.Items[i]).Elem())) != nil {
				return // the client has gone
			}
		}
		if p.Next == "" || rc.Flush() != nil {
			return
		}
		query.Set("after", p.Next)
	}
}

func readPage[T any](ctx context.Context, c call, read func(context.Context, call) (page[T], error)) (page[T], error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return read(ctx, c)
}
