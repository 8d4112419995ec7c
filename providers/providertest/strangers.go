package providertest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/outboxd/outboxd/outbox"
)

// refusals are the statuses by which something in between refuses a request. None of them is the provider's no.
var refusals = []int{400, 401, 402, 403, 404, 405, 406, 407, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 423, 425, 426, 428, 431, 451}

// strange are the bodies that gateways and other programs answer with.
var strange = map[string]string{
	"nothing":                "",
	"nginx":                  "<html>\r\n<head><title>Refused</title></head>\r\n<body>\r\n<center><h1>Refused</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n",
	"Cloudflare":             "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head><body>error code: 1020</body></html>",
	"Cloudflare's API":       `{"success":false,"errors":[],"messages":[],"result":null}`,
	"AWS API Gateway":        `{"message":"Forbidden"}`,
	"AWS API Gateway, null":  `{"message":null}`,
	"AWS load balancer":      "<html><head><title>403 Forbidden</title></head></html>",
	"Kong":                   `{"message":"no Route matched with those values"}`,
	"Envoy":                  "RBAC: access denied",
	"Google":                 `{"error":{"code":404,"message":"Not Found","status":"NOT_FOUND"}}`,
	"an error as a text":     `{"error":"forbidden","error_description":"no"}`,
	"an error without type":  `{"error":{"message":"no","code":"resource_missing"}}`,
	"Spring":                 `{"timestamp":"2026-01-01T00:00:00Z","status":404,"error":"Not Found","path":"/x"}`,
	"gRPC gateway":           `{"code":5,"message":"Not Found","details":[]}`,
	"a code of three digits": `{"code":404,"message":"Not Found","status":404}`,
	"problem details":        `{"type":"about:blank","title":"Forbidden","status":403}`,
	"errors as a text":       `{"errors":"no"}`,
	"errors without text":    `{"errors":[{"code":1000}]}`,
	"a list":                 `[]`,
	"null":                   `null`,
	"a number":               `404`,
	"half an object":         `{"error":{"type":"invalid_request_error"`,
}

// strangers refuses the step's request by every status and body of something that is not the provider. The intent is
// not to blame for any of it, and nothing was done.
func (h *harness) strangers(t *testing.T, step Step) {
	want := Want{Class: outbox.Hold, Code: outbox.CodeNotTheProvider}
	for n, status := range refusals {
		for name, body := range strange {
			kind := []string{"text/html", "application/json"}[n%2] // which says nothing
			reply := Reply{Status: status, Body: body, Header: map[string]string{"Content-Type": kind, "X-Echo": strings.Join(h.suite.Forbidden, " ")}}
			h.row(t, step, Row{Name: fmt.Sprintf("%d of %s as %s", status, name, kind), Reply: reply, Want: want})
		}
		cut := JSON(status, step.Error(status))
		cut.Fault = Truncate
		h.row(t, step, Row{Name: fmt.Sprintf("%d, cut off", status), Reply: cut, Want: want})
	}
	for name, body := range strange { // a limit is a limit, whoever sets it
		h.row(t, step, Row{Name: "429 of " + name, Reply: Reply{Status: 429, Body: body}, Want: step.status(429).Other})
	}
}

// Strangers fills in what a status means with a body that is not the provider's: something in between refused the
// request. Statuses that do not say so keep what the table wants.
func Strangers(table []Status) []Status {
	filled := append([]Status(nil), table...)
	for _, status := range refusals {
		rule := Step{Statuses: table}.status(status)
		rule.From, rule.To = status, status
		rule.Other, rule.Empty = Want{Class: outbox.Hold, Code: outbox.CodeNotTheProvider}, Want{}
		filled = append(filled, rule)
	}
	return filled
}
