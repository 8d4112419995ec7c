// Uses the operators' page in a real Chromium: each view at three widths, light and dark, held against axe-core; a bulk
// retry with the keyboard alone; updates; and the page without JavaScript.
//
//   node browser.cjs CHROMIUM PAGE PICTURES
//
// PICTURES is a directory for the screenshots; empty: none are written. Tokens and intents stand in the environment.
"use strict";

const assert = require("node:assert/strict");
const path = require("node:path");
const { chromium } = require("playwright-core");
const axe = require("axe-core");

const [executablePath, root, pictures] = process.argv.slice(2);
const { ONCALL, SUPPORT, EXHAUSTED, PARKED, DOUBT } = process.env;
const origin = new URL(root).origin;
const patience = 30_000;

const views = {
  overview: "/", intents: "/intents", found: "/intents?status=dead&kind=charge", waiting: "/intents?status=waiting&kind=sms",
  exhausted: EXHAUSTED, parked: PARKED, doubt: DOUBT, dead: "/dead", plan: "/dead/plan?op=retry&kind=charge&reason=exhausted&code=unavailable",
  jobs: "/jobs", lanes: "/lanes", rates: "/rates?kind=charge", workers: "/workers", audit: "/audit", doctor: "/doctor", missing: "/nothing",
};

// session signs in with the keyboard, and returns a window that is watched.
async function session(browser, options, token = ONCALL) {
  const context = await browser.newContext({ locale: "en-GB", timezoneId: "Europe/Berlin", serviceWorkers: "block", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  await page.goto(root + "/");
  await page.keyboard.press("Tab");
  await page.keyboard.type(token);
  await page.keyboard.press("Enter");
  await page.locator("h1").filter({ hasText: "Overview" }).waitFor();
  page.problems = [];
  page.on("console", (m) => {
    const expected = m.text().includes("status of 404") || m.text().includes("status of 422") || m.text().includes("status of 403");
    if (["error", "warning"].includes(m.type()) && !expected) page.problems.push(m.text());
  });
  page.on("pageerror", (e) => page.problems.push(String(e)));
  page.on("request", (r) => { if (!r.url().startsWith(origin) && !r.url().startsWith("data:")) page.problems.push("asked for " + r.url()); });
  return page;
}

async function close(page) {
  assert.deepEqual(page.problems, [], "what the page must not do");
  await page.context().close();
}

const failures = [];
async function examine(page, what) {
  await page.evaluate(axe.source);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  assert.ok(found.passes.length > 10, "axe-core applied nearly no rule to " + what);
  for (const v of found.violations) failures.push(what + ": " + v.id + ": " + v.help + "\n  " + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 300) + "\n    " + n.failureSummary).join("\n  "));
  const overhang = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth);
  if (overhang > 0) failures.push(what + " is " + overhang + " px wider than the window");
}

async function picture(page, name) {
  if (pictures) await page.screenshot({ path: path.join(pictures, name + ".png"), fullPage: true });
}

async function look(browser) {
  for (const colorScheme of ["light", "dark"]) {
    const page = await session(browser, { viewport: { width: 1280, height: 900 }, colorScheme });
    for (const width of [360, 1280, 2560]) {
      await page.setViewportSize({ width, height: width === 360 ? 780 : 1000 });
      for (const [name, address] of Object.entries(views)) {
        await page.goto(root + address + (address.includes("?") ? "&" : "?") + "live=off");
        const what = name + "-" + width + "-" + colorScheme;
        await page.evaluate(() => { for (const d of document.querySelectorAll("details.do")) d.open = true; });
        await examine(page, what);
        await picture(page, what);
      }
    }
    await close(page);
  }
  const page = await session(browser, { viewport: { width: 1280, height: 900 }, forcedColors: "active" });
  for (const name of ["overview", "parked", "rates"]) {
    await page.goto(root + views[name]);
    await examine(page, name + "-forced");
    await picture(page, name + "-forced");
  }
  await close(page);
}

// reach presses Tab until the element has the focus, which must be visible wherever it stops.
async function reach(page, selector) {
  for (let i = 0; i < 120; i++) {
    const [there, seen] = await page.evaluate((s) => {
      const at = document.activeElement;
      return [at.matches(s), at === document.body || getComputedStyle(at).outlineStyle !== "none"];
    }, selector);
    assert.ok(seen, "the focus cannot be seen on the way to " + selector);
    if (there) return;
    await page.keyboard.press("Tab");
  }
  assert.fail("Tab does not reach " + selector);
}

const shows = (page, selector, text) => page.locator(selector).filter({ hasText: text }).first().waitFor();

