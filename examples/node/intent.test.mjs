// A unit test of a producer: `outboxd validate --serve` checks its documents, without a database. Run: node --test
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { EJSON } from "bson";
import { receivedText } from "./intents.mjs";

let validator, url;
before(async () => {
  validator = spawn(process.env.OUTBOXD ?? "outboxd", ["validate", "--serve", "127.0.0.1:0"]);
  for await (url of createInterface(validator.stdout)) break; // the first line is the address
});
after(() => validator.kill());

async function reasons(intent) {
  const answer = await fetch(url, { method: "POST", body: EJSON.stringify(intent) });
  return (await answer.json()).documents.flatMap((document) => document.reasons);
}

test("the text about a received order is a valid intent", async () => {
  assert.deepEqual(await reasons(receivedText("order-1", "+4915112345678")), []);
});

test("a telephone number as people write it is refused", async () => {
  assert.equal((await reasons(receivedText("order-1", "0151 12345678")))[0].path, "payload.to");
});
