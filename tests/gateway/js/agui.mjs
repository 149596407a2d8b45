// The published AG-UI client, unmodified; it checks the order of events itself. Prints one line of JSON.
import { HttpAgent } from "@ag-ui/client";
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

const [url, key] = process.argv.slice(2);
const agent = new HttpAgent({ url, headers: { "x-api-key": key }, threadId: randomUUID() });
const kinds = [];
const subscriber = { onEvent: ({ event }) => { kinds.push(event.type); } };
const say = async (content, options = {}) => {
  kinds.length = 0;
  if (content) agent.addMessage({ id: randomUUID(), role: "user", content });
  let finished;
  await agent.runAgent(options, { ...subscriber, onRunFinishedEvent: ({ event }) => { finished = event; } });
  return finished;
};

const first = await say("What mail do I have?");
assert.equal(first.outcome.type, "success");
assert.equal(kinds[0], "RUN_STARTED");
assert.equal(kinds.at(-1), "RUN_FINISHED");
for (const kind of ["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT",
  "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"]) assert.ok(kinds.includes(kind), kind);
const answer = agent.messages.at(-1);
assert.equal(answer.role, "assistant");
assert.match(answer.content, /8 mails/);

const paused = await say("create a task to call Ana tomorrow");
assert.equal(paused.outcome.type, "interrupt");
const [asked] = paused.outcome.interrupts;
assert.equal(asked.reason, "tool_approval");
assert.equal(asked.metadata.name, "Asana_CreateTask");
const resumed = await say(null, {
  resume: [{ interruptId: asked.id, status: "resolved", payload: { decision: "approve" } }],
});
assert.equal(resumed.outcome.type, "success");

// an answer to an interrupt that is gone
await assert.rejects(agent.runAgent({
  resume: [{ interruptId: asked.id, status: "resolved", payload: { decision: "approve" } }],
}));

// another answer, as clients ask for it: the list without the last one
agent.setMessages(agent.messages.slice(0, agent.messages.findLastIndex((m) => m.role === "user") + 1));
const asked_again = agent.messages.at(-1);
await assert.rejects(agent.runAgent({ tools: [{ name: "blue", description: "", parameters: { type: "object" } }] }));
const regenerated = await say(null);
assert.ok(["success", "interrupt"].includes(regenerated.outcome.type));
assert.equal(agent.messages.filter((m) => m.role === "user").at(-1).id, asked_again.id);

console.log(JSON.stringify({ messages: agent.messages.length }));
