package producers

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/providers/simulator"
)

// A snippet is a block of code that README, CONTRIBUTING or a page of docs shows. It is run from the page itself, or
// says why not.
type snippet struct {
	page, begins string // the page, and the words with which its code begins

	// One of these says who runs it.
	mongosh, node, shell bool
	by                   string // another test, as "folder TestName"
	not                  string // nobody, and why

	with    []bson.D          // intents that are there before
	before  string            // code of the same language that comes first
	replace map[string]string // what can only be on the reader's machine, and what the test has instead
	code    int               // the exit code of a shell
	want    string            // what is printed
	filter  bson.D            // what one intent is afterwards
}

// id is the ObjectId of the pages' examples.
var id = bson.ObjectID{0x65, 0xf0, 0xc0, 0xff, 0xee, 0x65, 0xf0, 0xc0, 0xff, 0xee, 0x65, 0xf0}

// text is an intent that is due in an hour, with further fields.
func text(id any, more ...bson.E) bson.D {
	return append(bson.D{{Key: "_id", Value: id}, {Key: "kind", Value: "sms"}, {Key: "status", Value: "pending"},
		{Key: "due_at", Value: time.Now().Add(time.Hour)}, {Key: "payload", Value: bson.D{
			{Key: "to", Value: "+4915112345678"}, {Key: "from", Value: "+15005550006"}, {Key: "body", Value: "Your order is in."}}}}, more...)
}

// due is an intent that is due.
func due(id any) bson.D {
	doc := text(id)
	doc[3].Value = time.Now()
	return doc
}

// dead is a dead letter of a kind.
func dead(id any, kind, reason, class string, more ...bson.E) bson.D {
	doc := text(id)
	if kind == "email" {
		doc[4].Value = bson.D{{Key: "from", Value: "shop@example.com"}, {Key: "to", Value: "ada@example.com"},
			{Key: "subject", Value: "Your order"}, {Key: "text", Value: "It is in."}}
	}
	now := time.Now()
	doc[1].Value, doc[2].Value = kind, "dead"
	doc[3] = bson.E{Key: "dead_at", Value: now}
	return append(append(doc, bson.E{Key: "dead_reason", Value: reason}, bson.E{Key: "attempts", Value: 1},
		bson.E{Key: "first_attempt_at", Value: now}, bson.E{Key: "history", Value: bson.A{
			bson.D{{Key: "what", Value: "attempt"}, {Key: "attempt", Value: 1}, {Key: "at", Value: now}, {Key: "outcome", Value: class}}}},
		bson.E{Key: "last_error", Value: bson.D{{Key: "class", Value: class}, {Key: "code", Value: "no_answer"}, {Key: "at", Value: now}}}), more...)
}

func is(id any, more ...bson.E) bson.D { return append(bson.D{{Key: "_id", Value: id}}, more...) }

func status(s string) bson.E { return bson.E{Key: "status", Value: s} }

// lanePaused pauses a lane by hand.
const lanePaused = `db.outbox_lanes.updateOne({_id: "sms"}, {$set: {paused: true, why: "the bill"}}, {upsert: true})`

// printed lets a question print its answer, as mongosh does at its prompt.
func printed(begins string) map[string]string {
	return map[string]string{begins: "globalThis.answer = " + begins, ".toArray()": ".toArray(); print(answer)"}
}

// asked lets the functions of scripts/outbox.js be loaded from where they are, and prints something of each answer.
func asked() map[string]string {
	path, err := filepath.Abs(filepath.Join(root, "scripts", "outbox.js"))
	if err != nil {
		panic(err)
	}
	return map[string]string{
		`"scripts/outbox.js"`: strconv.Quote(path), "ob.help()": "print(ob.help())",
		"ob.waiting()": `let said = "waiting " + ob.waiting()[0].n`, `ob.late("sms")`: `said += " late " + ob.late("sms")[0]._id`,
		"ob.dead(24)": `said += " dead " + ob.dead(24)[0]._id.code`, `ob.life("order-7")`: `said += " life " + ob.life("order-7")[0]._id`,
		"ob.ambiguous()": `said += " ambiguous " + ob.ambiguous()[0]._id`, "ob.lanes()": `said += " lanes " + ob.lanes()[0]._id`,
		"ob.workers()": `said += " workers " + ob.workers().length; print(said)`,
	}
}

