// The published JavaScript client of the LangGraph Server API, unmodified. Prints one line of JSON.
import { Client } from "@langchain/langgraph-sdk";
import assert from "node:assert/strict";

const [url, key] = process.argv.slice(2);
const client = new Client({ apiUrl: url, apiKey: key });
const says = (content) => ({ messages: [{ role: "user", content }] });

const thread = await client.threads.create({ metadata: { from: "javascript" } });
const told = [];
for await (const part of client.runs.stream(thread.thread_id, "agent", {
  input: says("What mail do I have?"),
  streamMode: ["values", "updates", "messages-tuple", "custom"],
  streamResumable: true,
  streamSubgraphs: true,
})) told.push(part);
const states = told.filter((p) => p.event === "values").map((p) => p.data.messages);
assert.deepEqual(states.at(-1).map((m) => m.type), ["human", "ai", "tool", "ai"]);
const final = states.at(-1).at(-1);
const written = told
  .filter((p) => p.event === "messages" && p.data[0].id === final.id)
  .map((p) => p.data[0].content);
assert.equal(written.join(""), final.content);

// an approval, answered as Agent Chat UI does: with an empty input beside the command
const paused = await client.runs.wait(thread.thread_id, "agent", { input: says("create a task to call Ana tomorrow") });
assert.equal(paused.__interrupt__[0].value.action_requests[0].name, "Asana_CreateTask");
const resumed = [];
for await (const part of client.runs.stream(thread.thread_id, "agent", {
  input: {},
  command: { resume: { decisions: [{ type: "approve" }] } },
  streamMode: ["values", "messages-tuple", "custom"],
})) resumed.push(part);
assert.equal(resumed.filter((p) => p.event === "values").at(-1).data.messages.at(-1).type, "ai");

// a stream that is dropped is joined again by id, without gap or repeat
let created;
const had = [];
for await (const part of client.runs.stream(thread.thread_id, "agent", {
  input: says("What mail do I have?"),
  streamMode: ["messages-tuple", "values"],
  streamResumable: true,
  onRunCreated: (run) => { created = run; },
})) {
  had.push(part);
  if (part.event === "values") break;
}
for await (const part of client.runs.joinStream(thread.thread_id, created.run_id, {
  streamMode: ["messages-tuple", "values"],
  lastEventId: had.at(-1).id,
})) had.push(part);
const sizes = had.filter((p) => p.event === "values").map((p) => p.data.messages.length);
assert.deepEqual(sizes, [...new Set(sizes)]);
const last = had.filter((p) => p.event === "values").at(-1).data.messages.at(-1);
const pieces = had.filter((p) => p.event === "messages" && p.data[0].id === last.id).map((p) => p.data[0].content);
assert.equal(pieces.join(""), last.content);

const history = await client.threads.getHistory(thread.thread_id);
assert.equal(history[0].next.length, 0);
const runs = await client.runs.list(thread.thread_id);
assert.deepEqual([...new Set(runs.map((r) => r.status))], ["success"]);
const found = await client.threads.search({ metadata: { graph_id: "agent", from: "javascript" } });
assert.ok(found.some((t) => t.thread_id === thread.thread_id && t.values.messages.length > 0));

// edit and regenerate as useStream does: from the parent of the checkpoint in which a message was first seen
const branches = await client.threads.create();
for (const [n, text] of ["hello", "what can you do?"].entries()) {
  await client.runs.wait(branches.thread_id, "agent", { input: { messages: [{ id: `h${n}`, role: "user", content: text }] } });
}
const firstSeen = async (id) => (await client.threads.getHistory(branches.thread_id, { limit: 100 }))
  .findLast((state) => state.values.messages.some((m) => m.id === id));
const shown = async () => (await client.threads.getState(branches.thread_id)).values.messages;
const before = await shown();
const again = [];
for await (const part of client.runs.stream(branches.thread_id, "agent", {
  input: undefined,
  checkpoint: (await firstSeen(before.at(-1).id)).parent_checkpoint,
  streamMode: ["values", "messages-tuple"],
  streamResumable: true,
})) again.push(part);
const regenerated = again.filter((p) => p.event === "values").at(-1).data.messages;
assert.deepEqual(regenerated.slice(0, 3), before.slice(0, 3));
assert.equal(regenerated.length, 4);
assert.notEqual(regenerated[3].id, before[3].id);
for (const [id, text] of [["h1", "what else?"], ["h0", "good morning"]]) {
  const edited = await client.runs.wait(branches.thread_id, "agent", {
    input: says(text),
    checkpoint: (await firstSeen(id)).parent_checkpoint,
  });
  assert.deepEqual(edited.messages.filter((m) => m.type === "human").at(-1).content, text);
}
assert.deepEqual((await shown()).map((m) => m.type), ["human", "ai"]);
await client.threads.updateState(branches.thread_id, { values: says("by the way") });
assert.equal((await shown()).at(-1).content, "by the way");
await assert.rejects(
  client.runs.wait(branches.thread_id, "agent", { input: says("x"), checkpointId: "no-such" }),
  (error) => error.status === 404,
);

await client.threads.delete(thread.thread_id);
await assert.rejects(client.threads.get(thread.thread_id), (error) => error.status === 404);
console.log(JSON.stringify({ parts: told.length, resumed: resumed.length, joined: had.length }));
process.exit(0); // Node waits for the idle connection of the stream that was dropped
