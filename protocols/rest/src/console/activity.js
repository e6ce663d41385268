// Who is connected and does what; statements that have run long while this page was open.

import { objects, sql } from "./api.js";
import { cellText, duration, empty, failure, h, number, repeat } from "./dom.js";

const EVERY = 2000, SLOW_MS = 1000;
const slow = new Map();

const ACTIVITY = `SELECT pid, usename, datname, application_name, client_addr, state, wait_event_type, query,
  (extract(epoch FROM now() - query_start) * 1000)::float8 AS query_ms, (extract(epoch FROM now() - xact_start) * 1000)::float8 AS transaction_ms,
  (extract(epoch FROM now() - backend_start) * 1000)::float8 AS session_ms, query_start::text AS started FROM pg_stat_activity`;

export function activity() {
  const sessions = h("div", { class: "card" }), long = h("div", { class: "card" }), gaps = h("div", { class: "card" });
  const frame = h("section", { class: "activity", "aria-label": "Activity" }, sessions, long, gaps);
  const draw = async () => {
    try {
      const all = await objects(ACTIVITY, { maxRows: 2000 });
      // This page's own question is none.
      const rows = all.filter(row => !(row.query || "").startsWith("SELECT pid, usename, datname, application_name")).sort((a, b) => rank(a) - rank(b) || (b.query_ms || 0) - (a.query_ms || 0));
      for (const row of rows) if (row.state === "active" && row.query_ms >= SLOW_MS) note(row);
      sessions.replaceChildren(h("h2", {}, "Sessions", h("small", { text: number(rows.length) })), rows.length ? h("div", { class: "scroll" }, table(rows, draw)) : empty("Nobody is connected", "Sessions of all doors show here."));
      long.replaceChildren(h("h2", { text: "Slow statements" }), slow.size ? h("div", { class: "scroll" }, slowTable()) : h("p", { class: "quiet", text: "None has run for longer than a second while this page was open." }));
    } catch (problem) { sessions.replaceChildren(h("h2", { text: "Sessions" }), failure(problem)); }
  };
  repeat(frame, EVERY, draw);
  repeat(frame, 10000, async () => {
    try {
      const rows = await objects("SELECT sqlstate, message, count, last_seen::text AS last_seen FROM perigee.compat_gaps ORDER BY count DESC LIMIT 50");
      gaps.replaceChildren(h("h2", { text: "Asked for in vain" }), rows.length ? h("div", { class: "scroll" }, h("table", { class: "facts" },
        h("thead", {}, h("tr", {}, ["Code", "What", "Times", "Last"].map(text => h("th", { text, class: text === "Times" && "number" })))),
        h("tbody", {}, rows.map(row => h("tr", {}, h("td", { text: row.sqlstate }), h("td", { text: row.message }), h("td", { class: "number", text: number(row.count) }), h("td", { text: row.last_seen.slice(0, 19) })))))) :
        h("p", { class: "quiet", text: "Clients have asked this node for nothing that it does not have." }));
    } catch (problem) { gaps.replaceChildren(failure(problem)); }
  });
  return frame;
}

const rank = row => ({ active: 0, "idle in transaction": 1, "idle in transaction (aborted)": 1 })[row.state] ?? 2;

function note(row) {
  const key = `${row.pid} ${row.started}`;
  slow.set(key, { ...row, query_ms: Math.max(row.query_ms, slow.get(key)?.query_ms || 0) });
  if (slow.size > 50) slow.delete([...slow].reduce((a, b) => a[1].query_ms < b[1].query_ms ? a : b)[0]);
}

function table(rows, draw) {
  const act = (name, title, pid) => h("button", { type: "button", class: "plain", title, onclick: async event => {
    event.currentTarget.disabled = true;
    await sql(`SELECT ${name}($1)`, { params: [pid] }).catch(problem => alert(problem.message));
    draw();
  }, text: name === "pg_cancel_backend" ? "Cancel" : "End" });
  return h("table", { class: "facts" }, h("thead", {}, h("tr", {}, ["Session", "State", "For", "Statement", ""].map(text => h("th", { text, class: text === "For" && "number" })))),
    h("tbody", {}, rows.map(row => {
      const time = row.state === "active" ? row.query_ms : row.transaction_ms ?? row.query_ms ?? row.session_ms;
      return h("tr", { class: (row.state || "").split(" ")[0] }, h("td", {}, h("strong", { text: `${row.usename || ""} ` }), h("small", { text: [row.pid, row.application_name, row.client_addr, row.datname].filter(Boolean).join(" · ") })),
        h("td", {}, h("span", { class: `chip ${(row.state || "").split(" ")[0]}`, text: row.state || "" }), row.wait_event_type && row.state === "active" && h("small", { text: `waits: ${row.wait_event_type}` })),
        h("td", { class: "number", text: time === null || time === undefined ? "" : duration(Math.max(time, 0)) }), h("td", {}, h("code", { text: cellText(row.query || "").slice(0, 300), title: row.query || "" })),
        h("td", { class: "acts" }, row.state === "active" && act("pg_cancel_backend", "Cancel the statement", row.pid), act("pg_terminate_backend", "End the session", row.pid)));
    })));
}

function slowTable() {
  const rows = [...slow.values()].sort((a, b) => b.query_ms - a.query_ms);
  return h("table", { class: "facts" }, h("thead", {}, h("tr", {}, ["Ran for at least", "Who", "Statement", "Began"].map(text => h("th", { text })))),
    h("tbody", {}, rows.map(row => h("tr", {}, h("td", { class: "number", text: duration(row.query_ms) }), h("td", { text: row.usename || "" }), h("td", {}, h("code", { text: (row.query || "").slice(0, 300) })), h("td", { text: (row.started || "").slice(0, 19) })))));
}
