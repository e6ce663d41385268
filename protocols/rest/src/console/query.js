// The editor, and what comes of what is written in it.

import { request, sql } from "./api.js";
import { download, duration, empty, failure, h, number } from "./dom.js";
import { explain } from "./explain.js";
import { csv, grid } from "./grid.js";
import { drawable, plot } from "./plot.js";

const WORDS = new Set(("add all alter analyze and any array as asc asof begin between by call cascade case cast check column commit conflict constraint create cross " +
  "current_date current_timestamp database default delete desc distinct do drop else end except exists explain false fetch filter for foreign from full function " +
  "grant group having if ilike in index inner insert intersect interval into is join key language lateral latest left like limit materialized merge natural not nothing null " +
  "nulls offset on or order outer over partition primary references refresh rename returning revoke right role rollback row rows savepoint schema select sequence set " +
  "show table temporary then to true truncate union unique update using vacuum values view when where window with within").split(" "));
const TOKENS = /(--[^\n]*|\/\*[\s\S]*?(?:\*\/|$))|((?:[eE])?'(?:[^']|'')*(?:'|$)|\$(\w*)\$[\s\S]*?(?:\$\3\$|$))|("(?:[^"]|"")*(?:"|$))|(\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b)|([A-Za-z_]\w*)|([\s\S])/g;

/** SQL as spans, by what each piece is. */
function colored(text) {
  const parts = [];
  for (const [piece, comment, string, , name, digits, word] of text.matchAll(TOKENS)) {
    const kind = comment ? "comment" : string ? "string" : name ? "name" : digits ? "digits" : word && WORDS.has(word.toLowerCase()) ? "word" : null;
    parts.push(kind ? h("span", { class: kind, text: piece }) : piece);
  }
  return parts;
}

const kept = { text: sessionStorage.getItem("perigee.text") || "SELECT now() AS now, version();", history: [] };
try { kept.history = JSON.parse(sessionStorage.getItem("perigee.history")) || []; } catch { /* none */ }

/** Puts a statement into the editor, for the next time it is shown. */
export const write = text => { kept.text = text; sessionStorage.setItem("perigee.text", text); };

export function query({ run: runNow = false } = {}) {
  let running = null, place = -1;
  const picture = h("pre", { "aria-hidden": "true" });
  const area = h("textarea", { spellcheck: "false", autocapitalize: "off", autocomplete: "off", autocorrect: "off", "aria-label": "SQL", rows: 8, value: kept.text });
  const paint = () => { picture.replaceChildren(...colored(area.value), "\n"); write(area.value); };
  const output = h("div", { class: "output" }, empty("Nothing has run yet", "Write SQL above, and press Ctrl and Enter."));
  const go = h("button", { type: "button", class: "primary", onclick: () => start("run"), text: "Run" });
  const stop = h("button", { type: "button", hidden: true, onclick: () => running && running.abort(), text: "Cancel" });
  const most = h("select", { "aria-label": "Rows at most" }, [100, 1000, 10000, 50000].map(n => h("option", { value: n, text: `${number(n)} rows` })));
  most.value = "1000";
  const older = h("button", { type: "button", class: "plain", title: "Statement before (Ctrl ↑)", "aria-label": "Statement before", onclick: () => recall(1), text: "↑" });
  const newer = h("button", { type: "button", class: "plain", title: "Statement behind (Ctrl ↓)", "aria-label": "Statement behind", onclick: () => recall(-1), text: "↓" });

  function recall(step) {
    place = Math.max(-1, Math.min(kept.history.length - 1, place + step));
    if (place >= 0) { area.value = kept.history[place]; paint(); }
  }

  /** What is selected, or all. */
  const chosen = () => (area.value.slice(area.selectionStart, area.selectionEnd).trim() || area.value.trim()).replace(/;\s*$/, "");

  async function start(how) {
    const text = chosen();
    if (running || !text) return;
    kept.history = [text, ...kept.history.filter(other => other !== text)].slice(0, 100);
    sessionStorage.setItem("perigee.history", JSON.stringify(kept.history));
    place = -1;
    running = new AbortController();
    [go, explained, measured].forEach(button => { button.disabled = true; });
    stop.hidden = false;
    output.classList.add("busy");
    const began = performance.now();
    try {
      const shown = how === "run" ? await result(text, running.signal, began) : await plan(text, how, running.signal);
      output.replaceChildren(...shown);
    } catch (problem) {
      output.replaceChildren(failure(problem));
      if (problem.position && problem.sqlstate !== "57014") mark(text, problem.position);
    }
    running = null;
    [go, explained, measured].forEach(button => { button.disabled = false; });
    stop.hidden = true;
    output.classList.remove("busy");
  }

  /** Shows where in the text an error is; positions are characters from 1. */
  function mark(text, position) {
    const from = area.value.indexOf(text), at = from + [...text].slice(0, position - 1).join("").length;
    if (from < 0) return;
    const end = at + (/^\w+/.exec(area.value.slice(at)) || [" "])[0].length;
    area.setSelectionRange(at, end);
    area.focus();
  }

  async function result(text, signal, began) {
    const found = await sql(text, { maxRows: Number(most.value), signal });
    const took = duration(performance.now() - began), { columns, rows } = found;
    if (!columns || !columns.length) return [h("p", { class: "done" }, h("strong", { text: found.command || "Done" }), ` in ${took}`)];
    const count = `${number(rows.length)} ${rows.length === 1 ? "row" : "rows"}${found.truncated ? ", there are more" : ""} in ${took}`;
    const views = [["Table", () => grid(columns, rows)]];
    const what = drawable(columns, rows);
    if (what) views.push(["Plot", () => plot(columns, rows, what)]);
    views.push(["JSON", () => h("pre", { class: "json", text: JSON.stringify(rows.slice(0, 1000).map(row => Object.fromEntries(row.map((v, i) => [columns[i].name, v]))), null, 1) })]);
    return [tabs(views, h("span", { class: "quiet", text: count }),
      h("button", { type: "button", class: "plain", onclick: () => download("result.csv", "text/csv", csv(columns, rows)), text: "CSV ↓" }))];
  }

  /** A statement is only run for its times where it may write nothing. */
  async function plan(text, how, signal) {
    if (how === "explain") return [explain((await sql(`EXPLAIN (FORMAT JSON) ${text}`, { signal })).rows[0])];
    const { id } = await request("POST", "/v1/transactions", { body: { read_only: true, time_ms: 600000 }, signal });
    try {
      return [explain((await sql(`EXPLAIN (ANALYZE, FORMAT JSON) ${text}`, { signal, transaction: id })).rows[0])];
    } finally {
      request("POST", `/v1/transactions/${id}/rollback`).catch(() => {});
    }
  }

  const explained = h("button", { type: "button", onclick: () => start("explain"), title: "How it would run", text: "Explain" });
  const measured = h("button", { type: "button", onclick: () => start("analyze"), title: "Runs it, without letting it write, and shows what each step took", text: "Explain with times" });

  area.addEventListener("input", paint);
  area.addEventListener("scroll", () => { picture.scrollTop = area.scrollTop; picture.scrollLeft = area.scrollLeft; });
  area.addEventListener("keydown", event => {
    const control = event.ctrlKey || event.metaKey;
    if (control && event.key === "Enter") { event.preventDefault(); start(event.shiftKey ? "explain" : "run"); }
    else if (control && event.key === "ArrowUp") { event.preventDefault(); recall(1); }
    else if (control && event.key === "ArrowDown") { event.preventDefault(); recall(-1); }
    else if (event.key === "Escape" && running) running.abort();
    else if (event.key === "Tab" && !event.shiftKey && !control && !event.altKey && area.selectionStart === area.selectionEnd && area.value.slice(0, area.selectionStart).split("\n").at(-1).trim() === "" && area.value) {
      event.preventDefault();
      document.execCommand("insertText", false, "    ");
    }
  });
  paint();
  if (runNow) queueMicrotask(() => start("run"));
  else queueMicrotask(() => matchMedia("(pointer: fine)").matches && area.focus());
  return h("section", { class: "query", "aria-label": "Query" },
    h("div", { class: "editor" }, picture, area),
    h("div", { class: "bar" }, go, stop, explained, measured, h("span", { class: "fill" }), older, newer, most), output);
}

/** Views of one thing, one at a time. */
export function tabs(views, ...beside) {
  const body = h("div", { class: "tabbody" });
  const buttons = views.map(([name, make], i) => h("button", { type: "button", role: "tab", "aria-selected": "false", onclick: () => show(i), text: name }));
  const show = i => {
    buttons.forEach((button, at) => { button.setAttribute("aria-selected", String(at === i)); button.tabIndex = at === i ? 0 : -1; });
    body.replaceChildren(views[i][1]());
  };
  const list = h("div", { role: "tablist", class: "tabs", onkeydown: event => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = (buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length;
    show(next);
    buttons[next].focus();
  } }, buttons);
  show(0);
  return h("div", {}, h("div", { class: "tabline" }, list, h("span", { class: "fill" }), beside), body);
}

