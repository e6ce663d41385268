// node-redis against a node, in RESP2 and RESP3; version 4, which has RESP2 alone, by the name it is installed under:
// node node-redis.mjs PORT [PACKAGE]
import assert from "node:assert/strict";

const port = Number(process.argv[2]);
const name = process.argv[3] ?? "redis";
const { createClient } = await import(name);
// Version 5 has renamed both.
const close = (client) => (client.close ? client.close() : client.quit());
const destroy = (client) => (client.destroy ? client.destroy() : client.disconnect());
for (const RESP of name === "redis" ? [2, 3] : [2]) {
  const client = createClient({ socket: { host: "127.0.0.1", port }, RESP });
  client.on("error", (error) => { throw error; });
  await client.connect();
  await client.flushAll();
  assert.equal(await client.set("k", "v", { EX: 100 }), "OK");
  assert.equal(await client.get("k"), "v");
  assert.equal(await client.hSet("h", { a: "1", b: "2" }), 2);
  assert.deepEqual({ ...(await client.hGetAll("h")) }, { a: "1", b: "2" });
  await client.zAdd("z", [{ score: 1.5, value: "a" }, { score: 2, value: "b" }]);
  assert.deepEqual(await client.zRangeWithScores("z", 0, -1), [{ value: "a", score: 1.5 }, { value: "b", score: 2 }]);
  await client.sAdd("s", ["x", "y"]);
  assert.deepEqual([...(await client.sMembers("s"))].sort(), ["x", "y"]);
  assert.deepEqual(await client.multi().incr("n").get("n").exec(), [1, "1"]);
  const many = await Promise.all(Array.from({ length: 1000 }, (_, at) => client.incr("many")));
  assert.deepEqual(many, Array.from({ length: 1000 }, (_, at) => at + 1));
  const keys = [];
  for await (const batch of client.scanIterator({ MATCH: "[hz]" })) keys.push(...[batch].flat());
  assert.deepEqual(keys.sort(), ["h", "z"]);
  assert.equal(await client.eval("return redis.call('GET', KEYS[1])", { keys: ["k"] }), "v");
  const id = await client.xAdd("stream", "*", { f: "v" });
  assert.equal((await client.xRange("stream", "-", "+"))[0].id, id);
  await assert.rejects(client.lPush("k", "x"), /WRONGTYPE/);

  const subscriber = client.duplicate();
  await subscriber.connect();
  const heard = new Promise((resolve) => subscriber.subscribe("news", resolve).then(() => client.publish("news", "hello")));
  assert.equal(await heard, "hello");
  const blocked = client.duplicate();
  await blocked.connect();
  const popped = blocked.blPop("queue", 10);
  await client.rPush("queue", "job");
  assert.deepEqual({ ...(await popped) }, { key: "queue", element: "job" });
  await destroy(blocked);
  await destroy(subscriber);
  await close(client);
  console.log(`${name} of node, RESP${RESP}: ok`);
}
