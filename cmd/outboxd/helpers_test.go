package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/providers/simulator"
	"github.com/outboxd/outboxd/store"
)

// patience bounds every wait of these tests; none of them takes near so long.
const patience = 90 * time.Second

// result is what a run of the program gave.
type result struct {
	code     int
	out, err string
}

// outboxd runs the program in this process, under the given environment alone.
func outboxd(t *testing.T, env []string, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	code := run(ctx, args, env, strings.NewReader(""), &out, &errOut)
	if ctx.Err() != nil {
		t.Fatalf("outboxd %v did not end:\n%s", args, errOut.String())
	}
	return result{code, out.String(), errOut.String()}
}

// must runs the program and fails the test unless it ends with the code.
func must(t *testing.T, code int, env []string, args ...string) result {
	t.Helper()
	r := outboxd(t, env, args...)
	if r.code != code {
		t.Fatalf("outboxd %v: exit code %d, want %d\n%s%s", args, r.code, code, r.out, r.err)
	}
	return r
}

// world is a database and the three providers simulated.
type world struct {
	db  *mongo.Database
	sim *simulator.Servers
	env []string
}

// newWorld returns a world whose database is migrated.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := emptyWorld(t)
	if _, err := migrations.New(w.db, "").Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func emptyWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	sims, err := simulator.Start(simulator.Config{}, simulator.Addrs{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sims.Close)
	db := mongotest.Database(t)
	return &world{db: db, sim: sims, env: []string{
		"OUTBOXD_MONGODB_URI=" + mongotest.URI(t), "OUTBOXD_DATABASE=" + db.Name(), "OUTBOXD_LISTEN=127.0.0.1:0",
		"STRIPE_API_KEY=sk_test_secret4711", "STRIPE_API_URL=" + sims.StripeURL,
		"SENDGRID_API_KEY=SG.secret4711", "SENDGRID_API_URL=" + sims.SendGridURL,
		"TWILIO_ACCOUNT_SID=AC00000000000000000000000000000000", "TWILIO_AUTH_TOKEN=secret4711", "TWILIO_API_URL=" + sims.TwilioURL,
	}}
}

func (w *world) outbox() *mongo.Collection { return w.db.Collection(migrations.DefaultCollection) }

// insert writes intents, past the validator if asked.
func (w *world) insert(t *testing.T, docs ...bson.D) {
	t.Helper()
	for _, doc := range docs {
		if _, err := w.outbox().InsertOne(t.Context(), doc); err != nil {
			t.Fatalf("insert %v: %v %v", doc, err, migrations.Reasons(err))
		}
	}
}

func (w *world) insertPastValidator(t *testing.T, doc bson.D) {
	t.Helper()
	if _, err := w.outbox().InsertOne(t.Context(), doc, options.InsertOne().SetBypassDocumentValidation(true)); err != nil {
		t.Fatal(err)
	}
}

// insertMany writes many documents past the validator.
func (w *world) insertMany(t *testing.T, docs []any) {
	t.Helper()
	if _, err := w.outbox().InsertMany(t.Context(), docs, options.InsertMany().SetBypassDocumentValidation(true)); err != nil {
		t.Fatal(err)
	}
}

// get returns an intent.
func (w *world) get(t *testing.T, id any) bson.Raw {
	t.Helper()
	doc, err := w.outbox().FindOne(t.Context(), bson.D{{Key: "_id", Value: id}}).Raw()
	if err != nil {
		t.Fatalf("get %v: %v", id, err)
	}
	return doc
}

