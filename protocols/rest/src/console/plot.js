// Lines, or bars, of a result: drawn by hand as SVG.

import { h, number, s } from "./dom.js";
import { isNumber, isTime } from "./grid.js";

const COLORS = 8, LINES_MAX = 24, POINTS_MAX = 1500;

/** What of a result can be drawn: x is a time or the first number, lines are the other numbers, by each value of a text column. */
export function drawable(columns, rows) {
  if (rows.length < 2) return null;
  const time = columns.findIndex(column => isTime(column.type));
  const numbers = columns.map((column, i) => isNumber(column.type) ? i : -1).filter(i => i >= 0);
  const texts = columns.map((column, i) => /^(text|character|name|uuid|boolean)/.test(column.type) ? i : -1).filter(i => i >= 0);
  let x = time, bars = false;
  if (x < 0 && texts.length === 1 && numbers.length && rows.length <= 60) { x = texts[0]; bars = true; }
  else if (x < 0 && numbers.length > 1) x = numbers[0];
  const ys = numbers.filter(i => i !== x);
  if (x < 0 || !ys.length) return null;
  return { x, ys, bars, by: bars ? -1 : texts[0] ?? -1, time: time >= 0 && x === time };
}

/** A time as milliseconds. What is no time of JavaScript is left out. */
const moment = value => Date.parse(String(value).replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00"));

function lines(columns, rows, { x, ys, by, time }) {
  const all = new Map();
  for (const row of rows) {
    const at = time ? moment(row[x]) : Number(row[x]);
    if (!Number.isFinite(at)) continue;
    for (const y of ys) {
      const value = row[y] === null ? NaN : Number(row[y]);
      const name = by >= 0 ? (ys.length > 1 ? `${row[by]} ${columns[y].name}` : String(row[by])) : columns[y].name;
      if (!all.has(name)) { if (all.size === LINES_MAX) continue; all.set(name, []); }
      if (Number.isFinite(value)) all.get(name).push([at, value]);
    }
  }
  for (const points of all.values()) points.sort((a, b) => a[0] - b[0]);
  return [...all].map(([name, points]) => ({ name, points: thin(points) })).filter(line => line.points.length);
}

/** Of many points the least and the greatest of each stretch. */
function thin(points) {
  if (points.length <= POINTS_MAX) return points;
  const kept = [], each = Math.ceil(points.length / (POINTS_MAX / 2));
  for (let i = 0; i < points.length; i += each) {
    const part = points.slice(i, i + each);
    let low = part[0], high = part[0];
    for (const point of part) { if (point[1] < low[1]) low = point; if (point[1] > high[1]) high = point; }
    kept.push(...(low === high ? [low] : low[0] < high[0] ? [low, high] : [high, low]));
  }
  return kept;
}

function steps(low, high, count) {
  const raw = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(n => n * power).find(n => n >= raw);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) found.push(Math.abs(at) < step / 1e6 ? 0 : at);
  return found;
}

const SPANS = [1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 2592000, 7776000, 31536000].map(n => n * 1000);
function timeSteps(low, high, count) {
  const step = SPANS.find(span => span >= (high - low) / count) || (high - low) / count || 1, found = [];
  for (let at = Math.ceil(low / step) * step; at <= high; at += step) found.push(at);
  return found;
}

const timeText = (at, span) => {
  const text = new Date(at).toISOString();
  return span > 3 * 86400000 ? text.slice(0, 10) : span > 180000 ? `${text.slice(5, 10)} ${text.slice(11, 16)}` : text.slice(11, 19);
};
const short = value => Math.abs(value) >= 1e6 || (value && Math.abs(value) < 1e-3) ? value.toExponential(2) : number(Number(value.toPrecision(6)));

export function plot(columns, rows, what = drawable(columns, rows)) {
  const frame = h("div", { class: "plot" }), tip = h("div", { class: "tip", hidden: true }), legend = h("div", { class: "legend" });
  const picture = h("div", { class: "picture" });
  frame.append(picture, tip, legend);
  if (what.bars) {
    legend.append(...what.ys.map((y, j) => h("span", {}, h("i", { class: `c${j % COLORS}` }), columns[y].name)));
    new ResizeObserver(() => picture.replaceChildren(bars(columns, rows, what, Math.max(frame.clientWidth - 26, 260)))).observe(frame);
    return frame;
  }
  const all = lines(columns, rows, what), hidden = new Set();
  if (!all.length) { frame.append(h("p", { class: "quiet", text: "There is nothing to draw." })); return frame; }
  const draw = () => {
    const width = Math.max(frame.clientWidth, 280), height = Math.min(420, Math.max(220, width * 0.45));
    picture.replaceChildren(chart(all.filter(line => !hidden.has(line.name)), all, what.time, width, height, tip));
  };
  legend.append(...all.map((line, i) => h("button", {
    type: "button", "aria-pressed": "true",
    onclick: event => {
      if (!hidden.delete(line.name)) hidden.add(line.name);
      event.currentTarget.setAttribute("aria-pressed", String(!hidden.has(line.name)));
      draw();
    },
  }, h("i", { class: `c${i % COLORS}` }), line.name)));
  new ResizeObserver(draw).observe(frame);
  return frame;
}

