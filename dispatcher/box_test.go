package dispatcher_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/outboxd/outboxd/store/memory"
)

// box is an outbox in memory that a test can disturb.
type box struct {
	faulty
	mem  *memory.Store
	next int
}

func newBox() *box {
	mem := memory.New(memory.Options{})
	return &box{faulty: faulty{Store: mem}, mem: mem}
}

// insert adds a due intent of a kind with further fields, and returns its id.
func (b *box) insert(t *testing.T, kind string, fields map[string]any) string {
	t.Helper()
	b.next++
	id := fmt.Sprintf("%s-%d", kind, b.next)
	payload := map[string]any{"to": "+4915112345678", "from": "+15005550006", "body": "hello"}
	if kind == "email" {
		payload = map[string]any{"from": "a@example.com", "to": "b@example.com", "subject": "s", "text": "t"}
	}
	doc := map[string]any{"_id": id, "kind": kind, "status": "pending", "due_at": time.Now().UTC().Truncate(time.Millisecond), "payload": payload}
	maps.Copy(doc, fields)
	if err := b.mem.Insert(doc); err != nil {
		t.Fatal(err)
	}
	return id
}

func (b *box) get(t *testing.T, id string) map[string]any {
	t.Helper()
	doc := b.mem.Get(id)
	if doc == nil {
		t.Fatalf("there is no intent %s", id)
	}
	return doc
}

// want checks how many intents have a status, and that none is leased.
func (b *box) want(t *testing.T, status string, n int) {
	t.Helper()
	count := make(map[any]int)
	for _, doc := range b.mem.All() {
		count[doc["status"]]++
	}
	if count[status] != n {
		t.Errorf("%d intents are %s, want %d: %v", count[status], status, n, count)
	}
	if count["leased"] > 0 {
		t.Errorf("%d intents are still leased", count["leased"])
	}
}

// sum adds up a number over the intents of a kind.
func (b *box) sum(kind, field string) (sum int64) {
	for _, doc := range b.mem.All() {
		if n, ok := doc[field].(int64); ok && doc["kind"] == kind {
			sum += n
		}
	}
	return sum
}

// steal gives an intent to another worker, as a claim after the lease ran out would.
func (b *box) steal(t *testing.T, id string) {
	t.Helper()
	if !b.mem.Change(id, map[string]any{"lease": map[string]any{"token": "other", "owner": "w2", "at": time.Now(), "reclaimed": true}}) {
		t.Fatalf("there is no intent %s", id)
	}
}

// logged keeps what is logged, at every level.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(io.Writer(l), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
