// Renders the API's own OpenAPI document: what is used of the format here, and nothing more.
"use strict";

let api = null;

function element(tag, text, kind) {
  const e = document.createElement(tag);
  if (text) e.textContent = text;
  if (kind) e.className = kind;
  return e;
}

function within(parent, ...children) {
  parent.append(...children);
  return parent;
}

// resolve follows a reference into the document.
function resolve(value) {
  if (!value || !value.$ref) return value || {};
  return value.$ref.split("/").slice(1).reduce((node, name) => node[name], api);
}

// inline writes a line of text with `code` and **strong** in it.
function inline(parent, text) {
  for (const part of text.split(/(`[^`]+`|\*\*[^*]+\*\*)/)) {
    if (part.startsWith("`")) parent.append(element("code", part.slice(1, -1)));
    else if (part.startsWith("**")) parent.append(element("strong", part.slice(2, -2)));
    else parent.append(part);
  }
  return parent;
}

// prose writes paragraphs and lists.
function prose(text) {
  const box = element("div");
  for (const block of (text || "").trim().split(/\n\n+/)) {
    if (!block) continue;
    if (block.startsWith("- ")) {
      box.append(within(element("ul"), ...block.split("\n").map((line) => inline(element("li"), line.replace(/^- /, "")))));
    } else {
      box.append(inline(element("p"), block));
    }
  }
  return box;
}

function table(titles, rows) {
  const head = within(element("thead"), within(element("tr"), ...titles.map((t) => { const th = element("th", t); th.scope = "col"; return th; })));
  const body = within(element("tbody"), ...rows.map((cells) => within(element("tr"), ...cells.map((cell) => within(element("td"), cell)))));
  const box = within(element("div", "", "table"), within(element("table"), head, body));
  box.tabIndex = 0;
  return box;
}

// rules says in words what a schema asks for.
function rules(schema) {
  const parts = [];
  const type = [].concat(schema.type || []).filter((t) => t !== "null").join(" or ");
  if (schema.items) parts.push("array of " + (resolve(schema.items).type || "values"));
  else if (type) parts.push(type);
  if (schema.enum) parts.push("one of " + schema.enum.join(", "));
  if (schema.minimum !== undefined) parts.push(schema.minimum + " to " + schema.maximum);
  if (schema.maxLength) parts.push("at most " + schema.maxLength + " characters");
  if (schema.pattern) parts.push("`" + schema.pattern + "`");
  return parts.join("; ");
}

function fields(schema) {
  const required = schema.required || [];
  const rows = [];
  for (const [name, raw] of Object.entries(schema.properties || {})) {
    const field = Object.assign({}, resolve(raw), raw.description ? { description: raw.description } : {});
    rows.push([element("code", name), required.includes(name) ? "yes" : "no", inline(element("span"), rules(field)), inline(element("span"), field.description || "")]);
    const inner = field.items ? resolve(field.items) : field;
    for (const [sub, rawSub] of Object.entries(inner.properties || {})) {
      const s = resolve(rawSub);
      rows.push([element("code", name + (field.items ? "[]." : ".") + sub), (inner.required || []).includes(sub) ? "yes" : "no", inline(element("span"), rules(s)), inline(element("span"), s.description || "")]);
    }
  }
  return table(["Field", "Required", "Rules", "Meaning"], rows);
}

function body(content) {
  const box = element("div");
  for (const [media, type] of Object.entries(content || {})) {
    const schema = resolve(type.schema);
    box.append(within(element("p"), element("code", media)));
    if (schema.properties) box.append(fields(schema));
    for (const example of Object.values(type.examples || {})) {
      const pre = element("pre", JSON.stringify(example.value, null, 2));
      pre.tabIndex = 0;
      box.append(pre);
    }
  }
  return box;
}

function operation(method, path, op) {
  const box = element("article", "", "card");
  box.append(within(element("h2"), element("code", method.toUpperCase() + " " + path)), inline(element("p"), op.summary || ""), prose(op.description));
  if (op.parameters) {
    box.append(element("h3", "Parameters"), table(["Name", "In", "Rules", "Meaning"], op.parameters.map((p) =>
      [element("code", p.name), p.in + (p.required ? ", required" : ""), inline(element("span"), rules(resolve(p.schema))), inline(element("span"), p.description || "")])));
  }
  if (op.requestBody) box.append(element("h3", "Body"), body(op.requestBody.content));
  box.append(element("h3", "Answers"));
  for (const status of Object.keys(op.responses).sort()) {
    const response = resolve(op.responses[status]);
    const details = element("details");
    const first = (response.description || "").split("\n")[0].replaceAll("`", "");
    details.append(element("summary", status + " " + first), prose((response.description || "").split("\n").slice(1).join("\n")));
    const headers = Object.entries(response.headers || {});
    if (headers.length) details.append(table(["Header", "Meaning"], headers.map(([name, h]) => [element("code", name), h.description || ""])));
    details.append(body(response.content));
    box.append(details);
  }
  return box;
}

async function render() {
  const response = await fetch("/openapi.json");
  api = await response.json();
  at("title").textContent = api.info.title;
  at("about").replaceChildren(prose(api.info.description));
  const list = [];
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, op] of Object.entries(methods)) list.push(operation(method, path, op));
  }
  at("operations").replaceChildren(...list);
}

const at = (id) => document.getElementById(id);
render().catch(() => { at("operations").textContent = "The description could not be loaded."; });
