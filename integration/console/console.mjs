// Drives the console as a person would, and judges what is seen. See `run`.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { chromium } from "playwright-core";

const { BASE, PICTURES, PROFILE, WISHES, DONE, VICTIM, CHROMIUM } = process.env;
const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const context = await chromium.launchPersistentContext(PROFILE, { executablePath: CHROMIUM, args: flags, viewport: { width: 1280, height: 820 }, colorScheme: "light" });
context.setDefaultTimeout(30000);
const page = context.pages()[0] || await context.newPage();

// Nothing is asked of any other address, nothing is refused by the page's own policy, and no script fails.
const faults = [];
let quiet = false;
page.on("request", request => { if (!request.url().startsWith(BASE) && !request.url().startsWith("blob:" + BASE)) faults.push(`asked ${request.url()}`); });
page.on("pageerror", error => faults.push(`script: ${error.message}`));
// A refused login, and a wrong statement, are lines of the browser's console.
page.on("console", message => { if (message.type() === "error" && !quiet && !/status of 4\d\d/.test(message.text())) faults.push(`console: ${message.text()}`); });
page.on("dialog", dialog => { faults.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });

const picture = name => page.screenshot({ path: `${PICTURES}/${name}.png` });
const step = name => console.log(`  ${name}`);
const button = name => page.getByRole("button", { name, exact: true });
const tab = name => page.getByRole("tab", { name, exact: true });

const idle = () => page.locator(".output:not(.busy)").waitFor();
async function run(text) {
  await idle();
  await page.getByLabel("SQL").fill(text);
  await page.keyboard.press("Control+Enter");
  await idle();
}
/** Asks the script around for something, and waits until it is done. */
function wish(what) {
  writeFileSync(WISHES, what + "\n");
  assert.equal(readFileSync(DONE, "utf8").trim(), what);
}
// The script reads until nobody writes: one end stays open.
const { openSync } = await import("node:fs");
openSync(WISHES, "w");

step("logs in");
const response = await page.goto(`${BASE}/`);
assert.equal(new URL(page.url()).pathname, "/console/");
const policy = response.headers()["content-security-policy"];
assert.ok(policy.includes("default-src 'none'") && !policy.includes("unsafe"), policy);
await page.getByLabel("Password").waitFor();
await picture("login");
await page.getByLabel("User").fill("postgres");
await page.getByLabel("Password").fill("wrong");
await button("Log in").click();
await page.locator(".said:not(:empty)").waitFor();
assert.equal(await page.evaluate(() => sessionStorage.getItem("perigee.authorization")), null);
await page.getByLabel("Password").fill("it's a ßecret");
await page.keyboard.press("Enter");
await page.locator("header.top .who", { hasText: "postgres" }).waitFor();
await page.locator(".chip.node", { hasText: "leads" }).waitFor();

step("makes a table, and inserts");
await run("CREATE TABLE readings (device text, at timestamptz, celsius double precision, note text, big numeric, PRIMARY KEY (device, at));");
await page.getByText("CREATE TABLE", { exact: true }).waitFor();
await run(`INSERT INTO readings SELECT 'boiler ' || (i % 3), timestamptz '2026-01-01' + i * interval '1 minute', 40 + 12 * sin(i::float8 / 90) + (i % 3) * 3
FROM generate_series(1, 1200) i`);
await page.getByText("INSERT 0 1200", { exact: true }).waitFor();

step("reads values as they are, and none as markup");
const markup = `<img src=x onerror="document.title='taken'"><script>document.title='taken'</script>`;
await run(`SELECT 9007199254740993::bigint AS big, 1.10::numeric AS scale, NULL::text AS nothing, '${markup.replaceAll("'", "''")}' AS "<b>markup</b>"`);
const cells = await page.locator(".grid tbody tr").first().locator("td").allTextContents();
assert.deepEqual(cells, ["9007199254740993", "1.10", "NULL", markup]);
assert.equal(await page.locator(".output img, .output script, .output b").count(), 0);
assert.ok(!(await page.title()).includes("taken"));

step("sees errors where they are");
await run("SELECT device,\n  nothing\nFROM readings");
await page.locator(".failure", { hasText: "42703" }).waitFor();
assert.equal(await page.getByLabel("SQL").evaluate(area => area.value.slice(area.selectionStart, area.selectionEnd)), "nothing");

step("plots a series");
await run("SELECT device, at, celsius FROM readings ORDER BY at");
await page.locator(".tabline .quiet", { hasText: "more" }).waitFor();
assert.equal(await page.locator(".grid tbody tr").count() >= 200, true);
await picture("table");
await tab("Plot").click();
assert.equal(await page.locator(".plot polyline.line").count(), 3);
await page.mouse.move(700, 560);
await page.locator(".tip", { hasText: "boiler 1" }).waitFor();
await picture("plot");
const hidden = page.locator(".legend button", { hasText: "boiler 2" });
await hidden.click();
assert.equal(await page.locator(".plot polyline.line").count(), 2);

