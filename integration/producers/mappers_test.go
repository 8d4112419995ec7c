package producers

import (
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

// checkMapped checks that the worker accepts what an object mapper wrote by its defaults, and that it wrote these
// fields.
func checkMapped(t *testing.T, db *mongo.Database, fields ...string) {
	t.Helper()
	var intents []bson.Raw
	cursor, err := db.Collection("outbox").Find(t.Context(), bson.D{})
	if err == nil {
		err = cursor.All(t.Context(), &intents)
	}
	if err != nil || len(intents) != 2 {
		t.Fatalf("%d intents, want 2: %v", len(intents), err)
	}
	for _, raw := range intents {
		in, err := store.ParseInsert(raw, outbox.Rules{})
		if err != nil || len(in.Problems) > 0 {
			t.Errorf("the worker would refuse it: %v, %v", err, in.Problems)
		}
		for _, field := range fields {
			if v, err := raw.LookupErr(field); err != nil {
				t.Errorf("the mapper does not write %s any more: %v", field, raw)
			} else if field == "dedup_key" && v.Type != bson.TypeNull {
				t.Errorf("dedup_key is %v, want null", v)
			}
		}
	}
}

// mongoose adds __v, and createdAt and updatedAt where it is told to.
func TestMongooseByItsDefaults(t *testing.T) {
	t.Parallel()
	w, db := node(t), migrated(t)
	w.write("save.mjs", `import mongoose from "mongoose";
const Intent = mongoose.model("Intent", new mongoose.Schema({
  kind: String, status: String, due_at: Date, expires_at: { type: Date, default: null }, dedup_key: { type: String, default: null }, payload: Object,
}, { collection: "outbox", timestamps: true }));
await mongoose.connect(process.env.OUTBOXD_MONGODB_URI, { dbName: process.env.OUTBOXD_DATABASE });
const fields = () => ({ kind: "sms", status: "pending", due_at: new Date(), payload: { to: "+4915112345678", from: "+15005550006", body: "x", media_urls: undefined } });
await new Intent(fields()).save();
await Intent.create(fields());
await mongoose.disconnect();
`)
	if code, out := w.run(t.Context(), db.Name(), nil, "node", "save.mjs"); code != 0 {
		t.Fatalf("mongoose is refused: %s", out)
	}
	checkMapped(t, db, "__v", "createdAt", "updatedAt", "expires_at", "dedup_key")
}

// A nested schema gets an _id, which the contract refuses; the pages say how to leave it out.
func TestMongooseNestedSchemaHasAnID(t *testing.T) {
	t.Parallel()
	w, db := node(t), migrated(t)
	w.write("nested.mjs", `import mongoose from "mongoose";
import { reasons } from "./reasons.cjs";
const of = (name, options) => mongoose.model(name, new mongoose.Schema({
  kind: String, status: String, due_at: Date, payload: new mongoose.Schema({ to: String, from: String, body: String }, options),
}, { collection: "outbox" }));
await mongoose.connect(process.env.OUTBOXD_MONGODB_URI, { dbName: process.env.OUTBOXD_DATABASE });
const fields = { kind: "sms", status: "pending", due_at: new Date(), payload: { to: "+4915112345678", from: "+15005550006", body: "x" } };
await of("Without", { _id: false }).create(fields);
const refused = await of("With", {}).create(fields).then(() => [], (error) => reasons(error.errInfo));
console.log(JSON.stringify({ refused }));
await mongoose.disconnect();
`)
	got := w.result(db, "node", "nested.mjs")
	if lines, _ := got["refused"].([]any); len(lines) != 1 || !strings.HasPrefix(lines[0].(string), "payload: unknown _id. ") {
		t.Errorf("got %v", got)
	}
}

// beanie writes null for each optional property without a value.
func TestBeanieByItsDefaults(t *testing.T) {
	t.Parallel()
	w, db := python(t), migrated(t)
	w.write("save.py", `import asyncio, datetime, os
from typing import Optional
import beanie, pymongo, pydantic

class SMS(pydantic.BaseModel):
    to: str
    sender: Optional[str] = pydantic.Field(None, alias="from")
    messaging_service_sid: Optional[str] = None
    body: Optional[str] = None
    media_urls: Optional[list[str]] = None
    validity_seconds: Optional[int] = None

class Intent(beanie.Document):
    kind: str = "sms"
    status: str = "pending"
    due_at: datetime.datetime = pydantic.Field(default_factory=lambda: datetime.datetime.now(datetime.timezone.utc))
    expires_at: Optional[datetime.datetime] = None
    priority: Optional[int] = None
    dedup_key: Optional[str] = None
    max_attempts: Optional[int] = None
    on_ambiguous: Optional[str] = None
    on_done: Optional[list[dict]] = None
    write_back: Optional[dict] = None
    metadata: Optional[dict] = None
    payload: SMS
    class Settings:
        name = "outbox"

async def main():
    async with pymongo.AsyncMongoClient(os.environ["OUTBOXD_MONGODB_URI"]) as client:
        await beanie.init_beanie(database=client[os.environ["OUTBOXD_DATABASE"]], document_models=[Intent])
        payload = {"to": "+4915112345678", "from": "+15005550006", "body": "x"}
        await Intent(payload=payload).insert()
        await Intent(payload=payload, metadata={"order": "1", "note": None}).insert()

asyncio.run(main())
`)
	if code, out := w.run(t.Context(), db.Name(), nil, "python3", "save.py"); code != 0 {
		t.Fatalf("beanie is refused: %s", out)
	}
	checkMapped(t, db, "expires_at", "priority", "dedup_key", "write_back", "metadata")
}

// Spring Data adds _class to a document, and to what is in it where the property's type is not the value's.
func TestSpringByItsDefaults(t *testing.T) {
	t.Parallel()
	w, db := java(t), migrated(t)
	w.write("Save.java", `import com.mongodb.client.MongoClients;
import java.time.Instant;
import java.util.Map;
import org.springframework.data.mongodb.core.*;
import org.springframework.data.mongodb.core.mapping.*;

public class Save {
  interface Payload {}
  record SMS(String to, String from, String body) implements Payload {}
  @org.springframework.data.mongodb.core.mapping.Document("outbox")
  record Intent(String id, String kind, String status, @Field("due_at") Instant dueAt, Payload payload,
      @Field(value = "dedup_key", write = Field.Write.ALWAYS) String dedupKey) {}

  public static void main(String[] args) {
    try (var client = MongoClients.create(System.getenv("OUTBOXD_MONGODB_URI"))) {
      var mongo = new MongoTemplate(client, System.getenv("OUTBOXD_DATABASE"));
      mongo.insert(new Intent("a", "sms", "pending", Instant.now(), new SMS("+4915112345678", "+15005550006", "x"), null));
      mongo.save(new Intent(null, "sms", "pending", Instant.now(), new SMS("+4915112345678", "+15005550006", "x"), null));
    }
  }
}
`)
	w.must("javac", "-proc:none", "Save.java")
	if code, out := w.run(t.Context(), db.Name(), nil, "java", "Save"); code != 0 {
		t.Fatalf("Spring Data is refused: %s", out)
	}
	checkMapped(t, db, "_class", "dedup_key")
	raw, err := db.Collection("outbox").FindOne(t.Context(), bson.D{{Key: "_id", Value: "a"}}).Raw()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.LookupErr("payload", "_class"); err != nil {
		t.Errorf("Spring Data does not write payload._class any more: %v", raw)
	}
}
