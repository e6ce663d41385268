// Rows as a table that one can sort; more rows come as one scrolls.

import { cellText, h } from "./dom.js";

const NUMBERS = /^(smallint|integer|bigint|real|double precision|numeric|oid)/;
const STEP = 200;

export const isNumber = type => NUMBERS.test(type) && !type.endsWith("[]");
export const isTime = type => /^(timestamp|date)/.test(type) && !type.endsWith("[]");

/** A time as people read it. */
const timeText = value => value === null ? "NULL" : String(value).replace("T", " ").replace(/([+-]\d\d):00$/, "$1");

const compare = (a, b, numeric) => {
  if (a === null || b === null) return (a === null) - (b === null);
  return numeric ? Number(a) - Number(b) : cellText(a) < cellText(b) ? -1 : cellText(a) > cellText(b) ? 1 : 0;
};

export function grid(columns, rows, { pick, label = "Result" } = {}) {
  let order = rows, sorted = -1, down = false, shown = 0;
  const body = h("tbody"), more = h("div", { class: "more" });
  const numeric = columns.map(column => isNumber(column.type));
  const times = columns.map(column => isTime(column.type));
  const cell = (value, i) => {
    const text = times[i] ? timeText(value) : cellText(value);
    const td = h("td", { class: value === null ? "null" : numeric[i] ? "number" : undefined, text: text.length > 400 ? text.slice(0, 400) + "…" : text });
    if (text.length > 60) td.title = text.slice(0, 4000);
    return td;
  };
  const grow = () => {
    const part = order.slice(shown, shown + STEP);
    body.append(...part.map((row, at) => {
      const tr = h("tr", pick && { tabindex: 0, class: "pick", onclick: () => pick(row), onkeydown: event => event.key === "Enter" && pick(row) },
        h("th", { scope: "row", text: shown + at + 1 }), row.map(cell));
      return tr;
    }));
    shown += part.length;
    more.hidden = shown >= order.length;
  };
  const sort = i => {
    down = sorted === i && !down;
    sorted = i;
    order = [...rows].sort((a, b) => compare(a[i], b[i], numeric[i]) * (down ? -1 : 1));
    heads.forEach((head, at) => head.setAttribute("aria-sort", at === i ? (down ? "descending" : "ascending") : "none"));
    body.replaceChildren();
    shown = 0;
    grow();
  };
  const heads = columns.map((column, i) =>
    h("th", { scope: "col", "aria-sort": "none", class: numeric[i] ? "number" : undefined },
      h("button", { type: "button", onclick: () => sort(i), title: "Sort" }, h("span", { text: column.name }), h("small", { text: column.type }))));
  const frame = h("div", { class: "grid", tabindex: 0, role: "region", "aria-label": label },
    h("table", {}, h("thead", {}, h("tr", {}, h("th", { class: "corner", text: "#" }), heads)), body), more);
  new IntersectionObserver(seen => seen.some(one => one.isIntersecting) && grow(), { root: frame, rootMargin: "400px" }).observe(more);
  grow();
  return frame;
}

const quoted = text => /[",\n\r]/.test(text) || text === "" ? `"${text.replaceAll('"', '""')}"` : text;

/** CSV as COPY reads it. */
export const csv = (columns, rows) =>
  [columns.map(column => quoted(column.name)), ...rows.map(row => row.map(value => value === null ? "" : quoted(cellText(value))))]
    .map(line => line.join(",")).join("\n") + "\n";
