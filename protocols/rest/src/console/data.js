// What there is: tables with their columns and rows, keys, series.

import { identifier, objects, request, sql } from "./api.js";
import { bytes, cellText, empty, failure, h, number, s } from "./dom.js";
import { grid, isNumber } from "./grid.js";
import { plot } from "./plot.js";
import { tabs, write } from "./query.js";

const PAGE = 100;

const TABLES = `SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'
  ORDER BY n.nspname IN ('perigee', 'redis'), n.nspname <> 'public', n.nspname, c.relname`;
const KINDS = { r: "table", p: "partitioned", v: "view", m: "materialized" };

/** A list on the left, what is chosen of it on the right. */
function browser({ title, placeholder, load, item, open, chosen, choose }) {
  const list = h("ul", { class: "list" }), pane = h("div", { class: "pane" }), filter = h("input", { type: "search", placeholder, "aria-label": placeholder });
  let all = [];
  const fill = () => {
    const wanted = filter.value.trim().toLowerCase();
    const shown = all.filter(one => item(one).name.toLowerCase().includes(wanted));
    list.replaceChildren(...shown.slice(0, 500).map(one => {
      const { name, about, group } = item(one);
      const button = h("button", { type: "button", onclick: () => show(one, button) }, group && h("small", { text: group }), h("span", { text: name }), about && h("em", { text: about }));
      if (name === current) button.setAttribute("aria-current", "true");
      return h("li", {}, button);
    }));
    if (!shown.length) list.replaceChildren(h("li", { class: "quiet", text: all.length ? "Nothing of this name." : "There is nothing yet." }));
  };
  let current = chosen;
  const show = async (one, button) => {
    current = item(one).name;
    choose(current);
    list.querySelectorAll("[aria-current]").forEach(other => other.removeAttribute("aria-current"));
    if (button) button.setAttribute("aria-current", "true");
    frame.classList.add("open");
    pane.replaceChildren(h("p", { class: "quiet", text: "…" }));
    try { pane.replaceChildren(back(), ...await open(one)); } catch (problem) { pane.replaceChildren(back(), failure(problem)); }
  };
  const back = () => h("button", { type: "button", class: "plain back", onclick: () => frame.classList.remove("open"), text: "← all" });
  const refresh = async () => {
    try {
      all = await load(filter.value.trim());
      fill();
      const again = all.find(one => item(one).name === current);
      if (again && !pane.childElementCount) show(again, list.querySelector("[aria-current]"));
    } catch (problem) { list.replaceChildren(h("li", {}, failure(problem))); }
  };
  let timer;
  filter.addEventListener("input", () => { fill(); clearTimeout(timer); timer = setTimeout(refresh, 300); });
  pane.append(...(chosen ? [] : [empty(title, "Choose one on the left.")]));
  const frame = h("div", { class: "browser" }, h("div", { class: "side" }, filter, list), pane);
  refresh();
  return frame;
}

export function data({ part = "tables", chosen = "", go }) {
  const parts = { tables, keys, series };
  const frame = h("section", { class: "data", "aria-label": "Data" },
    h("div", { class: "tabs", role: "tablist" }, Object.keys(parts).map(name =>
      h("button", { type: "button", role: "tab", "aria-selected": String(name === part), onclick: () => go(`data/${name}`), text: name[0].toUpperCase() + name.slice(1) }))));
  const choose = name => history.replaceState(null, "", `#data/${part}/${encodeURIComponent(name)}`);
  frame.append((parts[part] || tables)({ chosen, choose, go }));
  return frame;
}

function tables({ chosen, choose, go }) {
  return browser({
    title: "Tables", placeholder: "Find a table", chosen, choose,
    load: () => objects(TABLES, { maxRows: 5000 }),
    item: table => ({ name: table.schema === "public" ? table.name : `${table.schema}.${table.name}`, about: KINDS[table.kind] === "table" ? "" : KINDS[table.kind] }),
    open: table => describe(table, go),
  });
}

