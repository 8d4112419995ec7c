package httpapi

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"regexp"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/outboxd/outboxd/cmd/api/payments"
)

// accepted is the answer to an order. It is the same however often the order is repeated under one key.
type accepted struct {
	ID    string         `json:"id" pattern:"^pay_[a-z2-7]{26}$"`
	State payments.State `json:"state" enum:"pending"`
	Msg   string         `json:"msg" doc:"For the customer."`
}

const acceptedMsg = "Your payment is being processed. You do not have to do anything."

type createInput struct {
	Key         string `header:"Idempotency-Key" pattern:"^[ -~]{1,257}$" doc:"Makes a repetition harmless: the same order under the same key has the first answer, and nothing is charged twice. Another order under it is refused (422). A string of RFC 9651, with or without its quotes."`
	TraceParent string `header:"Traceparent" doc:"W3C trace context, which the worker's spans continue."`
	TraceState  string `header:"Tracestate"`
}

type createOutput struct {
	Location   string `header:"Location" doc:"Where the payment is to be seen."`
	RetryAfter int    `header:"Retry-After" doc:"Seconds after which there may be news."`
	Replayed   string `header:"Idempotent-Replayed" doc:"true, if the order was taken by an earlier request."`
	Body       accepted
}

type findInput struct {
	ID   string `path:"id" pattern:"^pay_[a-z2-7]{26}$"`
	Wait string `query:"wait" pattern:"^([0-9]|[12][0-9]|30)s$" example:"20s" doc:"Answer as soon as the state changes, at the latest after this time. Without it, and where the state is paid or failed, at once."`
}

type findOutput struct{ Body payments.View }

type eventsInput struct {
	ID string `path:"id" pattern:"^pay_[a-z2-7]{26}$"`
}

func (a *API) paymentOperations() {
	tags := []string{"payments"}
	create := huma.Operation{
		OperationID: "createPayment", Method: http.MethodPost, Path: "/payments", Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary:     "Take an order and charge it soon",
		Description: "The payment and the intent that charges it are stored in one transaction; then comes the answer. The card is charged a moment later.",
		Responses: responses(http.StatusBadRequest, http.StatusRequestTimeout, http.StatusConflict, http.StatusRequestEntityTooLarge,
			http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity),
	}
	find := huma.Operation{
		OperationID: "getPayment", Method: http.MethodGet, Path: "/payments/{id}", Tags: tags,
		Summary:   "See what became of a payment",
		Responses: responses(http.StatusUnprocessableEntity),
	}
	events := huma.Operation{
		OperationID: "watchPayment", Method: http.MethodGet, Path: "/payments/{id}/events", Tags: tags,
		Summary: "Watch what becomes of a payment",
		Description: "Server-sent events. The first one has the payment as it is, each further one as it has become: `event: payment`, " +
			"`data:` as of GET /payments/{id}. `event: end` says that nothing more will come; then close the connection.",
		Responses: responses(http.StatusUnprocessableEntity),
	}
	events.Responses["200"] = &huma.Response{Description: "OK", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: eventSchema()}}}
	for _, op := range []*huma.Operation{&create, &find, &events} {
		op.SkipValidateParams = true
	}
	huma.Register(a.huma, create, answering(a.create))
	a.takesBody(create.Path, jsonType, orderSchema())
	huma.Register(a.huma, find, answering(a.find))
	huma.Register(a.huma, events, answering(a.events))
}

// eventSchema describes one event.
func eventSchema() *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Required: []string{"event", "data"}, Properties: map[string]*huma.Schema{
		"event": {Type: huma.TypeString, Enum: []any{"payment", "end"}},
		"data":  {Type: huma.TypeString, Description: "JSON: of payment the payment as GET /payments/{id} answers it, of end an empty object."},
	}}
}

// answering turns every error of a handler into its answer.
func answering[I, O any](serve func(context.Context, *I) (*O, error)) func(context.Context, *I) (*O, error) {
	return func(ctx context.Context, in *I) (*O, error) {
		out, err := serve(ctx, in)
		if err != nil {
			return nil, exchangeOf(ctx).fail(err)
		}
		return out, nil
	}
}

func (a *API) create(ctx context.Context, in *createInput) (*createOutput, error) {
	x := exchangeOf(ctx)
	if err := x.contentType(jsonType); err != nil {
		return nil, err
	}
	body, err := x.body(maxBody)
	if err != nil {
		return nil, err
	}
	order, wrong := payments.ReadOrder(body)
	key, wrongKey := payments.ReadKey(x.r.Header.Values("Idempotency-Key"))
	if err := together(wrong, wrongKey); err != nil {
		return nil, err
	}
	if err := a.work(x); err != nil {
		return nil, err
	}
	p, replayed, err := a.cfg.Payments.Create(ctx, order, key, payments.Trace{Parent: in.TraceParent, State: in.TraceState})
	if err != nil {
		return nil, err
	}
	x.payment = p.ID
	out := &createOutput{Location: "/payments/" + p.ID, RetryAfter: 1, Body: accepted{p.ID, payments.StatePending, acceptedMsg}}
	if replayed {
		out.Replayed = "true"
	}
	return out, nil
}

// together joins what is wrong with a body and what is wrong with a header. A body that cannot be read comes first.
func together(body, header error) error {
	inBody, ok := errors.AsType[*payments.Refused](body)
	if body != nil && !ok || header == nil {
		return body
	}
	inHeader, ok := errors.AsType[*payments.Refused](header)
	if !ok || inBody == nil {
		return header
	}
	return &payments.Refused{Problems: append(inBody.Problems, inHeader.Problems...)}
}

// contentType refuses a body that calls itself something else.
func (x *exchange) contentType(want string) error {
	if media, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type")); err != nil || media != want {
		return transport(http.StatusUnsupportedMediaType, "the Content-Type must be %s", want)
	}
	return nil
}

func (a *API) find(ctx context.Context, in *findInput) (*findOutput, error) {
	x := exchangeOf(ctx)
	wait, err := readWait(x.r.URL.Query()["wait"])
	if err != nil {
		return nil, err
	}
	if err := a.work(x); err != nil {
		return nil, err
	}
	p, err := a.cfg.Payments.Find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	x.payment = p.ID
	if wait == 0 || p.Status().Final() {
		return &findOutput{p.View()}, nil
	}
	release, err := a.wait(x)
	if err != nil {
		return nil, err
	}
	defer release()
	x.patience(wait)
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	stop := context.AfterFunc(a.stopping, cancel)
	defer stop()
	return &findOutput{a.cfg.Payments.Await(ctx, p).View()}, nil
}

var waits = regexp.MustCompile(`^([0-9]|[12][0-9]|30)s$`)

func readWait(values []string) (time.Duration, error) {
	if len(values) == 0 {
		return 0, nil
	}
	if len(values) > 1 || !waits.MatchString(values[0]) {
		return 0, payments.Refuse(payments.CodeInvalidWait)
	}
	return time.ParseDuration(values[0])
}
