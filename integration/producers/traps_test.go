package producers

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// result runs a program that prints one JSON object, and returns that.
func (w *workspace) result(db *mongo.Database, command ...string) map[string]any {
	w.Helper()
	code, out := w.run(w.Context(), db.Name(), nil, command...)
	var v map[string]any
	if err := json.Unmarshal([]byte(out), &v); code != 0 || err != nil {
		w.Fatalf("%s ended with %d: %v\n%s", strings.Join(command, " "), code, err, out)
	}
	return v
}

const connectPython = `import datetime, json, os, pymongo
client = pymongo.MongoClient(os.environ["OUTBOXD_MONGODB_URI"], uuidRepresentation="standard")
shop = client[os.environ["OUTBOXD_DATABASE"]]
def intent(**more):
    return {"kind": "sms", "status": "pending", "due_at": datetime.datetime.now(datetime.timezone.utc),
            "payload": {"to": "+4915112345678", "from": "+15005550006", "body": "x"}, **more}
`

// A duplicate key that is swallowed inside a transaction makes the driver repeat the callback, again and again. The FAQ
// describes it. The callback gives up at the fifth try; the driver would go on for two minutes.
func TestSwallowedDuplicateKeyRepeatsTheTransaction(t *testing.T) {
	t.Parallel()
	w, db := python(t), migrated(t)
	w.write("trap.py", connectPython+`
shop.outbox.insert_one(intent(dedup_key="received:order-1"))
tries, codes = 0, []
class Enough(Exception): pass
def place(session):
    global tries
    tries += 1
    if tries == 5:
        raise Enough
    try:
        shop.outbox.insert_one(intent(dedup_key="received:order-1"), session=session)
    except pymongo.errors.DuplicateKeyError as error:
        codes.append(error.code)
gave_up = False
with client.start_session() as session:
    try:
        session.with_transaction(place)
    except Enough:
        gave_up = True
commit = None
with client.start_session() as session:
    session.start_transaction()
    place_tries, tries = tries, 0
    place(session)
    try:
        session.commit_transaction()
    except pymongo.errors.OperationFailure as error:
        commit = {"code": error.code, "name": error.details["codeName"], "transient": error.has_error_label("TransientTransactionError")}
print(json.dumps({"tries": place_tries, "codes": codes, "gave_up": gave_up, "commit": commit}))
`)
	got := w.result(db, "python3", "trap.py")
	commit, _ := got["commit"].(map[string]any)
	if got["tries"] != 5.0 || got["gave_up"] != true || commit["code"] != 251.0 || commit["name"] != "NoSuchTransaction" || commit["transient"] != true {
		t.Errorf("the FAQ tells otherwise: %v", got)
	}
}

// The upsert of the pages writes once, also where two transactions have the key at the same time.
func TestUpsertWritesOnceAmongConcurrentTransactions(t *testing.T) {
	t.Parallel()
	w, db := python(t), migrated(t)
	w.write("upsert.py", connectPython+`
import threading
shop.orders.insert_one({"_id": "made first"})
both, tries = threading.Barrier(2, timeout=60), []
def work(name):
    mine = []
    def place(session):
        mine.append(name)
        shop.orders.find_one({"_id": "made first"}, session=session)    # both transactions have begun
        if len(mine) == 1:
            both.wait()
        shop.orders.insert_one({"_id": name}, session=session)
        shop.outbox.update_one({"dedup_key": "k"}, {"$setOnInsert": intent()}, upsert=True, session=session)
    with client.start_session() as session:
        session.with_transaction(place)
    tries.extend(mine)
threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
[t.start() for t in threads]
[t.join() for t in threads]
print(json.dumps({"tries": len(tries), "orders": shop.orders.count_documents({}), "intents": shop.outbox.count_documents({"dedup_key": "k"})}))
`)
	if got := w.result(db, "python3", "upsert.py"); got["orders"] != 3.0 || got["intents"] != 1.0 || got["tries"].(float64) < 3 {
		t.Errorf("got %v, want both orders, one intent, and a repeated transaction", got)
	}
}

// A naive datetime is taken for UTC, so that local time is hours off; the pages say so.
func TestNaiveDatetimeIsTakenForUTC(t *testing.T) {
	t.Parallel()
	w, db := python(t), migrated(t)
	w.env = append(w.env, "TZ=Asia/Tokyo")
	w.write("dates.py", connectPython+`
shop.outbox.insert_one(intent(_id="naive", due_at=datetime.datetime.now()))
shop.outbox.insert_one(intent(_id="aware", due_at=datetime.datetime.now(datetime.timezone.utc)))
print("{}")
`)
	w.result(db, "python3", "dates.py")
	if ahead := time.Until(dueAt(t, db, "naive")).Round(time.Hour); ahead != 9*time.Hour {
		t.Errorf("a naive datetime is due in %v, want 9h in Tokyo", ahead)
	}
	if ahead := time.Until(dueAt(t, db, "aware")).Round(time.Hour); ahead != 0 {
		t.Errorf("a datetime with its zone is due in %v, want now", ahead)
	}
}