async function describe(table, go) {
  const full = `${identifier(table.schema)}.${identifier(table.name)}`, params = [table.schema, table.name];
  const columns = await objects(`SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS required, pg_get_expr(d.adbin, d.adrelid) AS default_value
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`, { params });
  const indexes = await objects("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = $1 AND tablename = $2 ORDER BY 1", { params }).catch(() => []);
  const keys = await objects(`SELECT a.attname AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey) WHERE i.indisprimary AND n.nspname = $1 AND c.relname = $2`, { params }).catch(() => []);
  const tiers = await objects("SELECT tier, rows, bytes, files FROM perigee.tiers WHERE schema_name = $1 AND table_name = $2", { params }).catch(() => []);
  const primary = new Set(keys.map(key => key.name));
  const order = columns.filter(column => primary.has(column.name)).map(column => identifier(column.name)).join(", ");
  const statement = `SELECT * FROM ${full}${order ? ` ORDER BY ${order}` : ""} LIMIT ${PAGE}`;
  return [
    h("header", {}, h("h2", { text: table.schema === "public" ? table.name : `${table.schema}.${table.name}` }), h("span", { class: "quiet", text: KINDS[table.kind] || "" }), h("span", { class: "fill" }),
      h("button", { type: "button", onclick: () => { write(statement.replace(` LIMIT ${PAGE}`, "\nLIMIT 100")); go("query"); }, text: "Query" })),
    tiers.length ? tierBar(tiers) : "",
    tabs([
      ["Rows", () => pages(full, order)],
      ["Columns", () => h("div", {}, grid([{ name: "column", type: "text" }, { name: "type", type: "text" }, { name: "key", type: "text" }, { name: "required", type: "text" }, { name: "default", type: "text" }],
        columns.map(column => [column.name, column.type, primary.has(column.name) ? "primary" : "", column.required ? "not null" : "", column.default_value ?? ""]), { label: "Columns" }),
      indexes.length > 0 && h("h3", { text: "Indexes" }), ...indexes.map(index => h("pre", { class: "json", text: index.indexdef })))],
    ]),
  ];
}

/** Rows a page at a time. */
function pages(full, order) {
  let from = 0;
  const body = h("div"), place = h("span", { class: "quiet" });
  const back = h("button", { type: "button", onclick: () => turn(-PAGE), text: "←", "aria-label": "Page before" });
  const on = h("button", { type: "button", onclick: () => turn(PAGE), text: "→", "aria-label": "Page behind" });
  const turn = async step => {
    from = Math.max(0, from + step);
    try {
      const found = await sql(`SELECT * FROM ${full}${order ? ` ORDER BY ${order}` : ""} LIMIT ${PAGE + 1} OFFSET ${from}`);
      const rows = found.rows.slice(0, PAGE);
      body.replaceChildren(rows.length ? grid(found.columns, rows) : empty("No rows", "There is nothing here."));
      back.disabled = from === 0;
      on.disabled = found.rows.length <= PAGE;
      place.textContent = rows.length ? `rows ${number(from + 1)} to ${number(from + rows.length)}` : "";
    } catch (problem) { body.replaceChildren(failure(problem)); }
  };
  turn(0);
  return h("div", {}, h("div", { class: "bar small" }, back, on, place), body);
}

