// Uses the shop and reads the API's page in a real Chromium, with the keyboard alone, and examines both with axe-core.
//
//   node pages.cjs CHROMIUM SHOP PROXY CANARY PICTURES
//
// Everything that is not on loopback goes to PROXY, which lets nothing through. The last thing that the browser opens is
// CANARY, so that the caller sees the proxy at work. Screenshots go to the directory PICTURES.
"use strict";

const assert = require("node:assert/strict");
const path = require("node:path");
const { chromium } = require("playwright-core");
const axe = require("axe-core");

const [executablePath, shop, proxy, canary, pictures] = process.argv.slice(2);
const patience = 60_000;
const views = [360, 1280].flatMap((width) => ["light", "dark"].map((colorScheme) => ({ width, colorScheme })));

// What the browser would ask its maker for on its own account, pages or no pages.
const nobody = "http://127.0.0.1:9";
const silence = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
  "--disable-component-extensions-with-background-pages", "--gaia-url=" + nobody, "--google-apis-url=" + nobody,
  "--variations-server-url=" + nobody, "--apps-gallery-update-url=" + nobody, "--component-updater=url-source=" + nobody,
  "--disable-features=AutofillServerCommunication,OptimizationHints,MediaRouter,Translate,NetworkTimeServiceQuerying"];

// open returns a page in a window of its own, and collects what the page must not do.
async function open(browser, address, { width, colorScheme }) {
  const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme, locale: "en-GB", serviceWorkers: "block" });
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  page.problems = [];
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) page.problems.push(m.text()); });
  page.on("pageerror", (e) => page.problems.push(String(e)));
  page.on("request", (r) => { if (!r.url().startsWith(shop) && !r.url().startsWith("data:")) page.problems.push("asked for " + r.url()); });
  await page.goto(shop + address);
  return page;
}

// close ends a page that did nothing that it must not.
async function close(page) {
  assert.deepEqual(page.problems, [], "what the page must not do");
  await page.context().close();
}

// examine holds what is to be seen now against all rules of axe-core, and to the window's width.
async function examine(page, what) {
  await page.evaluate(axe.source);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  assert.ok(found.passes.length > 10, "axe-core applied nearly no rule to " + what);
  const told = found.violations.map((v) => v.id + ": " + v.help + "\n  " + v.nodes.map((n) => n.html + "\n    " + n.failureSummary).join("\n  "));
  assert.deepEqual(told, [], "axe-core on " + what);
  const overhang = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth);
  assert.ok(overhang <= 0, what + " is " + overhang + " px wider than the window");
}

const picture = (page, name, options) => page.screenshot({ path: path.join(pictures, name + ".png"), ...options });