step("looks at plans");
await page.getByLabel("SQL").fill("SELECT device, avg(celsius) FROM readings WHERE at > '2026-01-01 06:00' GROUP BY device ORDER BY 2");
await button("Explain with times").click();
await page.locator(".explain .step").first().waitFor();
assert.ok((await page.locator(".step .time").allTextContents()).some(text => text.endsWith(" ms")));
await page.locator(".step", { hasText: "Scan" }).press("Enter");
await page.locator(".detail", { hasText: "TableScan: readings" }).waitFor();
await picture("explain");
// What would write is not run for its times.
await page.getByLabel("SQL").fill("DELETE FROM readings");
await button("Explain with times").click();
await idle();
await run("SELECT count(*) FROM readings");
assert.equal(await page.locator(".grid td").first().textContent(), "1200");

step("recalls a statement");
await page.getByLabel("SQL").focus();
await page.keyboard.press("Control+ArrowUp");
await page.keyboard.press("Control+ArrowUp");
assert.equal(await page.getByLabel("SQL").inputValue(), "DELETE FROM readings");

step("browses tables, keys and series");
await run("INSERT INTO redis.strings (key, value) VALUES ('greeting', '<i>hello</i>'); INSERT INTO redis.hashes (key, field, value) VALUES ('stock', 'pump', '10'), ('stock', 'valve', '3'); " +
  "INSERT INTO redis.samples (key, ts, value) SELECT 'room:1', timestamptz '2026-01-01' + i * interval '1 minute', 20 + i % 7 FROM generate_series(1, 300) i");
await page.keyboard.press("Alt+2");
await page.locator(".list button", { hasText: "readings" }).click();
await page.locator(".pane h2", { hasText: "readings" }).waitFor();
await page.locator(".pane .grid").waitFor();
await page.locator(".tiers .legend", { hasText: "1\u202f200 rows" }).waitFor();
await page.getByRole("button", { name: "Page behind" }).click();
await page.getByText("rows 101 to 200").waitFor();
await picture("data");
await tab("Columns").click();
await page.locator(".grid td", { hasText: "timestamp with time zone" }).first().waitFor();
await tab("Keys").click();
await page.locator(".list button", { hasText: "greeting" }).click();
assert.equal(await page.locator(".pane pre").textContent(), "<i>hello</i>");
await page.getByRole("searchbox").fill("sto");
await page.locator(".list button", { hasText: "stock" }).click();
await page.locator(".pane td", { hasText: "valve" }).waitFor();
await tab("Series").click();
await page.locator(".list button", { hasText: "room:1" }).click();
await page.locator(".plot polyline.line").waitFor();
await picture("series");

step("watches a node die and return");
await page.keyboard.press("Alt+3");
await page.locator(".ring .node").nth(2).waitFor();
assert.equal(await page.locator(".ring .node.lost").count(), 0);
await page.locator(".sums .sum.hot strong").waitFor();
await picture("cluster");
wish("kill");
await page.locator(".ring .node.lost", { hasText: VICTIM }).waitFor();
await page.locator("tr.lost", { hasText: VICTIM }).waitFor();
await picture("cluster-lost");
wish("return");
await page.locator(".ring .node.well", { hasText: VICTIM }).waitFor({ timeout: 120000 });
await picture("cluster-back");

step("sees who does what, and ends it");
await page.keyboard.press("Alt+4");
await page.getByRole("heading", { name: "Sessions" }).waitFor();
const held = page.evaluate(() => fetch("/v1/sql", { method: "POST", credentials: "omit", body: JSON.stringify({ sql: "SELECT pg_sleep(600)" }),
  headers: { "Content-Type": "application/json", Authorization: sessionStorage.getItem("perigee.authorization") } }).then(response => response.json()));
const row = page.locator("tr.active", { hasText: "pg_sleep(600)" });
await row.waitFor();
await page.locator(".card", { hasText: "Slow statements" }).locator("tr", { hasText: "pg_sleep(600)" }).waitFor();
await picture("activity");
await row.getByRole("button", { name: "Cancel" }).click();
assert.equal((await held).sqlstate, "57014");

step("in the dark, and on a phone");
await button("Light or dark").click();
await page.keyboard.press("Alt+1");
await run("SELECT device, avg(celsius) AS average, max(celsius) AS highest FROM readings GROUP BY device ORDER BY 1");
await tab("Plot").click();
await page.locator("rect.bar").first().waitFor();
await picture("dark");
await page.setViewportSize({ width: 390, height: 780 });
await picture("phone");
await page.locator("nav a", { hasText: "Cluster" }).click();
await page.locator(".ring .node").nth(2).waitFor();
await picture("phone-cluster");
const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
assert.ok(overflow <= 0, `the page is ${overflow} pixels too wide for a phone`);

step("stays logged in over a reload, and logs out");
await page.reload();
await page.locator("header.top .who", { hasText: "postgres" }).waitFor();
await button("Log out").click();
await page.getByLabel("Password").waitFor();
assert.equal(await page.evaluate(() => sessionStorage.getItem("perigee.authorization")), null);

step("reads with a token that only reads");
await page.getByLabel("Token").fill("a-token-that-only-reads");
await page.keyboard.press("Enter");
await page.locator("header.top").waitFor();
await page.locator("nav a", { hasText: "Query" }).click();
await run("SELECT count(*) FROM readings");
assert.equal(await page.locator(".grid td").first().textContent(), "1200");
await run("DELETE FROM readings");
await page.locator(".failure").waitFor();

quiet = true;
await context.close();
assert.deepEqual(faults, []);
process.exit(0);
