// Questions about an outbox for mongosh: load("scripts/outbox.js"), then ob.help(). Nothing here changes anything, and
// nothing shows a payload. docs/mongosh.md explains each.
globalThis.ob = (() => {
  let name = "outbox";
  const intents = () => db.getCollection(name);
  const questions = {
    use: ["(collection): ask another outbox", (collection) => { name = collection; return name; }],
    waiting: ["(): what waits, by kind and status", () => intents().aggregate([
      {$match: {status: {$in: ["pending", "leased"]}}},
      {$group: {_id: {kind: "$kind", status: "$status"}, n: {$sum: 1}, oldest: {$min: "$due_at"}}},
      {$sort: {_id: 1}}]).toArray()],
    late: ["(kind): the oldest intent of a kind that is due", (kind) => intents()
      .find({kind, status: "pending", due_at: {$lte: new Date()}}, {due_at: 1, first_due_at: 1, attempts: 1})
      .sort({due_at: 1}).limit(1).toArray()],
    dead: ["(hours): dead letters since then, by kind, reason and code", (hours = 24) => intents().aggregate([
      {$match: {status: "dead", dead_at: {$gte: new Date(Date.now() - hours*3600e3)}}},
      {$group: {_id: {kind: "$kind", reason: "$dead_reason", code: "$last_error.code"},
                n: {$sum: 1}, first: {$min: "$dead_at"}, last: {$max: "$dead_at"}, example: {$first: "$_id"}}},
      {$sort: {n: -1}}]).toArray()],
    life: ["(id): one intent without its payload", (id) => intents()
      .find({_id: id}, {payload: 0, on_done: 0, on_dead: 0, write_back: 0}).toArray()],
    ambiguous: ["(): of which nobody knows whether the provider acted, the oldest 50", () => intents()
      .find({ambiguous_at: {$ne: null}, status: {$in: ["pending", "leased", "dead"]}},
            {kind: 1, status: 1, ambiguous_at: 1, attempts: 1, "last_error.code": 1})
      .sort({ambiguous_at: 1}).limit(50).toArray()],
    lanes: ["(): who paused what or slowed it down, holds, gates and breakers", () => db.getCollection(name + "_lanes").find().toArray()],
    workers: ["(): the workers that live", () => db.getCollection(name + "_workers").find().toArray()],
  };
  const all = {help: () => Object.entries(questions).map(([q, [text]]) => "ob." + q + text).join("\n")};
  for (const [q, [, ask]] of Object.entries(questions)) all[q] = ask;
  return all;
})();
