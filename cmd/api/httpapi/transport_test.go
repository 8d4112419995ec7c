package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/cmd/api/httpapi"
	"github.com/outboxd/outboxd/cmd/api/payments"
)

// What is wrong with a request itself is a problem, and says nothing about the business.
func TestTransportErrors(t *testing.T) {
	a := start(t)
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		allow                    string
	}{
		{"empty body", "POST", "/payments", "", nil, 400, ""},
		{"cut body", "POST", "/payments", good[:20], nil, 400, ""},
		{"an array", "POST", "/payments", "[" + good + "]", nil, 400, ""},
		{"null", "POST", "/payments", "null", nil, 400, ""},
		{"two objects", "POST", "/payments", good + good, nil, 400, ""},
		{"a comma too many", "POST", "/payments", strings.Replace(good, "}", ",}", 1), nil, 400, ""},
		{"no UTF-8", "POST", "/payments", strings.Replace(good, "Two", "\xff", 1), nil, 400, ""},
		{"half a character", "POST", "/payments", strings.Replace(good, "Two", `\ud83d`, 1), nil, 400, ""},
		{"a field twice", "POST", "/payments", strings.Replace(good, "{", `{"amount":1,`, 1), nil, 400, ""},
		{"a field twice, escaped", "POST", "/payments", strings.Replace(good, "{", `{"\u0061mount":1,`, 1), nil, 400, ""},
		{"a field twice, inside", "POST", "/payments", strings.Replace(good, "{", `{"x":{"y":1,"y":2},`, 1), nil, 400, ""},
		{"deep nesting", "POST", "/payments", strings.Repeat("[", 30000), nil, 400, ""},
		{"unknown path", "GET", "/refunds", "", nil, 404, ""},
		{"path below a payment", "GET", "/payments/pay_x/y", "", nil, 404, ""},
		{"a slash at the end", "GET", "/payments/", "", nil, 404, ""},
		{"two slashes", "POST", "//payments", good, nil, 404, ""},
		{"dots", "POST", "/x/../payments", good, nil, 404, ""},
		{"no list", "GET", "/payments", "", nil, 405, "POST"},
		{"no deleting", "DELETE", "/payments/pay_x", "", nil, 405, "GET, HEAD"},
		{"an unknown method", "BREW", "/payments", "", nil, 405, "POST"},
		{"options", "OPTIONS", "/payments", "", nil, 405, "POST"},
		{"too large", "POST", "/payments", strings.Repeat(" ", 70_000) + good, nil, 413, ""},
		{"too long", "GET", "/payments/x?" + strings.Repeat("x", 5000), "", nil, 414, ""},
		{"a form", "POST", "/payments", good, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, ""},
		{"no type", "POST", "/payments", good, []string{"Content-Type", ""}, 415, ""},
		{"no webhook without a secret", "POST", "/webhooks/stripe", "{}", nil, 404, ""},
		{"no simulator", "GET", "/simulator", "", nil, 404, ""},
	} {
		ans := a.do(c.method, c.path, c.body, c.headers...)
		if ans.status != c.status || ans.body.Status != c.status || ans.body.Detail == "" || ans.body.Title == "" || ans.header.Get("Allow") != c.allow {
			t.Errorf("%s: %d %s, Allow %q", c.name, ans.status, ans.text, ans.header.Get("Allow"))
		}
		if len(ans.codes()) > 0 || ans.body.RequestID != ans.header.Get("X-Request-Id") {
			t.Errorf("%s: %s", c.name, ans.text)
		}
	}
	for _, path := range []string{"/healthz", "/"} {
		if ans := a.do(http.MethodHead, path, ""); ans.status != http.StatusOK {
			t.Errorf("HEAD %s: %d", path, ans.status)
		}
	}
	if list, intents := a.written(); len(list)+len(intents) != 0 {
		t.Errorf("%d payments and %d intents were written", len(list), len(intents))
	}
}

