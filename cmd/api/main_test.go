package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
)

func TestMain(m *testing.M) { mongotest.Main(m) }

// from makes an environment of a few variables.
func from(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func TestWrongUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "uri")
	if err := os.WriteFile(file, []byte("mongodb://user:pa55word@host/"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		env  map[string]string
		want []string
	}{
		"unknown flag": {[]string{"--lisen", "x"}, nil, []string{"--lisen", "--help"}},
		"argument":     {[]string{"serve"}, nil, []string{"serve"}},
		"all problems at once": {
			[]string{"--listen=8426", "--email-from=me", "--collection=payments", "--drain=-1s"},
			map[string]string{"OUTBOXD_MONGODB_URI": "mongodb://user:pa55word@host/", "OUTBOXD_MONGODB_URI_FILE": file, "OUTBOXD_LOG_LEVEL": "loud", "OUTBOX_API_SMS_FROM": "12", "OUTBOX_API_SENDGRID_WEBHOOK_KEY": "pa55word"},
			[]string{"--listen", "--email-from", "OUTBOX_API_SMS_FROM", "--collection", "--drain", "OUTBOX_API_SENDGRID_WEBHOOK_KEY", "OUTBOXD_MONGODB_URI_FILE", "OUTBOXD_LOG_LEVEL"},
		},
		"bad option": {[]string{"--mongodb-uri=mongodb://user:pa55word@127.0.0.1:1/?tls=perhaps"}, nil, []string{"--mongodb-uri"}},
		"events":     {[]string{"--collection=email_events"}, nil, []string{"--collection", "events"}},
		"receipts":   {[]string{"--collection=webhook_receipts"}, nil, []string{"--collection", "receipts"}},
		"limits and addresses": {
			[]string{"--rate=fast", "--client-header=a b", "--simulator=127.0.0.1:8431", "--public-url=https://x/y"}, nil,
			[]string{"--rate", "--client-header", "--simulator", "--public-url"},
		},
		"Twilio without a URL": {nil, map[string]string{"OUTBOX_API_TWILIO_AUTH_TOKEN": "pa55word"}, []string{"--public-url", "OUTBOX_API_TWILIO_AUTH_TOKEN"}},
		"secrets twice":        {nil, map[string]string{"OUTBOX_API_STRIPE_WEBHOOK_SECRET": "pa55word", "OUTBOX_API_STRIPE_WEBHOOK_SECRET_FILE": file}, []string{"OUTBOX_API_STRIPE_WEBHOOK_SECRET_FILE"}},
		"empty flag":           {[]string{"--listen="}, nil, []string{"--listen"}},
	} {
		var out, errOut bytes.Buffer
		if code := run(t.Context(), c.args, from(c.env), &out, &errOut); code != exitWrongUse {
			t.Errorf("%s: exit code %d, want %d", name, code, exitWrongUse)
		}
		for _, want := range c.want {
			if !strings.Contains(errOut.String(), want) {
				t.Errorf("%s: the message lacks %s: %s", name, want, errOut.String())
			}
		}
		if strings.Contains(errOut.String(), "pa55word") {
			t.Errorf("%s: the message shows the password: %s", name, errOut.String())
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, flag := range []string{"--help", "--version"} {
		var out, errOut bytes.Buffer
		if code := run(t.Context(), []string{flag}, from(nil), &out, &errOut); code != 0 || !strings.Contains(out.String(), "outbox-api") || errOut.Len() > 0 {
			t.Errorf("%s: exit code %d, printed %q and %q", flag, code, out.String(), errOut.String())
		}
	}
}

func TestFailsWithTheReason(t *testing.T) {
	db := mongotest.Database(t)
	for name, c := range map[string]struct {
		uri  string
		want string
	}{
		"not migrated": {mongotest.URI(t), "outboxd migrate"},
		"nobody there": {"mongodb://user:pa55word@127.0.0.1:1/?replicaSet=rs0", "did not answer within 1s"},
	} {
		var out, errOut bytes.Buffer
		code := run(t.Context(), []string{"--mongodb-uri", c.uri, "--database", db.Name(), "--connect-timeout=1s"}, from(nil), &out, &errOut)
		if code != exitFailed || !strings.Contains(errOut.String(), c.want) || strings.Contains(errOut.String(), "pa55word") {
			t.Errorf("%s: exit code %d, printed %s", name, code, errOut.String())
		}
	}
}

// The program serves payments until its context ends, and then ends with 0.
func TestServesUntilItIsTold(t *testing.T) {
	db := mongotest.Database(t)
	migrate(t, db)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reader, writer := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		code := run(ctx, []string{"--listen=127.0.0.1:0", "--database", db.Name()}, from(map[string]string{"OUTBOXD_MONGODB_URI": mongotest.URI(t)}), io.Discard, writer)
		writer.Close()
		ended <- code
	}()
	var line struct{ Msg, Address string }
	lines := bufio.NewScanner(reader)
	for line.Address == "" && lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("the log has the line %q: %v", lines.Text(), err)
		}
	}
	rest := make(chan string, 1)
	go func() {
		all, err := io.ReadAll(reader)
		if err != nil {
			t.Error(err)
		}
		rest <- string(all)
	}()
	body := `{"amount":500,"currency":"eur","customer":"cus_1","payment_method":"pm_card_visa","email":"a@b.example","phone":"+4915112345678"}`
	resp, err := http.Post(line.Address+"/payments", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Errorf("POST /payments: %s", resp.Status)
	}
	http.DefaultClient.CloseIdleConnections()
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if log := <-rest; !strings.Contains(log, `"route":"/payments"`) {
		t.Errorf("the log lacks the request: %s", log)
	}
}

func migrate(t *testing.T, db *mongo.Database) {
	t.Helper()
	if _, err := migrations.New(db, "").Up(t.Context()); err != nil {
		t.Fatal(err)
	}
}
