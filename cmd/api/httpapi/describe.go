package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/outboxd/outboxd/cmd/api/payments"
)

const (
	about = `A reference API that takes payments. It writes a payment and the intent that charges it in one transaction; ` +
		"`outboxd worker`" + ` charges the card, writes the outcome back, and sends the receipts.

A success is 2xx. A request that was understood and is refused for what it says is **422**, with a stable code. ` +
		`Everything else is transport: application/problem+json, and no word about the business.`
	jsonType    = "application/json"
	problemType = "application/problem+json"
)

// describe registers the operations, and with them their description. huma reads no body and checks nothing: its errors
// would be 422 in a form of its own, for what is transport as well as for what is business.
func (a *API) describe() {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "outboxd reference payments API", Version: "1", Description: about},
			Components: &huma.Components{
				Schemas:   registry,
				Responses: make(map[string]*huma.Response),
			},
			Tags: []*huma.Tag{{Name: "payments"}, {Name: "webhooks", Description: "For the providers. Each route exists where its secret is configured."}},
		},
		Formats:       map[string]huma.Format{jsonType: huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: jsonType,
	}
	describeErrors(config.OpenAPI)
	a.huma = humago.New(a.mux, config)
	a.paymentOperations()
	a.webhookOperations()
	for _, unused := range []string{"ErrorModel", "ErrorDetail"} { // huma describes its own errors, which are never answered
		delete(registry.Map(), unused)
	}
}

// schema returns the schema of a Go type, by reference.
func schema[T any](o *huma.OpenAPI) *huma.Schema {
	t := reflect.TypeFor[T]()
	return o.Components.Schemas.Schema(t, true, "")
}

// transports are the transport errors and what they mean.
var transports = []struct {
	status int
	name   string
	doc    string
}{
	{http.StatusBadRequest, "Unreadable", "The request cannot be read: no JSON object, no UTF-8, or a field that stands twice."},
	{http.StatusForbidden, "Forbidden", "The signature is missing, too old, or does not fit."},
	{http.StatusRequestTimeout, "Timeout", "The body did not arrive in time."},
	{http.StatusConflict, "InFlight", "A request under this Idempotency-Key is under way. Repeat it in a moment."},
	{http.StatusRequestEntityTooLarge, "TooLarge", "The body is too large."},
	{http.StatusRequestURITooLong, "URITooLong", "Path and query are too long."},
	{http.StatusUnsupportedMediaType, "UnsupportedMediaType", "The Content-Type is not the one that is expected."},
	{http.StatusTooManyRequests, "TooManyRequests", "The client sends too many requests, or lets too many wait. See Retry-After."},
	{http.StatusInternalServerError, "InternalError", "Something went wrong here, not with the request."},
	{http.StatusServiceUnavailable, "Unavailable", "The request cannot be served now. Repeat it after Retry-After; a POST under the same Idempotency-Key, since it may have been carried out."},
}

// describeErrors describes every error once.
func describeErrors(o *huma.OpenAPI) {
	retry := map[string]*huma.Param{"Retry-After": {Description: "Seconds to wait.", Schema: &huma.Schema{Type: huma.TypeInteger}}}
	problems := schema[problem](o)
	for _, t := range transports {
		r := &huma.Response{Description: t.doc, Content: map[string]*huma.MediaType{problemType: {Schema: problems}}}
		switch t.status {
		case http.StatusConflict, http.StatusTooManyRequests, http.StatusServiceUnavailable:
			r.Headers = retry
		}
		o.Components.Responses[t.name] = r
	}
	var codes []any
	var table strings.Builder
	table.WriteString("The request was understood and is refused for what it says. One problem is `error`, several are `errors`, all of them. Codes:\n\n")
	for _, c := range payments.Codes() {
		codes = append(codes, c.Code)
		fmt.Fprintf(&table, "- `%s`: %s\n", c.Code, c.Meaning)
	}
	code := &huma.Schema{Type: huma.TypeString, Enum: codes, Description: "Stable: a code is added, never renamed or given another meaning."}
	msg := &huma.Schema{Type: huma.TypeString, Description: "For people."}
	field := &huma.Schema{Type: huma.TypeString, Description: "The field of the body, empty where it is none."}
	one := object([]string{"code", "msg"}, map[string]*huma.Schema{"code": code, "msg": msg})
	several := object([]string{"code", "msg", "field"}, map[string]*huma.Schema{"code": code, "msg": msg, "field": field})
	o.Components.Responses["Refused"] = &huma.Response{
		Description: table.String(),
		Content: map[string]*huma.MediaType{jsonType: {
			Schema: &huma.Schema{OneOf: []*huma.Schema{
				object([]string{"error"}, map[string]*huma.Schema{"error": one}),
				object([]string{"errors"}, map[string]*huma.Schema{"errors": {Type: huma.TypeArray, Items: several, MinItems: new(2)}}),
			}},
			Examples: map[string]*huma.Example{
				"one":     {Value: business(payments.Refuse(payments.CodeUnknownPayment))},
				"several": {Value: several2()},
			},
		}},
	}
}

// several2 is an example of two problems at once.
func several2() *businessError {
	_, err := payments.ReadOrder([]byte(`{"amount":0,"currency":"EUR","customer":"cus_1","payment_method":"pm_card_visa"}`))
	refused, ok := errors.AsType[*payments.Refused](err)
	if !ok {
		panic("httpapi: the example of a refused order is accepted")
	}
	return business(refused)
}

func object(required []string, properties map[string]*huma.Schema) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Required: required, Properties: properties, AdditionalProperties: false}
}

// responses refers to the errors that an operation may answer with, besides those that every operation has.
func responses(statuses ...int) map[string]*huma.Response {
	all := make(map[string]*huma.Response)
	refer := func(status int, name string) {
		all[strconv.Itoa(status)] = &huma.Response{Ref: "#/components/responses/" + name}
	}
	for _, status := range append(statuses, http.StatusRequestURITooLong, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable) {
		if status == http.StatusUnprocessableEntity {
			refer(status, "Refused")
		}
		for _, t := range transports {
			if t.status == status {
				refer(status, t.name)
			}
		}
	}
	return all
}

// orderSchema describes the body of POST /payments, from what it is checked against.
func orderSchema() *huma.Schema {
	s := object(nil, make(map[string]*huma.Schema))
	for _, f := range payments.Fields() {
		field := &huma.Schema{Type: huma.TypeString, Description: f.Doc, Examples: []any{f.Example}}
		if f.Max > 0 {
			field.Type, field.Minimum, field.Maximum = huma.TypeInteger, new(float64(f.Min)), new(float64(f.Max))
		} else {
			field.Pattern = f.Pattern.String()
		}
		if f.MaxLength > 0 {
			field.MaxLength = new(f.MaxLength)
		}
		s.Properties[f.Name] = field
		if f.Required {
			s.Required = append(s.Required, f.Name)
		}
	}
	return s
}

// takesBody describes the body of a POST. It is added once huma has the operation: huma would read it otherwise.
func (a *API) takesBody(path, media string, s *huma.Schema) {
	a.huma.OpenAPI().Paths[path].Post.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{media: {Schema: s}}}
}

// OpenAPI returns the API's description as YAML.
func (a *API) OpenAPI() ([]byte, error) { return a.huma.OpenAPI().YAML() }
