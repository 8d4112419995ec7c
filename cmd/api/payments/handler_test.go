package payments_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/cmd/api/payments"
	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
)

func TestBusinessErrors(t *testing.T) {
	a := start(t)
	with := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in the good request", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	long := strings.Repeat("x", 501)
	cases := []struct{ code, body, key string }{
		{payments.CodeUnknownField, with(`"amount"`, `"ammount":1,"amount"`), ""},
		{payments.CodeUnknownField, with(`"email"`, `"Email"`), ""},
		{payments.CodeInvalidAmount, with(`1999`, `0`), ""},
		{payments.CodeInvalidAmount, with(`1999`, `-1`), ""},
		{payments.CodeInvalidAmount, with(`1999`, `19.99`), ""},
		{payments.CodeInvalidAmount, with(`1999`, `"1999"`), ""},
		{payments.CodeInvalidAmount, with(`1999`, `100000000`), ""},
		{payments.CodeInvalidAmount, with(`1999`, `1e300`), ""},
		{payments.CodeInvalidAmount, with(`1999`, `null`), ""},
		{payments.CodeInvalidAmount, with(`"amount":1999,`, ``), ""},
		{payments.CodeInvalidCurrency, with(`"eur"`, `"EUR"`), ""},
		{payments.CodeInvalidCurrency, with(`"eur"`, `"euro"`), ""},
		{payments.CodeInvalidCurrency, with(`"eur"`, `978`), ""},
		{payments.CodeInvalidCustomer, with(`"cus_1"`, `""`), ""},
		{payments.CodeInvalidCustomer, with(`"cus_1"`, `"a b"`), ""},
		{payments.CodeInvalidPaymentMethod, with(`"payment_method":"pm_card_visa",`, ``), ""},
		{payments.CodeInvalidEmail, with(`ada@example.org`, `ada`), ""},
		{payments.CodeInvalidEmail, with(`ada@example.org`, `a@b@c`), ""},
		{payments.CodeInvalidEmail, with(`ada@example.org`, `ada@example.org\nBcc: x@y.z`), ""},
		{payments.CodeInvalidPhone, with(`+4915112345678`, `004915112345678`), ""},
		{payments.CodeInvalidPhone, with(`+4915112345678`, `+0915112345678`), ""},
		{payments.CodeInvalidDescription, with(`Two books`, ``), ""},
		{payments.CodeInvalidDescription, with(`Two books`, long), ""},
		{payments.CodeInvalidDescription, with(`"Two books"`, `["x"]`), ""},
		{payments.CodeInvalidIdempotencyKey, good, strings.Repeat("k", 256)},
		{payments.CodeInvalidIdempotencyKey, good, "schlüssel"},
	}
	seen := map[string]bool{payments.CodeIdempotencyKeyReused: true} // has a test of its own
	for _, c := range cases {
		seen[c.code] = true
		var headers []string
		if c.key != "" {
			headers = []string{"Idempotency-Key", c.key}
		}
		ans := a.post(c.body, headers...)
		if ans.status != 422 || ans.body.Error.Code != c.code || ans.body.Error.Msg == "" {
			t.Errorf("%s: %d %s", c.code, ans.status, ans.text)
		}
	}
	for _, c := range payments.Codes() {
		if !seen[c.Code] {
			t.Errorf("no case for the code %s", c.Code)
		}
	}
	if list, intents := a.written(); len(list)+len(intents) != 0 {
		t.Errorf("refused requests left %d payments and %d intents", len(list), len(intents))
	}
}

