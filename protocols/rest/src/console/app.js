// The frame: who is logged in, which view is shown, light or dark, keys.

import { Problem, objects, session } from "./api.js";
import { activity } from "./activity.js";
import { cluster } from "./cluster.js";
import { data } from "./data.js";
import { h, repeat, s } from "./dom.js";
import { query } from "./query.js";

const app = document.getElementById("app");
const VIEWS = [["query", "Query", "M4 5h16M4 11h10M4 17h7M17 14l4 3-4 3z"], ["data", "Data", "M4 6c0-4 16-4 16 0v12c0 4-16 4-16 0zM4 6c0 4 16 4 16 0M4 12c0 4 16 4 16 0"],
  ["cluster", "Cluster", "M12 3a3 3 0 1 0 .1 0M5 16a3 3 0 1 0 .1 0M19 16a3 3 0 1 0 .1 0M10.500 8.500 6.500 16M13.500 8.500l4 7.500M8 19h8"], ["activity", "Activity", "M3 12h4l3-8 4 16 3-8h4"]];

function theme(next) {
  if (next) localStorage.setItem("perigee.theme", next);
  const chosen = localStorage.getItem("perigee.theme");
  if (chosen) document.documentElement.dataset.theme = chosen; else delete document.documentElement.dataset.theme;
}
const isDark = () => (localStorage.getItem("perigee.theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

const mark = () => h("img", { src: "icon.svg", alt: "", width: 32, height: 32 });
const icon = path => s("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, s("path", { d: path }));

function login(problem) {
  document.title = "Perigee: log in";
  const user = h("input", { name: "user", autocomplete: "username", placeholder: "postgres", autocapitalize: "off" });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password" });
  const token = h("input", { name: "token", type: "password", autocomplete: "off", placeholder: "token, API key or JSON Web Token" });
  const said = h("p", { class: "said", role: "alert", text: problem && session.authorization ? problem.message : "" });
  const button = h("button", { class: "primary", text: "Log in" });
  const form = h("form", { onsubmit: async event => {
    event.preventDefault();
    button.disabled = true;
    const pair = `${user.value || "postgres"}:${password.value}`;
    // Any character, as UTF-8.
    session.authorization = token.value ? `Bearer ${token.value.trim()}` : `Basic ${btoa(String.fromCharCode(...new TextEncoder().encode(pair)))}`;
    said.textContent = "";
    const refused = await start();
    if (refused) { said.textContent = refused.message; session.authorization = null; button.disabled = false; password.value = ""; password.focus(); }
  } },
  h("div", { class: "brand" }, mark(), h("h1", { text: "Perigee" })), h("label", {}, "User", user), h("label", {}, "Password", password),
  h("p", { class: "or", text: "or" }), h("label", {}, "Token", token), button, said);
  app.replaceChildren(h("main", { class: "login" }, form));
  user.focus();
}

let identity = { user: "", node: "" };

/** Asks who this is; shows the page, or gives why not. */
async function start() {
  try {
    const [row] = await objects("SELECT current_user AS who, version() AS version");
    identity = { user: row.who, version: /Perigee [\d.]+/i.exec(row.version)?.[0] || "" };
  } catch (problem) {
    if (problem.status === 401) return problem;
    // A node without a leader still has a page.
    if (!(problem instanceof Problem)) throw problem;
    identity = { user: "", version: "" };
  }
  frame();
  return null;
}

function frame() {
  const main = h("main", { id: "main", tabindex: -1 }), chip = h("span", { class: "chip node", role: "status" });
  const links = VIEWS.map(([name, text, path], i) => h("a", { href: `#${name}`, title: `${text} (Alt ${i + 1})` }, icon(path), h("span", { text })));
  const shade = h("button", { type: "button", class: "plain", "aria-label": "Light or dark", title: "Light or dark", onclick: () => { theme(isDark() ? "light" : "dark"); shade.textContent = isDark() ? "☀" : "☾"; }, text: isDark() ? "☀" : "☾" });
  const leave = session.authorization && h("button", { type: "button", class: "plain", onclick: () => { session.authorization = null; location.hash = ""; location.reload(); }, text: "Log out" });
  app.replaceChildren(h("header", { class: "top" }, h("a", { class: "brand", href: "#query" }, mark(), h("strong", { text: "Perigee" })), chip, h("span", { class: "fill" }),
    h("span", { class: "who", text: identity.user }), shade, leave), h("nav", { "aria-label": "Views" }, links), main);
  repeat(chip, 4000, async () => {
    try {
      const [status] = await objects("SELECT node, leader, role FROM perigee.raft_status");
      chip.textContent = `${status.leader || status.node} leads`;
      chip.className = "chip node well";
    } catch (problem) {
      chip.textContent = problem.status === 0 ? "the node does not answer" : problem.sqlstate === "57P03" ? "no leader" : "";
      chip.className = "chip node lost";
    }
  });
  const show = () => {
    const [name, part, ...rest] = location.hash.slice(1).split("/");
    const view = { query, data, cluster, activity }[name] || query, place = VIEWS.findIndex(([known]) => known === name);
    links.forEach((link, i) => i === Math.max(place, 0) ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current"));
    document.title = `Perigee: ${VIEWS[Math.max(place, 0)][1]}`;
    main.replaceChildren(view({ part: part || undefined, chosen: decodeURIComponent(rest.join("/")), go: next => { location.hash = next; } }));
  };
  onhashchange = show;
  show();
}

addEventListener("keydown", event => {
  const view = event.altKey && !event.ctrlKey && VIEWS[Number(event.key) - 1];
  if (view) { event.preventDefault(); location.hash = view[0]; }
  else if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName)) {
    const field = document.querySelector("input[type=search], textarea");
    if (field) { event.preventDefault(); field.focus(); }
  }
});
// A token that has run out while the page was open.
addEventListener("login-needed", event => { if (document.querySelector("header.top")) login(event.detail); });

theme();
const refused = await start();
if (refused) login(refused);