func TestRequestIDs(t *testing.T) {
	a := start(t)
	for given, kept := range map[string]bool{"req-1.A_b": true, "": false, "a b": false, strings.Repeat("x", 65): false, "<script>": false} {
		ans := a.do("GET", "/nothing", "", "X-Request-Id", given)
		if got := ans.header.Get("X-Request-Id"); (got == given) != kept || got == "" || ans.body.RequestID != got {
			t.Errorf("the request %q is answered as %q, body %s", given, got, ans.text)
		}
		if strings.Contains(a.log.String(), given) != kept && given != "" {
			t.Errorf("the log has %q: %v", given, !kept)
		}
	}
}

// serving is an API under its own server, with the bounds that it has there.
func serving(t *testing.T, a *api) (address string, stop func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- a.app.Serve(ctx, ln, 10*time.Second) }()
	return ln.Addr().String(), func() error { cancel(); return <-served }
}

// Requests that no handler sees are answered in the same form.
func TestWhatNetHTTPRefusesIsAnsweredInTheSameForm(t *testing.T) {
	a := start(t)
	address, stop := serving(t, a)
	for _, c := range []struct {
		name, request string
		status        int
	}{
		{"a path that cannot be decoded", "GET /payments/%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"no HTTP", "hello\r\n\r\n", 400},
		{"no host", "GET / HTTP/1.1\r\n\r\n", 400},
		{"a space in a header's name", "GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n", 400},
		{"a large header", "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("x", 30_000) + "\r\n\r\n", 431},
		{"HTTP/3.0", "GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505},
		{"an unknown encoding", "POST /payments HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: brotli\r\n\r\n", 501},
		{"the star", "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404},
		{"an empty path", "GET http://x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404},
		{"a tunnel", "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\nConnection: close\r\n\r\n", 404},
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, c.request); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var p struct {
			Status        int
			Title, Detail string
		}
		err = json.NewDecoder(resp.Body).Decode(&p)
		if err != nil || resp.StatusCode != c.status || p.Status != c.status || p.Detail == "" || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s %v %+v, error %v", c.name, resp.Status, resp.Header, p, err)
		}
		_ = resp.Body.Close()
		_ = conn.Close()
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestMongoDBAway(t *testing.T) {
	// An address that nobody listens on: the listener's that was just closed.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://" + ln.Addr().String() + "/?replicaSet=rs0").SetTimeout(300 * time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Disconnect(context.Background()); err != nil {
			t.Error(err)
		}
	})
	service, err := payments.New(payments.Config{Database: client.Database("x"), Senders: senders, Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	a := serveService(t, service, nil, httpapi.Config{})
	id := "pay_aaaaaaaaaaaaaaaaaaaaaaaaaa"
	for _, c := range []struct{ method, path, body string }{{"POST", "/payments", good}, {"GET", "/payments/" + id, ""}, {"GET", "/payments/" + id + "/events", ""}, {"GET", "/readyz", ""}} {
		ans := a.do(c.method, c.path, c.body, "Idempotency-Key", "k")
		if ans.status != http.StatusServiceUnavailable || ans.header.Get("Retry-After") == "" {
			t.Errorf("%s %s: %d %s, Retry-After %q", c.method, c.path, ans.status, ans.text, ans.header.Get("Retry-After"))
		}
		if strings.Contains(ans.text, ln.Addr().String()) {
			t.Errorf("%s %s shows where MongoDB is: %s", c.method, c.path, ans.text)
		}
	}
	if ans := a.do("GET", "/healthz", ""); ans.status != http.StatusOK {
		t.Errorf("GET /healthz: %d %s", ans.status, ans.text)
	}
}

func TestReadiness(t *testing.T) {
	a := start(t)
	if ans := a.do("GET", "/readyz", ""); ans.status != http.StatusOK || ans.body.Ready == nil || !*ans.body.Ready {
		t.Errorf("GET /readyz: %d %s", ans.status, ans.text)
	}
	if err := a.db.Collection("outbox_meta").Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ans := a.do("GET", "/readyz", ""); ans.status != http.StatusServiceUnavailable || len(ans.body.Reasons) != 1 {
		t.Errorf("GET /readyz without migration: %d %s", ans.status, ans.text)
	}
}

func TestConfigIsChecked(t *testing.T) {
	_, err := httpapi.New(httpapi.Config{Webhooks: httpapi.Webhooks{TwilioToken: "t"}, Limits: httpapi.Limits{Rate: -1}})
	for _, want := range []string{"Payments is required", "PublicURL is required", "negative"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New returned %v, want it to say %q", err, want)
		}
	}
}

// No log line holds anything of a customer, whatever happens.
func TestLogsHoldNoCustomerData(t *testing.T) {
	a := start(t)
	a.post(good, "Idempotency-Key", "secret-key-4711")
	a.post(strings.Replace(good, "1999", "500", 1), "Idempotency-Key", "secret-key-4711")
	a.post(strings.Replace(good, "+49", "49", 1))
	a.do("GET", "/payments/ada@example.org", "")
	a.do("GET", "/ada@example.org?phone=+4915112345678", "")
	refuse := bson.D{{Key: "collMod", Value: "outbox"}, {Key: "validator", Value: bson.D{{Key: "$jsonSchema", Value: bson.D{{Key: "required", Value: bson.A{"x"}}}}}}}
	if err := a.db.RunCommand(t.Context(), refuse).Err(); err != nil {
		t.Fatal(err)
	}
	a.post(good)
	log := a.log.String()
	for _, secret := range []string{"ada", "4915112345678", "cus_1", "pm_card_visa", "Two books", "secret-key-4711", "127.0.0.1"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q:\n%s", secret, log)
		}
	}
	for _, want := range []string{`"route":"/payments"`, `"status":202`, `"codes":["idempotency_key_reused"]`, `"payment":"pay_`, `"mongodb_codes":[121]`, `"request_id":"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
}

// Business and transport are counted apart.
func TestMetrics(t *testing.T) {
	a := start(t)
	a.order()
	a.post(`{"amount":100,"currency":"eur","customer":"c"}`)
	a.post(`{"amount":100,"currency":"eur"}`)
	a.post(`[]`)
	a.do("GET", "/nothing", "")
	data := a.metrics()
	for _, want := range []string{
		`outbox_api_answers_total{outcome="success",route="/payments",status="202"} 1`,
		`outbox_api_answers_total{outcome="business",route="/payments",status="422"} 2`,
		`outbox_api_answers_total{outcome="transport",route="/payments",status="400"} 1`,
		`outbox_api_answers_total{outcome="transport",route="",status="404"} 1`,
		`outbox_api_business_errors_total{code="invalid_payment_method",route="/payments"} 2`,
		`outbox_api_business_errors_total{code="invalid_customer",route="/payments"} 1`,
	} {
		if !strings.Contains(data, want) {
			t.Errorf("the metrics lack %s:\n%s", want, data)
		}
	}
}

func TestServeEndsInGoodOrder(t *testing.T) {
	a := start(t)
	address, stop := serving(t, a)
	a.url = "http://" + address
	if ans := a.post(good); ans.status != http.StatusAccepted {
		t.Errorf("POST: %d %s", ans.status, ans.text)
	}

	// A request under way when the signal comes is answered.
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	head := fmt.Sprintf("POST /payments HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(good))
	if _, err := conn.Write([]byte(head)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1024)
	n, err := conn.Read(got) // 100 Continue: the handler is reading
	if err != nil || !strings.HasPrefix(string(got[:n]), "HTTP/1.1 100") {
		t.Fatalf("read %q, error %v", got[:n], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	if _, err := conn.Write([]byte(good)); err != nil {
		t.Fatal(err)
	}
	n, err = conn.Read(got)
	if err != nil || !strings.HasPrefix(string(got[:n]), "HTTP/1.1 202") {
		t.Errorf("read %q, error %v", got[:n], err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve returned %v", err)
	}
	if list, intents := a.written(); len(list) != 2 || len(intents) != 2 {
		t.Errorf("%d payments and %d intents, want 2 of each", len(list), len(intents))
	}
}