// What JSON calls the same number is accepted however it is written.
func TestAmountAsDecimalOrExponent(t *testing.T) {
	a := start(t)
	for _, amount := range []string{"1999.0", "1.999e3", "1"} {
		if ans := a.post(strings.Replace(good, "1999", amount, 1)); ans.status != http.StatusAccepted {
			t.Errorf("amount %s: %d %s", amount, ans.status, ans.text)
		}
	}
}

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
		{"no UTF-8", "POST", "/payments", strings.Replace(good, "Two", "\xff", 1), nil, 400, ""},
		{"deep nesting", "POST", "/payments", strings.Repeat("[", 30000), nil, 400, ""},
		{"unknown payment", "GET", "/payments/pay_x", "", nil, 404, ""},
		{"unknown path", "GET", "/refunds", "", nil, 404, ""},
		{"path below a payment", "GET", "/payments/pay_x/y", "", nil, 404, ""},
		{"no list", "GET", "/payments", "", nil, 405, "POST"},
		{"no deleting", "DELETE", "/payments/pay_x", "", nil, 405, "GET"},
		{"too large", "POST", "/payments", strings.Repeat(" ", 70_000) + good, nil, 413, ""},
		{"a form", "POST", "/payments", good, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, ""},
		{"no type", "POST", "/payments", good, []string{"Content-Type", ""}, 415, ""},
	} {
		ans := a.do(c.method, c.path, c.body, c.headers...)
		if ans.status != c.status || ans.body.Status != c.status || ans.body.Detail == "" || ans.header.Get("Allow") != c.allow {
			t.Errorf("%s: %d %s, Allow %q", c.name, ans.status, ans.text, ans.header.Get("Allow"))
		}
		if ans.body.Error.Code != "" {
			t.Errorf("%s: a transport error has a business code: %s", c.name, ans.text)
		}
	}
	if ans := a.post(good, "Content-Type", "application/json; charset=utf-8"); ans.status != http.StatusAccepted {
		t.Errorf("a charset is refused: %d %s", ans.status, ans.text)
	}
	if ans := a.do(http.MethodHead, "/healthz", ""); ans.status != http.StatusOK {
		t.Errorf("HEAD /healthz: %d", ans.status)
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
	a := start(t)
	away, err := payments.New(payments.Config{Database: client.Database("x"), Senders: senders, Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	url := a.serveToo(away.Handler())
	for _, c := range []struct{ method, path, body string }{{"POST", "/payments", good}, {"GET", "/payments/pay_x", ""}, {"GET", "/readyz", ""}} {
		a.url = url
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

func TestUnmigratedDatabaseIsRefused(t *testing.T) {
	app, err := payments.New(payments.Config{Database: mongotest.Database(t), Senders: senders})
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Prepare(t.Context()); !errors.Is(err, migrations.ErrNotMigrated) {
		t.Errorf("Prepare returned %v, want ErrNotMigrated", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	_, err := payments.New(payments.Config{Outbox: payments.Collection, Senders: payments.Senders{Email: "x", Phone: "y"}})
	for _, want := range []string{"Database is required", "the outbox cannot be", "sender of e-mails", "sender of SMS"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New returned %v, want it to say %q", err, want)
		}
	}
}

// No log line holds anything of a customer, whatever happens.
func TestLogsHoldNoCustomerData(t *testing.T) {
	a := start(t)
	a.post(good, "Idempotency-Key", "secret-key-4711")
	a.post(strings.Replace(good, "1999", "5", 1), "Idempotency-Key", "secret-key-4711")
	a.post(strings.Replace(good, "+49", "49", 1))
	a.do("GET", "/payments/ada@example.org", "")
	a.do("GET", "/ada@example.org?phone=+4915112345678", "")
	refuse := bson.D{{Key: "collMod", Value: "outbox"}, {Key: "validator", Value: bson.D{{Key: "$jsonSchema", Value: bson.D{{Key: "required", Value: bson.A{"x"}}}}}}}
	if err := a.db.RunCommand(t.Context(), refuse).Err(); err != nil {
		t.Fatal(err)
	}
	a.post(good)
	log := a.log.String()
	for _, secret := range []string{"ada", "4915112345678", "cus_1", "pm_card_visa", "Two books", "secret-key-4711"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q:\n%s", secret, log)
		}
	}
	for _, want := range []string{`"route":"/payments"`, `"status":202`, `"code":"idempotency_key_reused"`, `"payment":"pay_`, `"mongodb_codes":[121]`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
}

func TestServeEndsInGoodOrder(t *testing.T) {
	a := start(t)
	app, err := payments.New(payments.Config{Database: a.db, Senders: senders})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- app.Serve(ctx, ln, 10*time.Second) }()
	a.url = "http://" + ln.Addr().String()
	if ans := a.post(good); ans.status != http.StatusAccepted {
		t.Errorf("POST: %d %s", ans.status, ans.text)
	}

	// A request under way when the signal comes is answered.
	conn, err := net.Dial("tcp", ln.Addr().String())
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
	stop()
	if _, err := conn.Write([]byte(good)); err != nil {
		t.Fatal(err)
	}
	n, err = conn.Read(got)
	if err != nil || !strings.HasPrefix(string(got[:n]), "HTTP/1.1 202") {
		t.Errorf("read %q, error %v", got[:n], err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve returned %v", err)
	}
	if list, intents := a.written(); len(list) != 2 || len(intents) != 2 {
		t.Errorf("%d payments and %d intents, want 2 of each", len(list), len(intents))
	}
}

func TestCodesAreDistinct(t *testing.T) {
	var codes []string
	for _, c := range payments.Codes() {
		if c.Meaning == "" || slices.Contains(codes, c.Code) {
			t.Errorf("code %q stands twice or has no meaning", c.Code)
		}
		codes = append(codes, c.Code)
	}
}
