// Hosted graphs over the published JavaScript client of the LangGraph Server API, unmodified. Prints one line of JSON.
import { Client } from "@langchain/langgraph-sdk";
import assert from "node:assert/strict";

const [url, key] = process.argv.slice(2);
const client = new Client({ apiUrl: url, apiKey: key });
const says = (content) => ({ messages: [{ role: "user", content }] });
const chunks = (told) => told.filter((p) => p.event.split("|")[0] === "messages").map((p) => p.data[0]);
const texts = (told) => {
  const found = {};
  for (const chunk of chunks(told)) found[chunk.id] = (found[chunk.id] ?? "") + chunk.content;
  return found;
};

const assistant = await client.assistants.create({
  graphId: "helper",
  config: { configurable: { colour: "green", tone: "brisk" } },
  name: "From JavaScript",
});
const thread = await client.threads.create();
const told = [];
for await (const part of client.runs.stream(thread.thread_id, assistant.assistant_id, {
  input: says("hi"),
  streamMode: ["values", "updates", "messages-tuple", "custom", "tasks", "checkpoints"],
  streamSubgraphs: true,
  streamResumable: true,
})) told.push(part);
const kinds = new Set(told.map((p) => p.event.split("|")[0]));
for (const kind of ["metadata", "values", "updates", "messages", "custom", "tasks", "checkpoints"]) assert.ok(kinds.has(kind), kind);
assert.ok(told.some((p) => p.event.startsWith("updates|research:")));
const asked = told.filter((p) => p.event === "values").at(-1).data.__interrupt__[0];
assert.equal(asked.value.question, "Send it?");
const state = await client.threads.getState(thread.thread_id);
assert.deepEqual(state.next, ["confirm"]);
assert.deepEqual([state.values.plan.tone, state.values.plan.colour], ["brisk", "green"]);
const final = state.values.messages.at(-1);
assert.equal(texts(told)[final.id], final.content);

const resumed = [];
for await (const part of client.runs.stream(thread.thread_id, assistant.assistant_id, {
  input: {},
  command: { resume: "yes" },
  streamMode: ["values", "messages-tuple", "custom"],
})) resumed.push(part);
assert.equal(resumed.filter((p) => p.event === "values").at(-1).data.notes.at(-1), "confirmed: yes");

const history = await client.threads.getHistory(thread.thread_id, { limit: 100 });
assert.equal(history[0].next.length, 0);
const planned = history.find((s) => s.next[0] === "call");
const forked = await client.runs.wait(thread.thread_id, assistant.assistant_id, {
  input: null,
  checkpoint: planned.checkpoint,
});
assert.equal(forked.__interrupt__[0].value.question, "Send it?");
await client.threads.updateState(thread.thread_id, { values: { notes: ["by hand"] }, asNode: "research" });
const copy = await client.threads.copy(thread.thread_id);
assert.equal((await client.threads.getState(copy.thread_id)).values.notes.at(-1), "by hand");

// a stream that is dropped in the middle of an answer is joined again by id, without gap or repeat
let created;
const had = [];
const slow = await client.threads.create();
for await (const part of client.runs.stream(slow.thread_id, "slow", {
  input: says("write"),
  streamMode: ["messages-tuple", "values"],
  streamResumable: true,
  onRunCreated: (run) => { created = run; },
})) {
  had.push(part);
  if (had.filter((p) => p.event === "messages").length === 4) break;
}
for await (const part of client.runs.joinStream(slow.thread_id, created.run_id, {
  streamMode: ["messages-tuple", "values"],
  lastEventId: had.at(-1).id,
})) had.push(part);
const states = had.filter((p) => p.event === "values").map((p) => p.data.messages);
assert.deepEqual(states.map((s) => s.length), [1, 2, 3]);
const whole = Object.fromEntries(states.at(-1).filter((m) => m.type === "ai").map((m) => [m.id, m.content]));
assert.deepEqual(texts(had), whole);
console.log(JSON.stringify({ parts: told.length, joined: had.length }));
process.exit(0); // Node waits for the idle connection of the stream that was dropped
