// Thread-centric streams of hosted graphs over the published JavaScript client, unmodified. Prints one line of JSON.
import { Client } from "@langchain/langgraph-sdk";
import assert from "node:assert/strict";

const [url, key] = process.argv.slice(2);
const client = new Client({ apiUrl: url, apiKey: key });
const says = (content) => ({ messages: [{ role: "user", content }] });
const all = async (source) => {
  const found = [];
  for await (const one of source) found.push(one);
  return found;
};
const opened = async (assistantId) => {
  const { thread_id } = await client.threads.create();
  return client.threads.stream(thread_id, { assistantId });
};

const chat = await opened("thinking");
const messages = all(chat.messages);
await chat.run.start({ input: says("hi") });
await chat.output;
const [message] = await messages;
assert.equal(await message.text, "Hello there, friend.");
assert.equal(await message.reasoning, "let me think");
await chat.close();

const agent = await opened("tool_agent");
const calls = all(agent.toolCalls);
await agent.run.start({ input: says("hi") });
await agent.output;
const [call] = await calls;
assert.deepEqual([call.name, call.input], ["look_up", { what: "the sky" }]);
await agent.close();

const custom = await opened("custom");
const progress = all(await custom.subscribe("custom:progress"));
await custom.run.start({ input: { n: [5] } });
await custom.output;
await custom.close();
assert.deepEqual((await progress).map((p) => p.step), ["begun", "done"]);

const asks = await opened("asks_inside");
await asks.run.start({ input: { answers: ["a"] } });
const states = all(asks.values);
await states;
assert.deepEqual(asks.interrupts.map((i) => i.payload), [{ question: "Which colour?" }]);
const { interruptId, namespace } = asks.interrupts[0];
await asks.input.respond({ namespace, interrupt_id: interruptId, response: "red" });
let shown;
do shown = await client.threads.get(asks.threadId);
while (shown.status !== "idle");
assert.deepEqual(shown.values.answers, ["a", "a", "red", "more"]);
await asks.close();
console.log(JSON.stringify({ ok: true }));
process.exit(0);