func snippets() []snippet {
	ambiguous := func(id any) bson.D {
		return dead(id, "sms", "ambiguous", "ambiguous", bson.E{Key: "ambiguous_at", Value: time.Now()})
	}
	optedOut := func(id any) bson.D {
		doc := dead(id, "sms", "permanent", "permanent")
		doc[len(doc)-1].Value = bson.D{{Key: "class", Value: "permanent"}, {Key: "code", Value: "opted_out"}, {Key: "at", Value: time.Now()}}
		return doc
	}
	upserted := bson.D{{Key: "dedup_key", Value: "received:order-1"}, status("pending")}
	return []snippet{
		{page: "README.md", begins: "go install", not: "it installs a published version from the network; every process test builds the same program"},
		{page: "README.md", begins: "make demo", by: "cmd/outboxd TestDemo; make test runs this very test"},
		{page: "README.md", begins: "export OUTBOXD_MONGODB_URI=", shell: true, replace: map[string]string{
			"'mongodb://127.0.0.1:27017/?replicaSet=rs0'": `"$TEST_URI"`, "OUTBOXD_DATABASE=shop": "OUTBOXD_DATABASE=$OUTBOXD_DATABASE"}},
		{page: "README.md", begins: "const session = db.getMongo()", mongosh: true, replace: map[string]string{`"shop"`: "db.getName()"},
			filter: bson.D{{Key: "kind", Value: "sms"}, status("pending")}},
		{page: "README.md", begins: "package main", by: "integration TestReadmeProducers"},
		{page: "README.md", begins: "import datetime, os", by: "integration TestReadmeProducers"},
		{page: "README.md", begins: "const { MongoClient }", node: true, filter: bson.D{{Key: "payload.body", Value: "Your code is 4711"}}},
		{page: "README.md", begins: "await outbox.updateOne(", node: true, before: inTransaction, filter: upserted},
		{page: "README.md", begins: "export STRIPE_API_KEY_FILE=", shell: true, with: []bson.D{due("order-1")}, filter: is("order-1", status("done")),
			replace: map[string]string{"/run/secrets/": "./", "AC...": "AC00000000000000000000000000000000",
				"worker --config outboxd.yaml": "worker --until-empty --config outboxd.yaml"}},
		{page: "README.md", begins: `db.outbox_dead.find({ kind: "charge" })`, mongosh: true, with: []bson.D{text("order-1")}},

		{page: "CONTRIBUTING.md", begins: "OUTBOXD_SCHEDULES_SEED=", shell: true},

		{page: "docs/backup.md", begins: "for (const kind of", mongosh: true},
		{page: "docs/backup.md", begins: `db.outbox.updateMany({kind: "sms"`, mongosh: true, with: []bson.D{text("order-7")},
			before: "const failure = new Date(Date.now() + 2*3600e3)", filter: is("order-7", status("cancelled"))},
		{page: "docs/backup.md", begins: "db.outbox_meta.insertOne(", mongosh: true, before: `db.outbox_meta.deleteOne({_id: "namespace"})`},
		{page: "docs/backup.md", begins: "db.outbox.deleteMany(", mongosh: true, with: []bson.D{text("order-7"), ambiguous("order-8")}, filter: is("order-8")},

		{page: "docs/admin.md", begins: "outboxd admin   ", by: "cmd/outboxd TestAdminOnLoopback"},
		{page: "docs/admin.md", begins: "outboxd admin token new ada", by: "cmd/outboxd TestAdminRoleMatrix"},
		{page: "docs/admin.md", begins: "location /outboxd/", not: "it is a web server's configuration; TestAdminBehindAProxy sends what it would"},
		{page: "docs/admin.md", begins: "# dead texts that were exhausted", by: "cmd/outboxd TestAdminKilledInTheMiddleOfAJob"},
		{page: "CONTRIBUTING.md", begins: "OUTBOXD_REPLAY=10000", not: "it takes minutes; CI runs the same test with 1,000 letters"},
		{page: "docs/performance.md", begins: "make bench-admin", not: "it takes an hour; its parts are compiled by vet with the tag scale"},
		{page: "docs/chaos.md", begins: "make chaos", not: "it takes minutes and three servers; make chaos-short is part of CI"},

		{page: "docs/contract.md", begins: "db.outbox.insertOne(", mongosh: true, filter: bson.D{{Key: "payload.body", Value: "Your code is 4711"}}},
		{page: "docs/contract.md", begins: "shop.outbox.updateOne(", mongosh: true, before: "const shop = db", filter: bson.D{{Key: "dedup_key", Value: "receipt:order-7"}}},
		{page: "docs/contract.md", begins: `db.outbox.updateOne({_id: "order-7", status: "pending"`, mongosh: true, with: []bson.D{text("order-7")}, filter: is("order-7", status("cancelled"))},

		{page: "docs/extending.md", begins: "export OUTBOXD_MONGODB_URI=", by: "examples/provider TestWorker"},
		{page: "docs/extending.md", begins: "db.outbox.insertOne(", mongosh: true, filter: bson.D{{Key: "kind", Value: "webhook"}, status("pending")}},
		{page: "docs/extending.md", begins: "Deliver(ctx", not: "it is a part of an interface, which the compiler checks against examples/provider"},

		{page: "docs/faq.md", begins: "outboxd lane list", shell: true},
		{page: "docs/faq.md", begins: "outboxd explain error.json", shell: true, want: "payload.to"},
		{page: "docs/faq.md", begins: "def place(session):", by: "integration/producers TestSwallowedDuplicateKeyRepeatsTheTransaction"},

		{page: "docs/mongosh.md", begins: "db.outbox.aggregate([\n  {$match: {status: {$in", mongosh: true, replace: printed("db.outbox.agg"), with: []bson.D{text("order-7")}, want: "n: 1"},
		{page: "docs/mongosh.md", begins: "db.outbox.find({kind: \"sms\", status: \"pending\"", mongosh: true, replace: printed("db.outbox.find("), with: []bson.D{due("order-7")}, want: "order-7"},
		{page: "docs/mongosh.md", begins: "db.outbox.aggregate([\n  {$match: {status: \"dead\"", mongosh: true, replace: printed("db.outbox.agg"), with: []bson.D{ambiguous("order-8")}, want: "no_answer"},
		{page: "docs/mongosh.md", begins: "db.outbox.find({_id: \"order-7\"}", mongosh: true, replace: printed("db.outbox.find("), with: []bson.D{text("order-7")}, want: "order-7"},
		{page: "docs/mongosh.md", begins: "db.outbox.find({ambiguous_at", mongosh: true, replace: printed("db.outbox.find("), with: []bson.D{ambiguous("order-8")}, want: "order-8"},
		{page: "docs/mongosh.md", begins: "db.outbox_lanes.find()", mongosh: true, before: lanePaused, replace: printed("db.outbox_lanes"), want: "the bill"},
		{page: "docs/mongosh.md", begins: "db.outbox_workers.find()", mongosh: true, replace: printed("db.outbox_workers"), want: "[]"},
		{page: "docs/mongosh.md", begins: "load(", mongosh: true, with: []bson.D{due("order-7"), ambiguous("order-8")}, replace: asked(), before: lanePaused,
			want: "waiting 1 late order-7 dead no_answer life order-7 ambiguous order-8 lanes sms workers 0"},

		{page: "docs/operations.md", begins: "outboxd stats", shell: true, want: "PENDING", with: []bson.D{text("order-7")}},
		{page: "docs/operations.md", begins: "outboxd audit", shell: true, want: "No worker is alive."},
		{page: "docs/operations.md", begins: "outboxd find --id order-7", shell: true, want: "order-7", with: []bson.D{text("order-7")}},
		{page: "docs/operations.md", begins: "outboxd lane list", shell: true, want: "Lane sms keeps to its configured rate again"},
		{page: "docs/operations.md", begins: "db.outbox_lanes.updateOne({_id: \"sms\"}, {$set: {limit", mongosh: true, replace: map[string]string{
			"db.outbox_lanes.updateOne({_id: \"sms\"}, {$unset": "print(db.outbox_lanes.find().toArray()); db.outbox_lanes.updateOne({_id: \"sms\"}, {$unset"},
			want: "the carrier asked us to"},
		{page: "docs/operations.md", begins: "outboxd dead retry --kind email", shell: true,
			with:   []bson.D{dead("order-1", "email", "exhausted", "transient"), dead(id, "sms", "exhausted", "transient")},
			filter: is(id, status("pending"))},
		{page: "docs/operations.md", begins: "outboxd dead retry --job", shell: true, want: "done",
			with:   []bson.D{dead("order-7", "email", "exhausted", "transient")},
			filter: is("order-7", status("pending"), bson.E{Key: "retried.why", Value: "SendGrid is back"})},
		{page: "docs/operations.md", begins: "outboxd dead discard", shell: true, want: "1 discarded, 0 refused",
			with: []bson.D{optedOut("order-7")}},
		{page: "docs/operations.md", begins: "outboxd dead groups", shell: true, want: "What happens next: A worker sends it", with: []bson.D{text("order-7")}},
		{page: "docs/operations.md", begins: "outboxd resolve order-7", shell: true, with: []bson.D{ambiguous("order-7"), ambiguous("order-8")},
			filter: is("order-7", status("done"), bson.E{Key: "result.id", Value: "SM0123456789"})},
		{page: "docs/operations.md", begins: "outboxd cancel order-7", shell: true, with: []bson.D{text("order-7"), text("order-8"), text(id)},
			filter: is(id, status("cancelled"))},
		{page: "docs/operations.md", begins: `outboxd show '{"$oid"`, shell: true, want: "pending", with: []bson.D{text(id), text("65f0c0ffee65f0c0ffee65f0"),
			text(bson.Binary{Subtype: 4, Data: []byte("\x0b\x0b\x3c\x6e\x8d\x5e\x4d\x0e\x9d\x65\x1f\x1f\x6f\x1f\x6f\x1f")})}},
		{page: "docs/operations.md", begins: "db.outbox.updateOne(\n  {_id: \"order-7\", status: \"pending\"", by: "cmd/outboxd TestRecipesDoWhatCommandsDo"},
		{page: "docs/operations.md", begins: "db.outbox.updateOne(\n  {_id: \"order-7\", status: \"dead\", dead_reason: \"exhausted\"", by: "cmd/outboxd TestRecipesDoWhatCommandsDo"},
		{page: "docs/operations.md", begins: "db.outbox.updateOne(\n  {_id: \"order-7\", status: \"dead\", dead_reason: \"ambiguous\", outcome: null, result: null},\n  [{$set: {status", by: "cmd/outboxd TestRecipesDoWhatCommandsDo"},
		{page: "docs/operations.md", begins: "db.outbox.updateOne(\n  {_id: \"order-7\", status: \"dead\", dead_reason: \"ambiguous\", outcome: null, result: null},\n  [{$set: {dead_reason", by: "cmd/outboxd TestRecipesDoWhatCommandsDo"},

		{page: "docs/performance.md", begins: "outboxd bench", by: "cmd/outboxd TestBench; the other flags only make it longer"},
		{page: "docs/performance.md", begins: "taskset", not: "it takes an hour and the machine alone"},

		{page: "docs/producers/README.md", begins: "await outbox.updateOne(", node: true, before: inTransaction, filter: upserted},
	}
}