// An invalid date in JavaScript is stored as 1970; the pages say so. Undefined becomes null unless it is ignored.
func TestInvalidDateAndUndefinedInNode(t *testing.T) {
	t.Parallel()
	w, db := node(t), migrated(t)
	w.write("dates.mjs", `import { MongoClient } from "mongodb";
const client = new MongoClient(process.env.OUTBOXD_MONGODB_URI);
const shop = client.db(process.env.OUTBOXD_DATABASE);
const payload = { to: "+4915112345678", from: "+15005550006", body: "x" };
await shop.collection("outbox").insertOne({ _id: "invalid", kind: "sms", status: "pending", due_at: new Date("rubbish"), payload });
await shop.collection("values").insertOne({ _id: "kept", a: undefined });
await shop.collection("values").insertOne({ _id: "ignored", a: undefined }, { ignoreUndefined: true });
console.log("{}");
await client.close();
`)
	w.result(db, "node", "dates.mjs")
	if due := dueAt(t, db, "invalid"); !due.Equal(time.Unix(0, 0)) {
		t.Errorf("an invalid date is stored as %v, want 1970", due)
	}
	for id, want := range map[string]bool{"kept": true, "ignored": false} {
		raw, err := db.Collection("values").FindOne(t.Context(), bson.D{{Key: "_id", Value: id}}).Raw()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := raw.LookupErr("a"); (err == nil) != want {
			t.Errorf("undefined, %s: %v", id, raw)
		}
	}
}

func dueAt(t *testing.T, db *mongo.Database, id string) time.Time {
	t.Helper()
	raw, err := db.Collection("outbox").FindOne(t.Context(), bson.D{{Key: "_id", Value: id}}).Raw()
	if err != nil {
		t.Fatal(err)
	}
	return raw.Lookup("due_at").Time()
}

// A mistyped kind is refused by name, in the drivers of two languages and through mongoose. The helpers say which kinds
// there are.
func TestMistypedKindIsRefused(t *testing.T) {
	t.Parallel()
	const want = "kind must be one that is registered: charge, email, sms, webhook."
	for name, c := range map[string]struct {
		workspace     func(*testing.T) *workspace
		file, program string
		command       []string
	}{
		"pymongo": {python, "kind.py", connectPython + `
from outbox_reasons import reasons
try:
    shop.outbox.insert_one({**intent(), "kind": "smss"})
    print(json.dumps({"why": None}))
except pymongo.errors.WriteError as error:
    print(json.dumps({"code": error.code, "why": reasons(error.details["errInfo"])}))
`, []string{"python3", "kind.py"}},
		"node": {node, "kind.mjs", `import { MongoClient } from "mongodb";
import { reasons } from "./reasons.cjs";
const client = new MongoClient(process.env.OUTBOXD_MONGODB_URI);
const payload = { to: "+4915112345678", from: "+15005550006", body: "x" };
try {
  await client.db(process.env.OUTBOXD_DATABASE).collection("outbox")
    .insertOne({ kind: "smss", status: "pending", due_at: new Date(), payload });
  console.log(JSON.stringify({ why: null }));
} catch (error) {
  console.log(JSON.stringify({ code: error.code, why: reasons(error.errInfo) }));
} finally { await client.close(); }
`, []string{"node", "kind.mjs"}},
		"mongoose": {node, "model.mjs", `import mongoose from "mongoose";
import { reasons } from "./reasons.cjs";
await mongoose.connect(process.env.OUTBOXD_MONGODB_URI, { dbName: process.env.OUTBOXD_DATABASE });
const Intent = mongoose.model("Intent", new mongoose.Schema({ kind: String, status: String, due_at: Date, payload: Object }), "outbox");
try {
  await Intent.create({ kind: "smss", status: "pending", due_at: new Date(),
    payload: { to: "+4915112345678", from: "+15005550006", body: "x" } });
  console.log(JSON.stringify({ why: null }));
} catch (error) {
  console.log(JSON.stringify({ code: error.code, why: reasons(error.errInfo) }));
} finally { await mongoose.disconnect(); }
`, []string{"node", "model.mjs"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, db := c.workspace(t), migrated(t)
			w.write(c.file, c.program)
			got := w.result(db, c.command...)
			if why, _ := json.Marshal(got["why"]); got["code"] != 121.0 || !strings.Contains(string(why), want) {
				t.Errorf("got %v, want error 121 and %q", got, want)
			}
		})
	}
}
