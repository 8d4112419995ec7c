package producers

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

// maxLines is the length of a program that a page shows.
const maxLines = 40

// program is a program of a page.
type program struct {
	page, language string
	nth            int // of the page's programs in the language
	file           string
	workspace      func(*testing.T) *workspace
	prepare        []string // a command that has to succeed first, such as a compiler
	command        []string // its arguments are the order and the telephone's number
}

func programs() []program {
	return []program{
		{"mongosh.md", "js", 0, "place-order.js", node, nil, nil}, // see run
		{"node.md", "js", 0, "place-order.mjs", node, nil, []string{"node", "place-order.mjs"}},
		{"mongoose.md", "js", 0, "place-order.mjs", node, nil, []string{"node", "place-order.mjs"}},
		{"typescript.md", "ts", 0, "place-order.mts", node, []string{"node_modules/.bin/tsc", "--strict", "--target", "es2022", "--module", "nodenext", "--types", "node", "place-order.mts"},
			[]string{"node", "place-order.mjs"}},
		{"python.md", "python", 0, "place_order.py", python, nil, []string{"python3", "place_order.py"}},
		{"python.md", "python", 1, "place_order_async.py", python, nil, []string{"python3", "place_order_async.py"}},
		{"beanie.md", "python", 0, "place_order.py", python, nil, []string{"python3", "place_order.py"}},
		{"go.md", "go", 0, "main.go", golang, []string{"go", "build", "-mod=mod", "-o", "place-order", "main.go"}, []string{"./place-order"}},
		{"java.md", "java", 0, "PlaceOrder.java", java, []string{"javac", "PlaceOrder.java", "OutboxReasons.java"}, []string{"java", "PlaceOrder"}},
		{"spring.md", "java", 0, "PlaceOrder.java", java, []string{"javac", "PlaceOrder.java", "OutboxReasons.java"}, []string{"java", "PlaceOrder"}},
		{"rust.md", "rust", 0, "place-order.rs", rust, []string{"cargo", "build", "--quiet", "--locked", "--offline"}, []string{"cargo", "run", "--quiet", "--locked", "--offline", "--"}},
	}
}

func (p program) name() string { return strings.TrimSuffix(p.page, ".md") + " " + p.file }

// place runs the program for an order and a telephone's number.
func (p program) place(w *workspace, db, order, phone string) (code int, output string) {
	w.Helper()
	if p.page == "mongosh.md" {
		return w.run(w.Context(), db, []string{"ORDER=" + order, "PHONE=" + phone, "HOME=" + w.dir},
			"node_modules/.bin/mongosh", "--quiet", mongotest.URI(w), "place-order.js")
	}
	return w.run(w.Context(), db, nil, append(p.command[:len(p.command):len(p.command)], order, phone)...)
}

// Each page's program writes an order and its intent in one transaction, and only once. It says in words why a bad
// intent is refused, and then nothing of the transaction is there.
func TestPages(t *testing.T) {
	t.Parallel()
	for _, p := range programs() {
		if p.language == "rust" && !withRust {
			continue
		}
		t.Run(p.name(), func(t *testing.T) {
			t.Parallel()
			w := p.workspace(t)
			found := blocks(t, p.page, p.language)
			if len(found) <= p.nth {
				t.Fatalf("the page %s has %d programs in %s", p.page, len(found), p.language)
			}
			w.write(p.file, found[p.nth])
			if p.prepare != nil {
				w.must(p.prepare...)
			}
			p.check(w, migrated(t))
		})
	}
}

func (p program) check(w *workspace, db *mongo.Database) {
	w.Helper()
	begin := time.Now()
	for range 2 {
		if code, out := p.place(w, db.Name(), "order-1", "+4915112345678"); code != 0 {
			w.Fatalf("it ended with %d:\n%s", code, out)
		}
	}
	const local = "015199988877"
	code, out := p.place(w, db.Name(), "order-2", local)
	if code != 1 || !strings.Contains(out, "to must be a phone number in E.164") || strings.Contains(out, local) {
		w.Errorf("a local number: exit code %d\n%s", code, out)
	}
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(out), "\n"), func(line string) bool { return strings.HasPrefix(line, "SLF4J") })
	if len(lines) != 1 {
		w.Errorf("one reason has %d lines:\n%s", len(lines), out)
	}

	orders, err := db.Collection("orders").CountDocuments(w.Context(), bson.D{})
	if err != nil || orders != 1 {
		w.Errorf("%d orders, want 1: %v", orders, err)
	}
	var intents []bson.Raw
	cursor, err := db.Collection("outbox").Find(w.Context(), bson.D{})
	if err == nil {
		err = cursor.All(w.Context(), &intents)
	}
	if err != nil || len(intents) != 1 {
		w.Fatalf("%d intents, want 1: %v", len(intents), err)
	}
	in, err := store.ParseInsert(intents[0], outbox.Rules{})
	if err != nil || len(in.Problems) > 0 {
		w.Fatalf("the worker would refuse it: %v, %v", err, in.Problems)
	}
	if wantID := map[bool]outbox.IDType{false: outbox.UUIDBinary, true: outbox.ObjectID}[p.language == "go"]; in.ID.Type() != wantID || in.DedupKey != "received:order-1" {
		w.Errorf("the _id is %v, the dedup_key %q", in.ID, in.DedupKey)
	}
	if early, late := begin.Add(-time.Minute), time.Now().Add(time.Minute); in.DueAt.Before(early) || in.DueAt.After(late) {
		w.Errorf("due_at is %v, want about %v", in.DueAt, begin)
	}
	if !in.ExpiresAt.IsZero() && in.ExpiresAt.Sub(in.DueAt).Round(time.Minute) != time.Hour {
		w.Errorf("expires_at is %v, an hour after %v was meant", in.ExpiresAt, in.DueAt)
	}
	for field, value := range in.Document {
		if value == nil {
			w.Errorf("%s is null", field)
		}
	}
}

// Every page is either run or says that it is not, and no program is longer than it may be.
func TestEveryPageIsRunOrSaysSo(t *testing.T) {
	t.Parallel()
	run := make(map[string]int)
	for _, p := range programs() {
		run[p.page]++
	}
	files, err := os.ReadDir(filepath.Join(root, "docs", "producers"))
	if err != nil {
		t.Fatal(err)
	}
	index := strings.Join(blocks(t, "README.md", ""), "")
	text, err := os.ReadFile(filepath.Join(root, "docs", "producers", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	index += string(text)
	for _, f := range files {
		page := f.Name()
		if page == "README.md" {
			continue
		}
		if !strings.Contains(index, "("+page+")") {
			t.Errorf("README.md does not link to %s", page)
		}
		text, err := os.ReadFile(filepath.Join(root, "docs", "producers", page))
		if err != nil {
			t.Fatal(err)
		}
		if says := strings.Contains(string(text), "Read, not run"); says == (run[page] > 0) {
			t.Errorf("%s: %d programs are run, and it says that none is: %t", page, run[page], says)
		}
		shown := 0
		for _, language := range []string{"js", "ts", "python", "go", "java", "rust", "csharp", "php", "ruby"} {
			for _, block := range blocks(t, page, language) {
				shown++
				if n := strings.Count(block, "\n"); n > maxLines {
					t.Errorf("%s: a program has %d lines", page, n)
				}
			}
		}
		if shown == 0 || run[page] > 0 && run[page] != shown {
			t.Errorf("%s: %d programs are shown, %d run", page, shown, run[page])
		}
	}
}