// inTransaction is what stands around a snippet of Node that uses outbox and session.
const inTransaction = `const { MongoClient } = require("mongodb");
const client = new MongoClient(process.env.OUTBOXD_MONGODB_URI);
const outbox = client.db(process.env.OUTBOXD_DATABASE).collection("outbox");
client.withSession((session) => session.withTransaction(async () => {
SNIPPET
})).finally(() => client.close());
`

// fence is a block of code with its indentation and language. Without a language it is a picture, an answer or a text.
var fence = regexp.MustCompile("(?ms)^( *)```([a-z]+)\n(.*?)^ *```$")

// unrun are languages whose blocks are no programs.
var unrun = map[string]string{"yaml": "a part of a larger file"}

// shownBlocks returns what the pages show, by page, without those that TestPages runs.
func shownBlocks(t *testing.T) map[string][]string {
	t.Helper()
	found := make(map[string][]string)
	add := func(page string) {
		content, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fence.FindAllSubmatch(content, -1) {
			if unrun[string(m[2])] == "" {
				found[page] = append(found[page], strings.ReplaceAll("\n"+string(m[3]), "\n"+string(m[1]), "\n")[1:])
			}
		}
	}
	add("README.md")
	add("CONTRIBUTING.md")
	add("ARCHITECTURE.md")
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		page, _ := filepath.Rel(root, path)
		page = filepath.ToSlash(page)
		isProgram := strings.HasPrefix(page, "docs/producers/") && page != "docs/producers/README.md"
		if err == nil && strings.HasSuffix(page, ".md") && !isProgram {
			add(page)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Every command and every piece of code that a page shows is run from that page, or the list says why not.
func TestSnippets(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "outboxd")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/outboxd")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build outboxd: %v\n%s", err, out)
	}
	shown := shownBlocks(t)
	used := make(map[string]int)
	t.Run("run", func(t *testing.T) {
		for _, s := range snippets() {
			code := ""
			for _, block := range shown[s.page] {
				if strings.HasPrefix(block, s.begins) {
					code = block
					used[block]++
				}
			}
			if code == "" {
				t.Errorf("%s shows nothing that begins with %q", s.page, s.begins)
				continue
			}
			if s.by != "" {
				checkExists(t, s.by)
			}
			if s.by != "" || s.not != "" {
				continue
			}
			first, _, _ := strings.Cut(s.begins, "\n")
			t.Run(s.page+" "+first, func(t *testing.T) {
				t.Parallel()
				s.run(t, program, code)
			})
		}
	})
	for page, blocks := range shown {
		for _, block := range blocks {
			if used[block] == 0 {
				t.Errorf("%s shows what no test runs; add it to the list of snippets:\n%s", page, block)
			}
		}
	}
}

