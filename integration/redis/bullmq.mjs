// BullMQ's usual flow against a node: node bullmq.mjs PORT
import { EventEmitter } from "node:events";
import assert from "node:assert/strict";
import { FlowProducer, Queue, QueueEvents, Worker } from "bullmq";

// Fifty jobs are waited for at a time.
EventEmitter.defaultMaxListeners = 200;
const connection = { host: "127.0.0.1", port: Number(process.argv[2]), maxRetriesPerRequest: null };
const queue = new Queue("work", { connection });
const events = new QueueEvents("work", { connection });
await events.waitUntilReady();

const tries = new Map();
const worker = new Worker("work", async (job) => {
  if (job.name === "fails") throw new Error("as it should");
  if (job.name === "again") {
    tries.set(job.id, (tries.get(job.id) ?? 0) + 1);
    if (tries.get(job.id) < 3) throw new Error("not yet");
  }
  await job.updateProgress(50);
  return job.data.number * 2;
}, { connection, concurrency: 5 });
worker.on("error", (error) => { throw error; });

const jobs = await queue.addBulk(Array.from({ length: 50 }, (_, number) => ({ name: "double", data: { number } })));
const results = await Promise.all(jobs.map((job) => job.waitUntilFinished(events, 30_000)));
assert.deepEqual(results, jobs.map((job) => job.data.number * 2));

const failing = await queue.add("fails", { number: 1 });
await assert.rejects(failing.waitUntilFinished(events, 30_000), /as it should/);
const again = await queue.add("again", { number: 21 }, { attempts: 5, backoff: { type: "fixed", delay: 50 } });
assert.equal(await again.waitUntilFinished(events, 30_000), 42);
const late = await queue.add("double", { number: 4 }, { delay: 300, priority: 2 });
assert.equal(await late.waitUntilFinished(events, 30_000), 8);

const producer = new FlowProducer({ connection });
const child = (number) => ({ name: "double", queueName: "work", data: { number } });
const flow = await producer.add({ ...child(5), children: [child(6), child(7)] });
assert.equal(await flow.job.waitUntilFinished(events, 30_000), 10);
assert.deepEqual(Object.values(await flow.job.getChildrenValues()).sort(), [12, 14]);

// Priorities: the smallest number first, and those without one before all.
const order = [];
const ordered = new Queue("ordered", { connection });
for (const priority of [30, 10, 0, 20]) await ordered.add("p", { priority }, { priority });
const orderly = new Worker("ordered", async (job) => { order.push(job.data.priority); }, { connection });
for (let round = 0; order.length < 4 && round < 600; round++) await new Promise((done) => setTimeout(done, 50));
assert.deepEqual(order, [0, 10, 20, 30]);
await orderly.close();

// A rate limit: two jobs in each 300 ms.
const begun = Date.now();
const slow = new Worker("ordered", async () => "slow", { connection, limiter: { max: 2, duration: 300 } });
let finished = 0;
slow.on("completed", () => { finished++; });
await ordered.addBulk(Array.from({ length: 5 }, () => ({ name: "limited", data: {} })));
for (let round = 0; finished < 5 && round < 600; round++) await new Promise((done) => setTimeout(done, 50));
assert.equal(finished, 5);
assert.ok(Date.now() - begun >= 500, "the limit holds them back");
await slow.close();
await ordered.obliterate({ force: true });
await ordered.close();

await queue.upsertJobScheduler("cron", { pattern: "* * * * * *" }, { name: "double", data: { number: 1 } });
assert.equal((await queue.getJobSchedulers()).length, 1);
for (let round = 0; round < 600; round++) {
  const done = await queue.getCompleted();
  if (done.some((job) => job.repeatJobKey === "cron")) break;
  assert.ok(round < 599, "the cron job has not run");
  await new Promise((next) => setTimeout(next, 50));
}
assert.equal(await queue.removeJobScheduler("cron"), true);
await queue.upsertJobScheduler("tick", { every: 100, limit: 2 }, { name: "double", data: { number: 9 } });
const counts = await queue.getJobCounts("completed", "failed", "waiting");
assert.equal(counts.failed, 1);
assert.ok(counts.completed >= 55, JSON.stringify(counts));
assert.ok((await queue.getWorkers()).length >= 1);
await queue.pause();
assert.equal(await queue.isPaused(), true);
await queue.resume();
await worker.close();
await queue.obliterate({ force: true });
for (const each of [events, producer, queue]) await each.close();
console.log("BullMQ: ok");
