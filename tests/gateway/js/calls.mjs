// One use of each public call of the published JavaScript client, on each assistant. Prints one line of JSON: call, assistant, outcome.
import { Client } from "@langchain/langgraph-sdk";
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

const [url, key, ...assistants] = process.argv.slice(2);
const client = new Client({ apiUrl: url, apiKey: key, callerOptions: { maxRetries: 0 } });
const input = { messages: [{ role: "user", content: "hello" }] };
const types = (values) => values.messages.map((m) => m.type);

const newThread = async () => (await client.threads.create()).thread_id;

async function ran(assistant) {
  const thread = await newThread();
  const run = await client.runs.create(thread, assistant, { input });
  await client.runs.join(thread, run.run_id);
  return [thread, run.run_id];
}

async function made(assistant) {
  const graphId = (await client.assistants.get(assistant)).graph_id;
  return (await client.assistants.create({ graphId, context: {}, name: `n${randomUUID()}` })).assistant_id;
}

async function put(assistant) {
  const place = ["c", randomUUID()];
  await client.store.putItem(place, "k", { a: assistant });
  return place;
}

async function streamed(stream) {
  const told = [];
  for await (const part of stream) told.push(part);
  return told;
}

const calls = {
  "assistants.get": async (a) => assert.equal((await client.assistants.get(a)).graph_id, a),
  "assistants.getGraph": async (a) => assert.ok((await client.assistants.getGraph(a, { xray: true })).nodes),
  "assistants.getSchemas": async (a) => assert.equal((await client.assistants.getSchemas(a)).graph_id, a),
  "assistants.getSubgraphs": async (a) => assert.deepEqual(await client.assistants.getSubgraphs(a), {}),
  "assistants.search": async (a) => assert.ok((await client.assistants.search({ graphId: a })).length),
  "assistants.count": async (a) => assert.ok(await client.assistants.count({ graphId: a })),
  "assistants.create": async (a) => assert.ok(await made(a)),
  "assistants.update": async (a) =>
    assert.equal((await client.assistants.update(await made(a), { metadata: { a: 1 } })).version, 2),
  "assistants.getVersions": async (a) => assert.equal((await client.assistants.getVersions(await made(a))).length, 1),
  "assistants.setLatest": async (a) => assert.equal((await client.assistants.setLatest(await made(a), 1)).version, 1),
  "assistants.delete": async (a) => client.assistants.delete(await made(a)),

  "threads.create": async (a) => {
    const thread = await client.threads.create({ metadata: { a: 1 }, graphId: a, ttl: 60 });
    assert.equal(thread.metadata.a, 1);
  },
  "threads.get": async (a) => assert.deepEqual(types((await client.threads.get((await ran(a))[0])).values), ["human", "ai"]),
  "threads.update": async (a) =>
    assert.equal((await client.threads.update((await ran(a))[0], { metadata: { a: 1 } })).metadata.a, 1),
  "threads.search": async (a) => {
    const [thread] = await ran(a);
    const found = await client.threads.search({ metadata: { graph_id: a }, limit: 100 });
    assert.ok(found.some((t) => t.thread_id === thread));
  },
  "threads.count": async (a) => {
    await ran(a);
    assert.ok(await client.threads.count({ metadata: { graph_id: a } }));
  },
  "threads.copy": async (a) => assert.ok((await client.threads.copy((await ran(a))[0])).thread_id),
  "threads.getState": async (a) =>
    assert.deepEqual(types((await client.threads.getState((await ran(a))[0])).values), ["human", "ai"]),
  "threads.getHistory": async (a) => assert.ok((await client.threads.getHistory((await ran(a))[0])).length >= 2),
  "threads.updateState": async (a) => {
    const [thread] = await ran(a);
    await client.threads.updateState(thread, { values: { messages: [{ role: "user", content: "by hand" }] } });
    assert.equal((await client.threads.getState(thread)).values.messages.at(-1).content, "by hand");
  },
  "threads.patchState": async (a) => client.threads.patchState((await ran(a))[0], { a: 1 }),
  "threads.delete": async (a) => client.threads.delete((await ran(a))[0]),
  "threads.prune": async (a) => client.threads.prune([(await ran(a))[0]]),
  "threads.joinStream": async (a) => {
    const thread = await newThread();
    const started = client.runs.create(thread, a, { input });
    for await (const part of client.threads.joinStream(thread, { lastEventId: "-" }))
      if (part.event === "values" && part.data.messages) break;
    await started;
  },
  "threads.stream": async (a) => {
    const thread = client.threads.stream({ assistantId: a });
    try {
      await thread.run.start({ input });
      let last;
      for await (const values of thread.values) last = values;
      assert.deepEqual(types(last), ["human", "ai"]);
    } finally {
      await thread.close();
    }
  },

  "runs.create": async (a) => assert.ok((await client.runs.create(await newThread(), a, { input })).run_id),
  "runs.createBatch": async (a) =>
    assert.equal((await client.runs.createBatch([{ assistantId: a, input }])).length, 1),
  "runs.wait": async (a) =>
    assert.deepEqual(types(await client.runs.wait(await newThread(), a, { input, afterSeconds: 1 })), ["human", "ai"]),
  "runs.stream": async (a) => {
    const told = await streamed(
      client.runs.stream(await newThread(), a, { input, streamMode: ["values", "messages-tuple"] }),
    );
    const events = told.map((p) => p.event);
    for (const event of ["metadata", "values", "messages"]) assert.ok(events.includes(event), events.join());
    assert.ok(!events.includes("error"));
  },
  "runs.list": async (a) => {
    const [thread, run] = await ran(a);
    assert.deepEqual((await client.runs.list(thread)).map((r) => r.run_id), [run]);
  },
  "runs.get": async (a) => assert.equal((await client.runs.get(...(await ran(a)))).status, "success"),
  "runs.join": async (a) => assert.ok((await client.runs.join(...(await ran(a)))).messages),
  "runs.joinStream": async (a) => assert.ok(await streamed(client.runs.joinStream(...(await ran(a))))),
  "runs.cancel": async (a) => {
    const thread = await newThread();
    await client.runs.cancel(thread, (await client.runs.create(thread, a, { input })).run_id, true);
  },
  "runs.cancelMany": async (a) => {
    const thread = await newThread();
    // something that waits for a person, or takes its time
    const task = { messages: [{ role: "user", content: "create a task to call Ana tomorrow" }] };
    const run = await client.runs.create(thread, a === "agent" ? a : "slow", { input: task });
    await client.runs.cancelMany({ threadId: thread, runIds: [run.run_id] });
  },
  "runs.delete": async (a) => {
    const [thread, run] = await ran(a);
    await client.runs.delete(thread, run);
    assert.deepEqual(await client.runs.list(thread), []);
  },

  "crons.create": async (a) => client.crons.create(a, { schedule: "0 8 * * *", input }),
  "crons.createForThread": async (a) => client.crons.createForThread(await newThread(), a, { schedule: "0 8 * * *", input }),
  "crons.update": async () => client.crons.update(randomUUID(), { schedule: "0 9 * * *" }),
  "crons.delete": async () => client.crons.delete(randomUUID()),
  "crons.search": async (a) => client.crons.search({ assistantId: a }),
  "crons.count": async (a) => client.crons.count({ assistantId: a }),

  "store.putItem": async (a) => put(a),
  "store.getItem": async (a) => assert.deepEqual((await client.store.getItem(await put(a), "k")).value, { a }),
  "store.searchItems": async (a) =>
    assert.equal((await client.store.searchItems(await put(a), { filter: { a } })).items.length, 1),
  "store.listNamespaces": async (a) =>
    assert.ok((await client.store.listNamespaces({ prefix: await put(a) })).namespaces.length),
  "store.deleteItem": async (a) => client.store.deleteItem(await put(a), "k"),
};

async function outcome(call, assistant) {
  try {
    await call(assistant);
    return "works";
  } catch (error) {
    if (!error.status) throw error;
    const said = JSON.parse(error.text ?? error.message.slice(error.message.indexOf("{")));
    return `${error.status} ${said.code}`;
  }
}

const told = {};
for (const part of ["assistants", "threads", "runs", "crons", "store"])
  for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(client[part])))
    if (name !== "constructor") told[`${part}.${name}`] = null;
for (const [name, call] of Object.entries(calls)) {
  told[name] = {};
  for (const assistant of assistants) {
    try {
      told[name][assistant] = await outcome(call, assistant);
    } catch (error) {
      told[name][assistant] = `${error}`;
    }
  }
}
console.log(JSON.stringify(told));
process.exit(0);