/** How much of a table is where. */
export function tierBar(all) {
  const tiers = all.filter(tier => Number(tier.rows) || Number(tier.bytes));
  if (!tiers.length) return h("p", { class: "quiet", text: "no rows" });
  const sum = tiers.reduce((sum, tier) => sum + Number(tier.bytes), 0) || 1, width = 600;
  let at = 0;
  const svg = s("svg", { class: "tierbar", viewBox: `0 0 ${width} 14`, preserveAspectRatio: "none", role: "img", "aria-label": "Bytes by tier" });
  for (const tier of tiers) {
    const part = Math.max(Number(tier.bytes) / sum * width, Number(tier.bytes) ? 3 : 0);
    svg.append(s("rect", { class: tier.tier, x: at, width: part, height: 14 }, s("title", { text: `${tier.tier}: ${bytes(tier.bytes)}` })));
    at += part;
  }
  return h("div", { class: "tiers" }, svg, h("div", { class: "legend" }, tiers.map(tier =>
    h("span", {}, h("i", { class: tier.tier }), `${tier.tier} ${number(tier.rows)} rows, ${bytes(tier.bytes)}${tier.tier === "cold" ? ` in ${number(tier.files)} ${Number(tier.files) === 1 ? "file" : "files"}` : ""}`))));
}

function keys({ chosen, choose }) {
  return browser({
    title: "Keys", placeholder: "Find keys: stock:*", chosen, choose,
    load: async wanted => {
      const match = !wanted ? "" : `&match=${encodeURIComponent(/[*?]/.test(wanted) ? wanted : `*${wanted}*`)}`;
      const { rows } = await request("GET", `/v1/keys?limit=500${match}`);
      return rows;
    },
    item: key => ({ name: key.key, about: key.type === "TSDB-TYPE" ? "series" : key.type }),
    open: async key => {
      const found = await request("GET", `/v1/keys/${encodeURIComponent(key.key)}`);
      const head = h("header", {}, h("h2", { text: key.key }), h("span", { class: "quiet", text: `${key.type}${key.expire_at ? `, until ${key.expire_at}` : ""}${Number(key.bytes) ? `, ${bytes(key.bytes)}` : ""}` }));
      if (key.type === "TSDB-TYPE") return [head, ...await samples(key.key)];
      if (key.type === "stream") {
        const entries = await sql("SELECT id, fields FROM redis.streams WHERE key = $1 LIMIT 500", { params: [key.key] });
        return [head, grid(entries.columns, entries.rows)];
      }
      return [head, value(found.value)];
    },
  });
}

function value(found) {
  const column = (name, type = "text") => ({ name, type });
  if (Array.isArray(found) && found.length && typeof found[0] === "object" && found[0] !== null) return grid([column("member"), column("score", "double precision")], found.map(one => [one.member, one.score]));
  if (Array.isArray(found)) return grid([column("value")], found.map(one => [one]));
  if (found !== null && typeof found === "object") return grid([column("field"), column("value")], Object.entries(found));
  return h("pre", { class: "json", text: cellText(found) });
}

function series({ chosen, choose }) {
  return browser({
    title: "Series", placeholder: "Find a series", chosen, choose,
    load: () => objects("SELECT key, labels, samples, first_ts, last_ts FROM redis.series ORDER BY key", { maxRows: 5000 }),
    item: one => ({ name: one.key, about: `${number(one.samples)}` }),
    open: async one => [h("header", {}, h("h2", { text: one.key }), h("span", { class: "quiet", text: `${number(one.samples)} samples` })),
      h("p", { class: "quiet", text: Object.entries(typeof one.labels === "string" ? JSON.parse(one.labels) : one.labels || {}).map(([name, value]) => `${name} = ${value}`).join(", ") }), ...await samples(one.key)],
  });
}

async function samples(key) {
  const found = await sql("SELECT ts, value FROM redis.samples WHERE key = $1 ORDER BY ts DESC", { params: [key], maxRows: 5000 });
  const rows = found.rows.toReversed ? found.rows.toReversed() : [...found.rows].reverse();
  if (!rows.length) return [empty("No samples", "Nothing was added to this series.")];
  const views = [["Table", () => grid(found.columns, found.rows)]];
  if (rows.length > 1 && isNumber(found.columns[1].type)) views.unshift(["Plot", () => plot(found.columns, rows)]);
  return [tabs(views, found.truncated && h("span", { class: "quiet", text: "the last 5 000" }))];
}