// checkExists checks that the test is there that a snippet names, as "folder TestName".
func checkExists(t *testing.T, by string) {
	t.Helper()
	dir, name, _ := strings.Cut(strings.Split(by, ";")[0], " ")
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), "func "+name+"(") {
			return
		}
	}
	t.Errorf("there is no test %s in %s", name, dir)
}

func (s snippet) run(t *testing.T, program, code string) {
	t.Helper()
	db := migrated(t)
	for _, doc := range s.with {
		if _, err := db.Collection("outbox").InsertOne(t.Context(), doc); err != nil {
			t.Fatal(err)
		}
	}
	for old, substitute := range s.replace {
		if !strings.Contains(code, old) {
			t.Fatalf("the snippet has no %q any more", old)
		}
		code = strings.ReplaceAll(code, old, substitute)
	}
	if strings.Contains(s.before, "SNIPPET") {
		code = strings.Replace(s.before, "SNIPPET", code, 1)
	} else {
		code = s.before + "\n" + code
	}
	exit, out := s.execute(t, program, db, code)
	if exit != s.code {
		t.Fatalf("it ended with %d, want %d:\n%s\n%s", exit, s.code, code, out)
	}
	if !strings.Contains(out, s.want) {
		t.Errorf("it printed\n%s\nwant %q in it", out, s.want)
	}
	if s.filter != nil {
		if n, err := db.Collection("outbox").CountDocuments(t.Context(), s.filter); err != nil || n != 1 {
			t.Errorf("%d intents are %v afterwards, want 1 (%v)\n%s", n, s.filter, err, out)
		}
	}
}

