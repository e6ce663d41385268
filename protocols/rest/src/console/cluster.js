// Members, log and tiers as live pictures.

import { objects } from "./api.js";
import { bytes, duration, empty, failure, h, number, repeat, s } from "./dom.js";
import { spark } from "./plot.js";
import { tierBar } from "./data.js";

const EVERY = 1500, LOST_MS = 3000, KEPT = 60;

export function cluster() {
  const notice = h("div"), members = h("div", { class: "card members" }), log = h("div", { class: "card log" }), tiers = h("div", { class: "card tierscard" });
  const frame = h("section", { class: "cluster", "aria-label": "Cluster" }, notice, h("div", { class: "cards" }, members, log), tiers);
  const past = [];
  repeat(frame, EVERY, async () => {
    let status, nodes;
    try {
      [status] = await objects("SELECT * FROM perigee.raft_status");
      nodes = await objects("SELECT * FROM perigee.cluster_nodes ORDER BY name");
      notice.replaceChildren();
      frame.classList.remove("stale");
    } catch (problem) {
      // What was seen last stays, and looks as old as it is.
      const lost = problem.sqlstate === "57P03" ? "No leader takes statements." : "The node does not say how it is.";
      notice.replaceChildren(h("div", { class: "warning", role: "status" }, h("strong", { text: lost }), ` Below is what was seen last. ${problem.message}`));
      frame.classList.add("stale");
      return;
    }
    if (!status) { notice.replaceChildren(empty("Nothing is known", "This node has said nothing of its cluster.")); return; }
    past.push({ at: performance.now(), committed: Number(status.committed_index) });
    if (past.length > KEPT) past.shift();
    members.replaceChildren(h("h2", { text: "Members" }), ring(status, nodes), table(status, nodes));
    log.replaceChildren(h("h2", { text: "Log" }), ...logPicture(status, past));
  });
  repeat(frame, 5000, async () => {
    try {
      const rows = await objects("SELECT schema_name, table_name, tier, rows, bytes, files FROM perigee.tiers", { maxRows: 5000 });
      tiers.replaceChildren(h("h2", { text: "Tiers" }), ...tierPictures(rows));
    } catch (problem) { tiers.replaceChildren(h("h2", { text: "Tiers" }), failure(problem)); }
  });
  return frame;
}

/** How a member is: only the leader knows when each has answered. */
const state = node => node.answered_ms === null || node.answered_ms === undefined ? "unknown" : Number(node.answered_ms) > LOST_MS ? "lost" : "well";