func (w *world) count(t *testing.T, filter bson.D) int64 {
	t.Helper()
	n, err := w.outbox().CountDocuments(t.Context(), filter)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// census takes a whole census of the kinds. Its time is bounded, and on a busy machine one may not get through.
func (w *world) census(t *testing.T, kinds ...string) {
	t.Helper()
	db := store.New(w.db, "", store.Options{})
	for range 1000 {
		c, err := db.TakeCensus(t.Context(), "w", kinds)
		if err == nil && !c.At.IsZero() && !c.Cut {
			return
		}
		if _, err := w.db.Collection(migrations.DefaultCollection+"_meta").DeleteOne(t.Context(), bson.D{{Key: "_id", Value: "census"}}); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("no census gets through")
}

// indexOn is an index that begins with a field.
func indexOn(field string) mongo.IndexModel {
	return mongo.IndexModel{Keys: bson.D{{Key: field, Value: 1}}}
}

// audited counts records of the audit.
func (w *world) audited(t *testing.T, filter bson.D) int64 {
	t.Helper()
	n, err := w.db.Collection(migrations.DefaultCollection+"_audit").CountDocuments(t.Context(), filter)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (w *world) fault(t *testing.T, f simulator.Fault) {
	t.Helper()
	if err := w.sim.Sim.AddFaults(f); err != nil {
		t.Fatal(err)
	}
}

// intent returns an intent that is due, with further fields.
func intent(kind, id string, extra ...bson.E) bson.D {
	payload := map[string]bson.D{
		"charge": {{Key: "amount", Value: 4200}, {Key: "currency", Value: "eur"}, {Key: "customer", Value: "cus_1"}, {Key: "payment_method", Value: "pm_card_visa"}},
		"email":  {{Key: "from", Value: "shop@example.com"}, {Key: "to", Value: "ada@example.com"}, {Key: "subject", Value: "Order " + id}, {Key: "text", Value: "It is in."}},
		"sms":    {{Key: "from", Value: "+15005550006"}, {Key: "to", Value: "+4915112345678"}, {Key: "body", Value: "Order " + id}},
	}[kind]
	return append(bson.D{{Key: "_id", Value: id}, {Key: "kind", Value: kind}, {Key: "status", Value: "pending"},
		{Key: "due_at", Value: time.Now().Add(-time.Second)}, {Key: "payload", Value: payload}}, extra...)
}

// logLines is a writer that takes a log apart and lets tests wait for lines of it.
type logLines struct {
	mu    sync.Mutex
	text  bytes.Buffer
	lines []map[string]any
	more  chan struct{} // closed and renewed with each line
}

func newLogLines() *logLines { return &logLines{more: make(chan struct{})} }

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	for line := range bytes.Lines(p) {
		var entry map[string]any
		if json.Unmarshal(line, &entry) == nil {
			l.lines = append(l.lines, entry)
		}
	}
	close(l.more)
	l.more = make(chan struct{})
	return len(p), nil
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await returns the nth line with the message.
func (l *logLines) await(t *testing.T, msg string, nth int) map[string]any {
	t.Helper()
	late := time.After(patience)
	for {
		l.mu.Lock()
		more, seen := l.more, 0
		for _, entry := range l.lines {
			if entry["msg"] == msg {
				if seen++; seen == nth {
					l.mu.Unlock()
					return entry
				}
			}
		}
		l.mu.Unlock()
		select {
		case <-more:
		case <-late:
			t.Fatalf("no line %q (%d) in the log:\n%s", msg, nth, l.String())
		}
	}
}

// awaitText returns everything that was written, once the text is among it.
func (l *logLines) awaitText(t *testing.T, text string) string {
	t.Helper()
	late := time.After(patience)
	for {
		l.mu.Lock()
		more, all := l.more, l.text.String()
		l.mu.Unlock()
		if strings.Contains(all, text) {
			return all
		}
		select {
		case <-more:
		case <-late:
			t.Fatalf("no %q in:\n%s", text, all)
		}
	}
}

// running is a worker in this process.
type running struct {
	log  *logLines
	out  *bytes.Buffer
	stop context.CancelFunc
	code chan int
}

// start runs `outboxd worker` in this process and returns once it serves.
func start(t *testing.T, env []string, args ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &running{log: newLogLines(), out: new(bytes.Buffer), stop: stop, code: make(chan int, 1)}
	go func() {
		r.code <- run(ctx, append([]string{"worker", "--log-format", "json", "--log-level", "debug"}, args...), env, strings.NewReader(""), r.out, r.log)
	}()
	t.Cleanup(func() {
		stop()
		r.end(t)
	})
	r.log.await(t, "serving", 1)
	return r
}

// end waits for the worker's end and returns its exit code; it may be asked again.
func (r *running) end(t *testing.T) int {
	t.Helper()
	select {
	case code := <-r.code:
		r.code <- code
		return code
	case <-time.After(patience):
		t.Fatalf("the worker did not end:\n%s", r.log)
		return -1
	}
}

// url is an address of the worker's health and metrics.
func (r *running) url(t *testing.T, path string) string {
	t.Helper()
	return fmt.Sprintf("http://%s%s", r.log.await(t, "serving", 1)["listen"], path)
}

// scrape waits until the metrics hold a text: some of them follow the census.
func (r *running) scrape(t *testing.T, want string) {
	t.Helper()
	deadline, tick := time.NewTimer(30*time.Second), time.NewTicker(20*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for {
		_, page := get(t, r.url(t, "/metrics"))
		if strings.Contains(page, want) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("/metrics lacks %q:\n%s", want, page)
		}
	}
}

// get asks for a page.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	return ask(t, http.MethodGet, url, "")
}

// post sends JSON.
func post(t *testing.T, url, body string) (int, string) {
	t.Helper()
	return ask(t, http.MethodPost, url, body)
}

func ask(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// process is outboxd in a process of its own.
type process struct {
	cmd *exec.Cmd
	log *logLines
	out *logLines
}

// launch starts this test binary as outboxd.
func launch(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(self, args...), log: newLogLines(), out: newLogLines()}
	p.cmd.Env = append(slices.Clone(env), runAsOutboxd)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

func (p *process) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// end waits for the process and returns its exit code.
func (p *process) end(t *testing.T) int {
	t.Helper()
	timer := time.AfterFunc(2*patience, func() { _ = p.cmd.Process.Signal(syscall.SIGQUIT) })
	defer timer.Stop()
	_ = p.cmd.Wait() // its state says more
	return p.cmd.ProcessState.ExitCode()
}

// checkHuman fails the test if output for people is too wide or holds what steers a terminal.
func checkHuman(t *testing.T, text string) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		if n := utf8.RuneCountInString(line); n > term.Width {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	checkPlain(t, text)
}

// checkPlain fails the test if output for people, in a pipe, holds what steers a terminal.
func checkPlain(t *testing.T, text string) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		if strings.Contains(line, "\x1b") {
			t.Errorf("colour without a terminal: %q", line)
		}
	}
}

// objects reads one JSON object a line.
func objects(t *testing.T, text string) []map[string]any {
	t.Helper()
	var list []map[string]any
	for line := range strings.Lines(text) {
		var doc map[string]any
		if err := json.Unmarshal([]byte(line), &doc); err != nil {
			t.Fatalf("no JSON object: %q", line)
		}
		list = append(list, doc)
	}
	return list
}