func (s snippet) execute(t *testing.T, program string, db *mongo.Database, code string) (exit int, out string) {
	t.Helper()
	switch {
	case s.mongosh:
		w := node(t)
		// An error ends mongosh with 1 only where it reads a file.
		w.write("snippet.js", "db = db.getSiblingDB(process.env.OUTBOXD_DATABASE);\n"+code)
		return w.run(t.Context(), db.Name(), []string{"HOME=" + w.dir}, "node_modules/.bin/mongosh", "--quiet", mongotest.URI(t), "snippet.js")
	case s.node:
		w := node(t)
		w.write("snippet.cjs", code)
		return w.run(t.Context(), db.Name(), nil, "node", "snippet.cjs")
	default:
		return shell(t, program, db, code)
	}
}

// shell runs commands as a reader has them: outboxd in the PATH, the files that the pages name, the providers
// simulated.
func shell(t *testing.T, program string, db *mongo.Database, code string) (exit int, out string) {
	t.Helper()
	sims, err := simulator.Start(simulator.Config{}, simulator.Addrs{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sims.Close)
	w := &workspace{T: t, dir: t.TempDir()}
	for _, name := range []string{"stripe", "sendgrid", "twilio"} {
		w.write(name, "sk_test_4711")
	}
	w.copy("outboxd.example.yaml")
	w.write("outboxd.yaml", w.read(filepath.Join(w.dir, "outboxd.example.yaml")))
	_, err = db.Collection("outbox").InsertOne(t.Context(), bson.D{{Key: "kind", Value: "sms"}, {Key: "status", Value: "pending"},
		{Key: "due_at", Value: time.Now()}, {Key: "payload", Value: bson.D{{Key: "to", Value: "0151"}, {Key: "from", Value: "+15005550006"}, {Key: "body", Value: "x"}}}})
	w.write("error.json", errInfo(t, err))
	if strings.Contains(code, "go test") || strings.Contains(code, "make ") {
		if w.dir, err = filepath.Abs(root); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{
		"PATH=" + filepath.Dir(program) + string(os.PathListSeparator) + os.Getenv("PATH"), "TEST_URI=" + mongotest.URI(t),
		"STRIPE_API_URL=" + sims.StripeURL, "SENDGRID_API_URL=" + sims.SendGridURL, "TWILIO_API_URL=" + sims.TwilioURL,
		"OUTBOXD_LISTEN=127.0.0.1:0",
	}
	return w.run(t.Context(), db.Name(), env, "bash", "-euo", "pipefail", "-c", code)
}