// The retry of a group from the overview on, without a mouse. The job's page follows its progress by itself.
async function retry(browser) {
  const page = await session(browser, { viewport: { width: 1280, height: 900 } });
  await page.keyboard.press("g");
  await page.keyboard.press("d");
  await shows(page, "h1", "Dead letters");
  await reach(page, "a[data-plan][href*='kind=charge']");
  await page.keyboard.press("Enter");
  await shows(page, "h1", "Plan a retry");
  await reach(page, "#why");
  await page.keyboard.type("Stripe works again");
  await reach(page, "#rate");
  await page.keyboard.type("50");
  await page.keyboard.press("Enter");
  await shows(page, "#live", "40 charges: 1,680.00 EUR");
  await shows(page, "[role=status]", "Nothing has been changed yet");
  await examine(page, "a job that is planned");
  await picture(page, "job-planned");
  await page.evaluate(() => { globalThis.stays = true; });
  await reach(page, "#start");
  await page.keyboard.press("Enter");
  await shows(page, "#live .status", /running|done/);
  await page.evaluate(() => { globalThis.stays = true; });
  await shows(page, "#live .status", "done");
  await shows(page, ".bar", "40 of 40 retried");
  assert.ok(await page.evaluate(() => globalThis.stays), "the page was loaded again instead of updated");
  await shows(page, "#announce", "done");
  await examine(page, "a job that is done");
  await picture(page, "job-done");
  await close(page);
}

// What somebody else changes is on the screen by itself; while somebody types there, it waits.
async function live(browser) {
  const page = await session(browser, { viewport: { width: 1280, height: 900 } });
  const other = await session(browser, { viewport: { width: 1280, height: 900 }, javaScriptEnabled: false });
  await page.evaluate(() => { globalThis.stays = true; });
  await other.goto(root + "/lanes?kind=charge");
  await other.locator("#why").fill("a look at the night");
  await other.locator("button[value=pause]").click();
  await shows(other, "[role=status]", "paused on every worker");
  await shows(page, ".card.paused", "a look at the night");
  assert.ok(await page.evaluate(() => globalThis.stays), "the page was loaded again instead of updated");
  const local = await page.locator("#live time").first().evaluate((t) => [t.textContent, t.title]);
  assert.match(local[1], /UTC$/);
  assert.doesNotMatch(local[0], /UTC/);
  await picture(page, "overview-paused");
  await other.goto(root + "/lanes?kind=charge");
  await other.locator("#why").fill("seen");
  await other.locator("button[value=resume]").click();
  await shows(other, "[role=status]", "The lane is open");
  await close(other);
  assert.deepEqual(page.problems, [], "what the page must not do");
  await page.context().setOffline(true);
  await page.locator("[data-lost]").waitFor();
  await page.context().setOffline(false);
  await page.locator("[data-lost]").waitFor({ state: "hidden" });
  await page.context().clearCookies(); // a session that has ended leads to the sign-in, and not into the view
  await page.locator("input[name=token]").waitFor();
  await page.context().close();
}

// Forms without JavaScript: what is refused is said, a payload is revealed with a reason, an answer is given.
async function plain(browser) {
  const page = await session(browser, { viewport: { width: 1280, height: 900 }, javaScriptEnabled: false });
  await page.goto(root + PARKED);
  assert.ok(!(await page.content()).includes("4711"), "a payload is shown unmasked");
  await page.locator("summary", { hasText: "Reveal" }).click();
  await page.locator("#why-reveal").fill("a customer asks");
  await page.locator("form[action$=reveal] button").click();
  await shows(page, "pre", "code 4711");
  await picture(page, "revealed");
  await page.goto(root + PARKED);
  await page.locator("summary", { hasText: "Say whether" }).click();
  await page.locator("input[value=yes]").check();
  await page.locator("#why-resolve").fill("it is in the log");
  await page.locator("form[action$=resolve] button").click();
  await shows(page, "[role=alert]", "needs the provider's reference");
  await picture(page, "refused");
  await page.locator("input[value=yes]").check();
  await page.locator("#evidence").fill("SM31");
  await page.locator("#why-resolve").fill("it is in the log");
  await page.locator("form[action$=resolve] button").click();
  await shows(page, "[role=status]", "Your answer is recorded");
  await close(page);
}

// Who may only read sees why, on every button.
async function reader(browser) {
  const page = await session(browser, { viewport: { width: 1280, height: 900 } }, SUPPORT);
  await page.goto(root + EXHAUSTED);
  await shows(page, ".do.off", "takes the role operate");
  assert.equal(await page.locator("form[method=post]:not([action$=logout])").count(), 0);
  await examine(page, "an intent for who may only read");
  await picture(page, "reader");
  await close(page);
}

// Keys lead around, and leave fields alone.
async function keys(browser) {
  const page = await session(browser, { viewport: { width: 1280, height: 900 } });
  await page.keyboard.press("/");
  await page.keyboard.type("gd?");
  assert.equal(await page.locator("#q").inputValue(), "gd?");
  await page.goto(root + views.found);
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  assert.equal(await page.locator("input[name=letter]:checked").count(), 1);
  await page.keyboard.press("?");
  await page.locator("#help[open]").waitFor();
  await examine(page, "the list of keys");
  await page.locator("#keys-off").check();
  await page.keyboard.press("Escape");
  await page.keyboard.press("g");
  await page.keyboard.press("l");
  assert.equal(await page.locator("h1").textContent(), "Intents");
  await close(page);
}

(async () => {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-background-networking"] });
  try {
    for (const act of [look, keys, reader, live, retry, plain]) {
      await act(browser).catch((e) => { throw new Error(act.name + ": " + (e.stack || e)); });
    }
  } finally {
    await browser.close();
  }
  assert.deepEqual(failures, [], "axe-core and widths");
})().catch((e) => { console.error(e.message, failures.join("\n")); process.exit(1); });
