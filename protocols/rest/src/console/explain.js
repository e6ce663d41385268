// What EXPLAIN says, as a picture: steps as boxes, rows flow upwards, what takes time glows.

import { h, number, s } from "./dom.js";

const WIDE = 216, HIGH = 78, GAP = 26, DOWN = 44;

const NAMES = {
  SortExec: "Sort", ProjectionExec: "Project", AggregateExec: "Aggregate", HashJoinExec: "Hash join", FilterExec: "Filter", TableScan: "Scan",
  DataSourceExec: "Values", NestedLoopJoinExec: "Nested loop", SortMergeJoinExec: "Merge join", RepartitionExec: "Divide", CoalescePartitionsExec: "Gather",
  SortPreservingMergeExec: "Merge", GlobalLimitExec: "Limit", LocalLimitExec: "Limit", UnionExec: "Union", WindowAggExec: "Window", BoundedWindowAggExec: "Window",
  CrossJoinExec: "Cross join", PlaceholderRowExec: "One row", CoalesceBatchesExec: "Batch", InterleaveExec: "Interleave", UnnestExec: "Unnest",
};

/** A step with what was measured of it; steps that only hand on are left out. */
function step(plan) {
  const children = (plan.Plans || []).map(step);
  if (plan["Node Type"] === "CooperativeExec" && children.length === 1) return children[0];
  const details = plan.Details || [], measured = /rows=(\d+)(?: time=([\d.]+) ms)?/.exec(details.find(line => /^rows=/.test(line)) || "");
  const tiers = details.map(line => /^(hot|warm|cold): rows=(\d+)/.exec(line)).filter(Boolean).map(found => `${found[1]} ${number(found[2])}`);
  return {
    type: plan["Node Type"], name: NAMES[plan["Node Type"]] || plan["Node Type"], about: plan.Description || "", details, children, tiers,
    rows: measured ? Number(measured[1]) : null, time: measured && measured[2] ? Number(measured[2]) : null,
  };
}

/** Gives each step its place; a parent stands above the middle of its children. */
function place(node, depth, next) {
  node.depth = depth;
  if (!node.children.length) { node.x = next.x; next.x += WIDE + GAP; } else {
    for (const child of node.children) place(child, depth + 1, next);
    node.x = (node.children[0].x + node.children.at(-1).x) / 2;
  }
  next.depth = Math.max(next.depth, depth);
}

const cut = (text, length) => text.length > length ? text.slice(0, length - 1) + "…" : text;

function subtitle(node) {
  if (node.type === "TableScan") return node.about.split(",")[0];
  const inner = /(?:on|gby|expr|filter)=\[([^\]]*)/.exec(node.about) || /filter=(.*)/.exec(node.about);
  return (inner ? inner[1] : node.about || node.details.find(line => !/^rows=/.test(line)) || "").replace(/@\d+/g, "");
}

export function explain(document) {
  // An array of one document, within the row.
  const plan = Array.isArray(document) ? document.flat(2)[0] : document;
  const root = step(plan.Plan), next = { x: 8, depth: 0 };
  place(root, 0, next);
  const all = [], walk = node => { all.push(node); node.children.forEach(walk); };
  walk(root);
  const width = next.x - GAP + 8, height = (next.depth + 1) * (HIGH + DOWN) - DOWN + 16;
  const slowest = Math.max(...all.map(node => node.time || 0)), most = Math.max(...all.map(node => node.rows || 0), 1);
  const detail = h("pre", { class: "detail", text: "Choose a step to see all that is known of it." });
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "The steps of the plan" });
  const Y = node => 8 + node.depth * (HIGH + DOWN);
  for (const node of all) for (const child of node.children) {
    const x1 = child.x + WIDE / 2, y1 = Y(child), x2 = node.x + WIDE / 2, y2 = Y(node) + HIGH, middle = (y1 + y2) / 2;
    svg.append(s("path", { class: "flow", "stroke-width": 1.5 + 7 * Math.log1p(child.rows || 0) / Math.log1p(most), d: `M${x1},${y1} C${x1},${middle} ${x2},${middle} ${x2},${y2}` }));
    if (child.rows !== null) svg.append(s("text", { class: "axis flowtext", x: (x1 + x2) / 2 + 8, y: middle + 4, text: number(child.rows) }));
  }
  for (const node of all) {
    const share = slowest && node.time !== null ? node.time / slowest : 0;
    const show = () => {
      svg.querySelectorAll(".step").forEach(other => other.classList.toggle("chosen", other === box));
      detail.textContent = [`${node.type}${node.about ? ": " + node.about : ""}`, ...node.details].join("\n");
    };
    const box = s("g", { class: `step heat${Math.ceil(share * 4)}`, transform: `translate(${node.x},${Y(node)})`, tabindex: 0, role: "button", onclick: show,
      onkeydown: event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); show(); } } },
    s("rect", { width: WIDE, height: HIGH, rx: 10 }),
    s("rect", { class: "share", x: 12, y: HIGH - 10, width: Math.max((WIDE - 24) * share, 0.01), height: 3, rx: 1.5 }),
    s("text", { class: "name", x: 12, y: 22, text: cut(node.name, 26) }), s("text", { class: "sub", x: 12, y: 40, text: cut(subtitle(node), 29) }),
    s("text", { class: "sub", x: 12, y: 58, text: cut([node.rows === null ? "" : `${number(node.rows)} rows`, ...node.tiers].filter(Boolean).join(" · "), 30) }),
    s("text", { class: "time", x: WIDE - 12, y: 22, "text-anchor": "end", text: node.time === null ? "" : `${node.time} ms` }), s("title", { text: node.type }));
    svg.append(box);
  }
  const total = [plan["Planning Time"] !== undefined && `planned in ${plan["Planning Time"]} ms`, plan["Execution Time"] !== undefined && `ran in ${plan["Execution Time"]} ms`, plan.Execution].filter(Boolean).join(" · ");
  return h("div", { class: "explain" }, total && h("p", { class: "quiet", text: total }), h("div", { class: "scroll" }, svg), detail);
}
