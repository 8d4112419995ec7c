package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/outboxd/outboxd/admin"
)

// call is one request that was let in.
type call struct {
	r     *http.Request
	actor admin.Actor
}

// path returns a part of the path, and query a value of the query.
func (c call) path(name string) string  { return c.r.PathValue(name) }
func (c call) query(name string) string { return c.r.URL.Query().Get(name) }

type output struct {
	Status int
	Body   any
}

// what describes one operation.
type what struct {
	id, method, path, summary string
	role                      admin.Role
	query                     []string // parameters that may stand in the query; others are refused
	status                    int      // of the success; 0: 200
}

// register adds an operation that takes no body. huma neither reads nor checks anything: its errors would be 422.
func register[O any](a *API, w what, serve func(context.Context, call) (O, error)) {
	op := a.operation(w)
	op.Responses[strconv.Itoa(max(w.status, http.StatusOK))] = &huma.Response{Description: "Done.", Content: map[string]*huma.MediaType{"application/json": {Schema: shapeOf(reflect.TypeFor[O]())}}}
	huma.Register(a.huma, op, func(ctx context.Context, _ *struct{}) (*output, error) {
		out, err := func() (any, error) {
			c, err := a.admit(requestOf(ctx), w)
			if err != nil {
				return nil, err
			}
			out, err := serve(ctx, c)
			if err != nil {
				return nil, err
			}
			return render(reflect.ValueOf(&out).Elem()), nil
		}()
		if err != nil {
			return nil, a.replyTo(ctx, w.id, err)
		}
		return &output{Status: max(w.status, http.StatusOK), Body: out}, nil
	})
}

// registerBody adds an operation that takes a body.
func registerBody[I, O any](a *API, w what, serve func(context.Context, call, I) (O, error)) {
	register(a, w, func(ctx context.Context, c call) (O, error) {
		var none O
		in, err := read[I](c.r)
		if err != nil {
			return none, err
		}
		return serve(ctx, c, in)
	})
	path := a.huma.OpenAPI().Paths[Prefix+w.path]
	path.Post.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: shapeOf(reflect.TypeFor[I]())}}}
}

func (a *API) operation(w what) huma.Operation {
	op := huma.Operation{
		OperationID: w.id, Method: w.method, Path: Prefix + w.path, Summary: w.summary, SkipValidateParams: true, SkipValidateBody: true,
		DefaultStatus: max(w.status, http.StatusOK), Extensions: map[string]any{"x-role": string(w.role)},
		Responses: map[string]*huma.Response{
			"422":     {Description: "Refused for a reason of the business.", Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: huma.TypeObject}}}},
			"default": {Description: "A transport error.", Content: map[string]*huma.MediaType{"application/problem+json": {Schema: &huma.Schema{Type: huma.TypeObject}}}},
		},
	}
	for part := range strings.SplitSeq(w.path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			op.Parameters = append(op.Parameters, &huma.Param{Name: strings.TrimSuffix(name, "}"), In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
		}
	}
	if w.method == http.MethodPost && !strings.HasSuffix(w.path, payloadPath) {
		op.Parameters = append(op.Parameters, &huma.Param{Name: idempotencyKey, In: "header", Schema: &huma.Schema{Type: huma.TypeString},
			Description: "The answer to the first request with this key and path is given again for a day, and nothing is done twice."})
	}
	for _, name := range w.query {
		op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: "query", Schema: &huma.Schema{Type: huma.TypeString}})
	}
	return op
}

// admit checks the role before anything of the request is read, and refuses what nobody would look at.
func (a *API) admit(r *http.Request, w what) (call, error) {
	actor, ok := a.config.Actor(r, w.role)
	if !ok {
		return call{}, transport(http.StatusUnauthorized, "unauthenticated", "nobody is known to have sent this")
	}
	if !actor.Has(w.role) {
		return call{}, &admin.Forbidden{Role: w.role}
	}
	for name, values := range r.URL.Query() {
		known := false
		for _, q := range w.query {
			known = known || name == q || strings.HasSuffix(q, "*") && strings.HasPrefix(name, strings.TrimSuffix(q, "*"))
		}
		if !known || len(values) != 1 { // a misspelled filter would show everything
			return call{}, transport(http.StatusBadRequest, "bad_query", "a parameter of the query is unknown, or is there twice; see the description")
		}
	}
	return call{r, actor}, nil
}

// read decodes a body. Unknown fields are refused: a misspelled limit would be none.
func read[T any](r *http.Request) (v T, err error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return v, transport(http.StatusUnsupportedMediaType, "not_json", "send the body as application/json")
	}
	data, err := io.ReadAll(r.Body)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return v, transport(http.StatusRequestEntityTooLarge, "body_too_large", "the body must have at most %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return v, transport(http.StatusBadRequest, "bad_body", "the body ended before its end")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil || dec.More() {
		return v, transport(http.StatusBadRequest, "bad_body", "the body is not the JSON that the description asks for")
	}
	return v, nil
}