function chart(shown, all, time, width, height, tip) {
  const left = 62, right = width - 14, top = 12, bottom = height - 28;
  const points = (shown.length ? shown : all).flatMap(line => line.points);
  let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const [x, y] of points) { x0 = Math.min(x0, x); x1 = Math.max(x1, x); y0 = Math.min(y0, y); y1 = Math.max(y1, y); }
  if (x0 === x1) { x0 -= 1; x1 += 1; }
  const room = (y1 - y0) * 0.06 || Math.abs(y1) * 0.1 || 1;
  y0 = y0 >= 0 && y0 < (y1 - y0) * 0.5 ? 0 : y0 - room;
  y1 += room;
  const X = x => left + (x - x0) / (x1 - x0) * (right - left), Y = y => bottom - (y - y0) / (y1 - y0) * (bottom - top);
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${shown.length} lines` });
  for (const y of steps(y0, y1, 5)) svg.append(s("line", { class: "rule", x1: left, x2: right, y1: Y(y), y2: Y(y) }), s("text", { class: "axis", x: left - 8, y: Y(y) + 4, "text-anchor": "end", text: short(y) }));
  const marks = Math.max(2, Math.floor(width / 130));
  for (const x of time ? timeSteps(x0, x1, marks) : steps(x0, x1, marks)) svg.append(s("text", { class: "axis", x: X(x), y: height - 8, "text-anchor": "middle", text: time ? timeText(x, x1 - x0) : short(x) }));
  for (const line of shown) {
    const color = `c${all.indexOf(line) % COLORS}`;
    svg.append(s("polyline", { class: `line ${color}`, points: line.points.map(([x, y]) => `${X(x).toFixed(1)},${Y(y).toFixed(1)}`).join(" ") }));
    if (line.points.length <= 60) svg.append(...line.points.map(([x, y]) => s("circle", { class: `dot ${color}`, cx: X(x), cy: Y(y), r: 2.5 })));
  }
  const cross = s("line", { class: "cross", y1: top, y2: bottom, visibility: "hidden" });
  svg.append(cross);
  const leave = () => { tip.hidden = true; cross.setAttribute("visibility", "hidden"); };
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("pointermove", event => {
    const at = x0 + (event.offsetX * (width / svg.clientWidth || 1) - left) / (right - left) * (x1 - x0);
    if (!shown.length || at < x0 || at > x1) return leave();
    const near = shown.map(line => [line, line.points.reduce((a, b) => Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a)]);
    const x = near.reduce((a, b) => Math.abs(b[1][0] - at) < Math.abs(a[1][0] - at) ? b : a)[1][0];
    cross.setAttribute("x1", X(x));
    cross.setAttribute("x2", X(x));
    cross.setAttribute("visibility", "visible");
    tip.replaceChildren(h("strong", { text: time ? new Date(x).toISOString().replace("T", " ").replace(".000Z", "Z") : short(x) }),
      ...near.slice(0, 12).map(([line, point]) => h("div", {}, h("i", { class: `c${all.indexOf(line) % COLORS}` }), `${line.name}: ${short(point[1])}`)));
    tip.hidden = false;
    tip.style.left = `${Math.min(X(x) + 12, width - tip.offsetWidth - 4)}px`;
    tip.style.top = "16px";
  });
  return svg;
}

function bars(columns, rows, { x, ys }, width) {
  const values = rows.map(row => ys.map(y => Number(row[y]) || 0)), high = Math.max(...values.flat(), 0) || 1;
  const longest = Math.min(Math.max(...rows.map(row => String(row[x]).length)), 24);
  const each = 14 * ys.length + 12, height = rows.length * each + 8, left = Math.min(longest * 7 + 16, width * 0.4);
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "Bars" });
  rows.forEach((row, i) => {
    const name = String(row[x]);
    svg.append(s("text", { class: "axis", x: left - 8, y: i * each + each / 2 + 4, "text-anchor": "end", text: name.length > 24 ? name.slice(0, 23) + "…" : name }));
    values[i].forEach((value, j) => {
      const y = i * each + 6 + j * 14, size = Math.max(value / high * (width - left - 80), 1);
      svg.append(s("rect", { class: `bar c${j % COLORS}`, x: left, y, width: size, height: 11, rx: 3 }), s("text", { class: "axis", x: left + size + 6, y: y + 9.5, text: short(value) }));
    });
  });
  return svg;
}

/** A small line without axes. */
export function spark(values, width = 180, height = 36) {
  const high = Math.max(...values, 1e-9), X = i => i / Math.max(values.length - 1, 1) * width, Y = v => height - 2 - v / high * (height - 4);
  const path = values.map((v, i) => `${X(i).toFixed(1)},${Y(v).toFixed(1)}`).join(" ");
  return s("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", preserveAspectRatio: "none" },
    s("polygon", { class: "area", points: `0,${height} ${path} ${width},${height}` }), s("polyline", { class: "line c0", points: path }));
}
