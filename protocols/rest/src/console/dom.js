// Elements, made of text: nothing that comes from the database is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(2).filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

export const h = (name, properties, ...children) => fill(document.createElement(name), properties, children);
export const s = (name, properties, ...children) => fill(document.createElementNS(SVG, name), properties, children);

export const number = value => {
  const text = String(value), [whole, part] = text.split(".");
  return /^-?\d+$/.test(whole) ? whole.replace(/\B(?=(\d{3})+$)/g, "\u202f") + (part ? "." + part : "") : text;
};

export function bytes(count) {
  let value = Number(count), unit = 0;
  while (value >= 1024 && unit < 5) { value /= 1024; unit++; }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${["B", "kB", "MB", "GB", "TB", "PB"][unit]}`;
}

export function duration(ms) {
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 1000) return `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3600000) return `${Math.floor(ms / 60000)} min ${Math.floor(ms / 1000) % 60} s`;
  return `${Math.floor(ms / 3600000)} h ${Math.floor(ms / 60000) % 60} min`;
}

export const cellText = value => value === null || value === undefined ? "NULL" : typeof value === "object" ? JSON.stringify(value) : String(value);

export const failure = problem =>
  h("div", { class: "failure", role: "alert" },
    h("strong", { text: problem.sqlstate ? `Error ${problem.sqlstate}` : "Error" }), h("p", { text: problem.message }),
    problem.context && h("p", { class: "quiet", text: problem.context }), problem.hint && h("p", { class: "quiet", text: `Hint: ${problem.hint}` }));

export const empty = (title, text) => h("div", { class: "empty" }, h("strong", { text: title }), h("p", { text }));

export function download(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = h("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  URL.revokeObjectURL(address);
}

/** Calls again and again while an element is shown; what it gives ends it. */
export function repeat(element, every, work) {
  let timer, ended = false;
  const round = async () => {
    if (!document.hidden) try { await work(); } catch { /* shown by the work itself */ }
    if (!ended && element.isConnected) timer = setTimeout(round, every);
  };
  queueMicrotask(round);
  return () => { ended = true; clearTimeout(timer); };
}