// reach presses Tab until the element has the focus, which must be visible wherever it stops.
async function reach(page, selector) {
  for (let i = 0; i < 40; i++) {
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

// remember keeps each text that the customer could read, in order.
async function remember(page) {
  await page.evaluate(() => {
    globalThis.read = [];
    const note = () => {
      for (const line of [document.getElementById("customer"), ...document.querySelectorAll("#steps li span:nth-child(2)")]) {
        if (!globalThis.read.includes(line.textContent)) globalThis.read.push(line.textContent);
      }
    };
    new MutationObserver(note).observe(document.getElementById("status").parentElement, { childList: true, subtree: true, characterData: true });
  });
}

// inOrder checks that the customer has read these texts one after another.
async function inOrder(page, ...wants) {
  const read = await page.evaluate(() => globalThis.read);
  let from = 0;
  for (const want of wants) {
    const at = read.findIndex((text, i) => i >= from && text.includes(want));
    assert.ok(at >= 0, "the customer did not read " + JSON.stringify(want) + " in its turn, but\n" + read.join("\n"));
    from = at + 1;
  }
}

const becomes = (page, selector, text) => page.locator(selector).filter({ hasText: text }).waitFor();

// A purchase without a mouse, from the first Tab to the delivered receipts.
async function buy(browser, view) {
  const page = await open(browser, "/", view);
  const name = "shop-" + view.width + "-" + view.colorScheme;
  await examine(page, name + ", untouched");
  await remember(page);
  const answered = page.waitForResponse((r) => r.request().method() === "POST" && r.url() === shop + "/payments");
  await reach(page, "input[name=item]");
  await page.keyboard.press("ArrowDown");
  assert.equal(await page.locator("input[name=item]:checked").getAttribute("data-name"), "Coffee");
  await reach(page, "#pay");
  await page.keyboard.press("Enter");
  const answer = await answered;
  assert.equal(answer.status(), 202);
  assert.equal((await answer.json()).state, "pending");
  await becomes(page, "#steps li", "Payment: charged");
  await becomes(page, "#steps li", /E-mail .*: sent/);
  await becomes(page, "#steps li", /SMS .*: sent/);
  await inOrder(page, "is being processed", "Thank you");
  await inOrder(page, "Payment: charged", "E-mail (receipt): sent");
  await inOrder(page, "Payment: charged", "SMS (receipt): sent");
  assert.ok(await page.evaluate(() => document.activeElement.id === "pay"), "the button lost the focus");
  await picture(page, name, { fullPage: true });
  await reach(page, "summary");
  await page.keyboard.press("Enter");
  await becomes(page, "#wire", "202 /payments/pay_");
  await examine(page, name + ", paid");
  await close(page);
}

// What a customer sees while a provider is off, and once it is on again.
async function outage(browser) {
  const page = await open(browser, "/", { width: 1280, colorScheme: "light" });
  const toggle = async (provider, state) => {
    await reach(page, "#switch-" + provider);
    await page.keyboard.press("Space");
    await becomes(page, "#list .switch:has(#switch-" + provider + ")", state);
    await page.waitForFunction((id) => document.activeElement.id === id, "switch-" + provider);
  };
  await remember(page);
  await toggle("stripe", "is off");
  await toggle("sendgrid", "is off");
  await toggle("twilio", "is off");
  await reach(page, "#pay");
  await page.keyboard.press("Enter");
  await becomes(page, "#steps li", "Payment: is about to be charged");
  await becomes(page, "#customer", "is being processed");
  await examine(page, "the shop while the providers are off");
  await picture(page, "shop-providers-off", { fullPage: true });
  await toggle("stripe", "works");
  await becomes(page, "#customer", "Thank you");
  await becomes(page, "#steps li", "Payment: charged");
  await becomes(page, "#steps li", /E-mail .*: on its way/);
  // An e-mail is looked up and sent again; a text is left to a person.
  await becomes(page, "#steps li", /SMS .*: may have been sent/);
  await examine(page, "the shop while a message may have been sent");
  await toggle("sendgrid", "works");
  await becomes(page, "#steps li", /E-mail .*: sent/);
  await toggle("twilio", "works");
  await inOrder(page, "Payment: is about to be charged", "Payment: charged", "E-mail (receipt): on its way", "E-mail (receipt): sent");
  await close(page);
}

// A declined card is said in words, and what to do.
async function declined(browser) {
  const page = await open(browser, "/", { width: 360, colorScheme: "dark" });
  await reach(page, "#card");
  await page.keyboard.type("A card that is declined");
  assert.equal(await page.locator("#card").inputValue(), "pm_card_chargeDeclined");
  await reach(page, "#pay");
  await page.keyboard.press("Enter");
  await becomes(page, "#steps li", "Payment: not charged");
  await becomes(page, "#customer", /declined[^]*not been charged|not been charged[^]*card/i);
  await examine(page, "the shop after a decline");
  await picture(page, "shop-declined", { fullPage: true });
  await close(page);
}

// A form that is wrong is refused with what is wrong, in the place where the outcome would stand.
async function mistyped(browser) {
  const page = await open(browser, "/", { width: 1280, colorScheme: "dark" });
  await reach(page, "#phone");
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.type("0151 12345678");
  await page.keyboard.press("Enter");
  await becomes(page, "#customer", /phone/i);
  await examine(page, "the shop after a mistyped phone number");
  // Chromium itself reports each answer of 4xx on the console.
  page.problems = page.problems.filter((p) => !p.includes("status of 422"));
  await close(page);
}

// The API's description, with every answer unfolded.
async function describe(browser, view) {
  const page = await open(browser, "/docs", view);
  await becomes(page, "#operations h2", "POST /payments");
  const name = "docs-" + view.width + "-" + view.colorScheme;
  await examine(page, name);
  await picture(page, name);
  await reach(page, "details summary");
  await page.keyboard.press("Enter");
  assert.ok(await page.locator("details").first().evaluate((d) => d.open), "Enter does not unfold an answer");
  await page.evaluate(() => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
  const text = await page.locator("body").innerText();
  for (const want of ["GET /payments/{id}/events", "idempotency_key_reused", "application/problem+json"]) assert.ok(text.includes(want), "no " + want);
  await examine(page, name + ", unfolded");
  await close(page);
}

async function main() {
  const browser = await chromium.launch({
    executablePath, headless: true, chromiumSandbox: false,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--proxy-server=" + proxy, ...silence],
  });
  try {
    for (const view of views) {
      await buy(browser, view);
      await describe(browser, view);
    }
    await outage(browser);
    await declined(browser);
    await mistyped(browser);
    const page = await (await browser.newContext()).newPage();
    await page.goto(canary).catch(() => {});
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
