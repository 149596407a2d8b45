// Shows /v1/openapi.json, and who is signed in. Text is only ever set as text, never as markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
const DEEPEST = 5; // levels of a schema that are shown

/** An element with a class, a text or children. */
function make(tag, { cls, text, open, id } = {}, ...children) {
  const made = document.createElement(tag);
  if (cls) made.className = cls;
  if (id) made.id = id;
  if (open) made.open = true;
  if (text !== undefined) made.textContent = text;
  made.append(...children.filter(Boolean));
  return made;
}

/** The schema that a reference means. */
function resolved(api, schema) {
  const name = schema?.$ref?.split("/").pop();
  return name ? api.components.schemas[name] : schema ?? {};
}

/** A schema as lines of text that resemble JSON. */
function shape(api, given, depth = 0) {
  const schema = resolved(api, given), pad = "  ".repeat(depth + 1);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.map((one) => shape(api, one, depth)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.type === "array") return `[${shape(api, schema.items ?? {}, depth)}]`;
  if (schema.properties) {
    if (depth >= DEEPEST) return "{...}";
    const lines = Object.entries(schema.properties).map(([name, value]) => {
      const optional = schema.required?.includes(name) ? "" : "?";
      const note = value.description ? `  // ${value.description.split("\n")[0]}` : "";
      return `${pad}"${name}"${optional}: ${shape(api, value, depth + 1)},${note}`;
    });
    return `{\n${lines.join("\n")}\n${"  ".repeat(depth)}}`;
  }
  return schema.type ?? "any";
}

/** The schema of what has a `content`; undefined where it has none. */
function schemaOf(part) {
  return Object.values(part?.content ?? {}).map((one) => one.schema).find(Boolean);
}

function parameters(api, found) {
  if (!found.length) return null;
  const rows = found.map((one) =>
    make("tr", {}, make("td", {}, make("code", { text: one.name })), make("td", { text: one.in }),
      make("td", {}, make("code", { text: shape(api, one.schema) })), make("td", { text: one.description ?? "" })));
  return make("div", {}, make("h4", { text: "Parameters" }), make("table", {}, make("tbody", {}, ...rows)));
}

function responses(api, found) {
  const rows = Object.entries(found ?? {}).map(([status, one]) => {
    const schema = status < "300" && schemaOf(one);
    const shown = schema && Object.keys(schema).length ? make("pre", { text: shape(api, schema) }) : null;
    return make("tr", {}, make("td", {}, make("code", { text: status })), make("td", { text: one.description }, shown));
  });
  return make("div", {}, make("h4", { text: "Responses" }), make("table", {}, make("tbody", {}, ...rows)));
}

function operation(api, path, method, one) {
  const body = schemaOf(one.requestBody);
  const made = make("details", { id: one.operationId },
    make("summary", {}, make("span", { cls: "method", text: method.toUpperCase() }), make("span", { cls: "path", text: path }),
      make("span", { cls: "brief", text: one.summary ?? "" })));
  made.dataset.find = `${method} ${path} ${one.summary} ${one.description}`.toLowerCase();
  made.addEventListener("toggle", () => {
    if (!made.open || made.children.length > 1) return; // made when it is opened first
    made.append(make("div", {}, make("p", { text: one.description ?? "" }), parameters(api, one.parameters ?? []),
      body && make("div", {}, make("h4", { text: "Body" }), make("pre", { text: shape(api, body) })), responses(api, one.responses)));
  });
  return made;
}

async function showOperations() {
  const target = document.getElementById("operations");
  const api = await (await fetch("/v1/openapi.json")).json();
  document.getElementById("about").textContent = api.info.description.trim();
  const groups = new Map();
  for (const [path, item] of Object.entries(api.paths))
    for (const method of METHODS.filter((name) => item[name])) {
      const tag = item[method].tags?.[0] ?? "more";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operation(api, path, method, item[method]));
    }
  target.replaceChildren(...[...groups].map(([tag, all]) => make("section", {}, make("h2", { text: tag }), ...all)));
  document.getElementById("find").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    for (const one of target.querySelectorAll("details")) one.hidden = !one.dataset.find.includes(wanted);
    for (const one of target.querySelectorAll("section")) one.hidden = !one.querySelector("details:not([hidden])");
  });
}

async function showWho() {
  const who = document.getElementById("who"), leave = document.getElementById("leave");
  const answer = await fetch("/v1/me");
  if (!answer.ok) {
    who.textContent = "Not signed in on this browser.";
    return;
  }
  const me = await answer.json();
  who.textContent = `Signed in as ${me.name || me.user_id} of ${me.tenant_id}`;
  leave.hidden = false;
  leave.addEventListener("click", async () => {
    const out = await fetch("/auth/logout", { method: "POST", headers: { "x-cauce-request": "1" } });
    const target = (await out.json()).provider_logout;
    if (target) location.assign(target);
    else location.reload();
  });
}

showOperations().catch((error) => {
  document.getElementById("operations").textContent = `openapi.json cannot be shown: ${error}`;
});
showWho();