function ring(status, nodes) {
  const width = 420, height = nodes.length > 1 ? 300 : 170, cx = width / 2, cy = height / 2, radius = nodes.length > 1 ? 100 : 0;
  const svg = s("svg", { class: "ring", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${nodes.length} members` });
  const spots = nodes.map((node, i) => {
    const angle = -Math.PI / 2 + i / nodes.length * 2 * Math.PI;
    return { node, x: cx + Math.cos(angle) * radius * 1.35, y: cy + Math.sin(angle) * radius, how: nodes.length === 1 ? "well" : state(node) };
  });
  const leader = spots.find(spot => spot.node.leader);
  if (leader) for (const spot of spots.filter(spot => spot !== leader)) {
    const behind = Math.max(Number(status.last_index) - Number(spot.node.matched_index || 0), 0);
    svg.append(s("line", { class: `link ${spot.how}`, x1: leader.x, y1: leader.y, x2: spot.x, y2: spot.y }));
    svg.append(s("text", { class: "axis", x: (leader.x + spot.x) / 2, y: (leader.y + spot.y) / 2 - 8, "text-anchor": "middle", text: spot.how === "lost" ? `${number(behind)} behind` : behind ? `−${number(behind)}` : "" }));
  }
  for (const { node, x, y, how } of spots) {
    const role = node.leader ? "leader" : node.voter ? "voter" : "learner";
    svg.append(s("g", { class: `node ${how} ${role}`, transform: `translate(${x},${y})` },
      s("circle", { class: "halo", r: 38 }), s("circle", { class: "body", r: 30 }), s("text", { class: "name", y: 5, "text-anchor": "middle", text: node.name.length > 8 ? node.name.slice(-8) : node.name }),
      s("text", { class: "axis", y: 54, "text-anchor": "middle", text: how === "lost" ? "does not answer" : role }), s("title", { text: `${node.name} at ${node.address}` })));
  }
  return svg;
}

function table(status, nodes) {
  return h("div", { class: "scroll" }, h("table", { class: "facts" }, h("thead", {}, h("tr", {}, ["Member", "Role", "Holds entry", "Answered"].map((text, i) => h("th", { text, class: i > 1 && "number" })))),
    h("tbody", {}, nodes.map(node => h("tr", { class: nodes.length > 1 ? state(node) : "well" },
      h("td", {}, h("strong", { text: node.name }), h("small", { text: node.address || "alone" })), h("td", { text: node.leader ? "leader" : node.voter ? "voter" : "learner" }),
      h("td", { class: "number", text: node.matched_index === null ? "" : number(node.matched_index) }),
      h("td", { class: "number", text: nodes.length === 1 ? "" : node.answered_ms === null ? "not known" : `${duration(Number(node.answered_ms))} ago` }))))),
  h("p", { class: "quiet", text: `Term ${status.term}, ${status.voters} ${Number(status.voters) === 1 ? "voter" : "voters"}. Seen from ${status.node}.` }));
}

function logPicture(status, past) {
  const first = Number(status.first_index), last = Math.max(Number(status.last_index), first), width = 620, X = index => 10 + (Math.max(index, first) - first) / Math.max(last - first, 1) * (width - 20);
  const svg = s("svg", { class: "logbar", viewBox: `0 0 ${width} 96`, role: "img", "aria-label": "The log from its first entry to its last" });
  svg.append(s("rect", { class: "whole", x: 10, y: 30, width: width - 20, height: 22, rx: 6 }),
    s("rect", { class: "kept", x: 10, y: 30, width: Math.max(X(Number(status.checkpoint_index)) - 10, 0.1), height: 22, rx: 6 }));
  const marks = [["checkpoint", "checkpoint_index", 20], ["committed", "committed_index", 20], ["applied", "applied_index", 72], ["synced", "synced_index", 91]];
  for (const [name, column, y] of marks) {
    const x = X(Number(status[column])), end = x > width * 0.7;
    svg.append(s("line", { class: `mark ${name}`, x1: x, x2: x, y1: y < 40 ? 24 : 30, y2: y < 40 ? 56 : 62 }));
    if (name === "checkpoint" && X(Number(status.committed_index)) - x < 150) continue;
    svg.append(s("text", { class: "axis", x: end ? x - 3 : x + 3, y, "text-anchor": end ? "end" : "start", text: `${name} ${number(status[column])}` }));
  }
  const rates = past.slice(1).map((one, i) => Math.max(one.committed - past[i].committed, 0) / ((one.at - past[i].at) / 1000));
  const facts = [["Entries", `${number(first)} to ${number(last)}`], ["On disk", bytes(status.log_bytes)], ["Behind the checkpoint", number(Math.max(last - Number(status.checkpoint_index), 0))],
    ["Now", rates.length ? `${number(Math.round(rates.at(-1)))} entries/s` : "…"]];
  return [svg, h("dl", { class: "facts" }, facts.flatMap(([name, text]) => [h("dt", { text: name }), h("dd", { text })])), rates.length > 1 ? spark(rates, 620, 64) : ""];
}

function tierPictures(rows) {
  if (!rows.length) return [empty("No tables yet", "What tables hold in memory, in the LSM and in the object store shows here.")];
  const by = new Map(), sums = { hot: 0, warm: 0, cold: 0 }, counts = { hot: 0, warm: 0, cold: 0 };
  for (const row of rows) {
    const name = row.schema_name === "public" ? row.table_name : `${row.schema_name}.${row.table_name}`;
    by.set(name, [...by.get(name) || [], row]);
    sums[row.tier] += Number(row.bytes);
    counts[row.tier] += Number(row.rows);
  }
  const size = list => list.reduce((sum, tier) => sum + Number(tier.bytes), 0);
  const largest = [...by].sort((a, b) => size(b[1]) - size(a[1])).slice(0, 12);
  const about = { hot: "in memory", warm: "in the LSM on disk", cold: "as Parquet in the object store" };
  return [h("div", { class: "sums" }, Object.keys(sums).map(tier => h("div", { class: `sum ${tier}` }, h("small", { text: `${tier}, ${about[tier]}` }), h("strong", { text: bytes(sums[tier]) }), h("span", { text: `${number(counts[tier])} rows` })))),
    ...largest.map(([name, list]) => h("div", { class: "tableline" }, h("h3", { text: name }), tierBar(list)))];
}
