// Requests to this node. Who asks is a header that this page keeps for its tab; nothing is sent by the browser itself.

const KEPT = "perigee.authorization";

export const session = {
  get authorization() { return sessionStorage.getItem(KEPT); },
  set authorization(value) {
    if (value) sessionStorage.setItem(KEPT, value); else sessionStorage.removeItem(KEPT);
  },
};

/** What the node says is wrong: a problem document, or that it could not be reached. */
export class Problem extends Error {
  constructor(status, document) {
    super(document.detail || document.title || `status ${status}`);
    Object.assign(this, { status, sqlstate: document.sqlstate || "", hint: document.hint, position: document.position, context: document.context });
  }
}

/** JSON whose numbers keep all their digits: one that a double would change stays as its text. */
export const parse = text =>
  JSON.parse(text, (_, value, context) =>
    typeof value === "number" && context && context.source !== undefined && String(value) !== context.source ? context.source : value);

export async function request(method, path, { body, headers = {}, signal } = {}) {
  const all = { ...headers };
  if (session.authorization) all.Authorization = session.authorization;
  if (body !== undefined) all["Content-Type"] = "application/json";
  let response, text;
  try {
    // Without credentials no browser asks for a password by a window of its own.
    response = await fetch(path, { method, headers: all, body: body === undefined ? undefined : JSON.stringify(body), signal, credentials: "omit", cache: "no-store" });
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw new Problem(0, { detail: "cancelled", sqlstate: "57014" });
    throw new Problem(0, { detail: "the node does not answer, or broke its answer off" });
  }
  let document;
  try { document = text ? parse(text) : {}; } catch { throw new Problem(response.status, { detail: `not an answer of a node: ${text.slice(0, 200)}` }); }
  if (response.ok) return document;
  const problem = new Problem(response.status, document);
  if (response.status === 401) dispatchEvent(new CustomEvent("login-needed", { detail: problem }));
  throw problem;
}

/** Runs a statement; rows are arrays in the order of `columns`. */
export const sql = (text, { params, maxRows = 1000, signal, transaction } = {}) =>
  request("POST", "/v1/sql", {
    signal,
    headers: transaction ? { "Perigee-Transaction": transaction } : {},
    body: { sql: text, rows: "arrays", max_rows: maxRows, ...(params ? { params } : {}) },
  });

/** The same as objects by the names of the columns. */
export async function objects(text, options) {
  const { columns, rows } = await sql(text, options);
  return rows.map(row => Object.fromEntries(row.map((value, i) => [columns[i].name, value])));
}

/** An identifier of SQL. */
export const identifier = name => `"${String(name).replaceAll('"', '""')}"`;
