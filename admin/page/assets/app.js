// What the page does beyond HTML: local times, updates that disturb nobody, keys, and the chart. Everything works without.
"use strict";
(() => {
  document.documentElement.dataset.js = "";
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "local";
  const remembered = (key) => { try { return localStorage.getItem("outboxd-" + key); } catch { return null; } };
  const remember = (key, value) => { try { localStorage.setItem("outboxd-" + key, value); } catch { /* nothing is kept then */ } };
  const utc = remembered("times") === "utc";
  const form = (style) => new Intl.DateTimeFormat("sv-SE", { ...style, timeZone: utc ? "UTC" : undefined });
  const day = form({ dateStyle: "short" }), clock = form({ timeStyle: "medium" });

  // Times of today without their day, and all of them local unless the person wants UTC. The title has UTC always.
  function localise(root) {
    const today = day.format(new Date());
    for (const t of root.querySelectorAll("time[datetime]")) {
      const at = new Date(t.dateTime);
      const date = day.format(at);
      const text = (date === today ? "" : date + " ") + clock.format(at);
      if (t.textContent !== text) t.textContent = text;
    }
  }
  localise(document);
  document.querySelector("[data-zone]").textContent = utc ? "UTC" : zone + "; the pointer on one shows UTC";
  const zones = document.querySelector("[data-utc]");
  zones.hidden = false;
  zones.textContent = utc ? "Show local times" : "Show UTC";
  zones.addEventListener("click", () => { remember("times", utc ? "local" : "utc"); location.reload(); });

  // An update waits while nobody looks, and while somebody types or chooses within it.
  const busy = (live) => {
    const at = document.activeElement;
    return document.hidden || at && live.contains(at) && at.matches("input, select, textarea") || document.querySelector("dialog[open]");
  };
  document.addEventListener("htmx:before:request", (e) => {
    if (e.target.id === "live" && busy(e.target)) e.preventDefault();
  });
  function lost(is) {
    const pulse = document.querySelector(".pulse");
    pulse?.classList.toggle("lost", is);
    const line = pulse?.querySelector("[data-lost]");
    if (line) line.hidden = !is;
  }
  // An answer without the view is another page, such as the sign-in.
  document.addEventListener("htmx:before:response", (e) => {
    const raw = e.detail.ctx.response?.raw;
    if (!raw) return;
    if (raw.redirected) { e.preventDefault(); location.reload(); return; }
    lost(!raw.ok);
    if (!raw.ok) e.preventDefault();
  });
  document.addEventListener("htmx:error", () => lost(true));

  // What screen readers are told: what changed in the parts that say so, at most once in ten seconds.
  const told = () => [...document.querySelectorAll("#live [data-announce]")].map((n) => n.textContent.trim()).join(". ");
  let last = told(), lastAt = 0, soon = 0;
  function announce() {
    soon = 0;
    const now = told();
    if (now === last) return;
    const wait = lastAt + 10_000 - Date.now();
    if (wait > 0) { soon ||= setTimeout(announce, wait); return; }
    last = now;
    lastAt = Date.now();
    document.getElementById("announce").textContent = now;
  }
  document.addEventListener("htmx:after:swap", () => { localise(document); mark(row); announce(); });

  document.getElementById("problem")?.focus();

  // Keys. None is taken from a field, and all can be switched off.
  const rows = () => [...document.querySelectorAll("tr[data-row]")];
  let row = -1, g = 0;
  function mark(i) { rows().forEach((r, n) => r.classList.toggle("at", n === i)); }
  function move(by) {
    const all = rows();
    if (!all.length) return;
    row = Math.max(0, Math.min(all.length - 1, row + by));
    mark(row);
    all[row].querySelector("a, input, button")?.focus();
    all[row].scrollIntoView({ block: "nearest" });
  }
  const off = document.getElementById("keys-off");
  const help = document.getElementById("help");
  off.checked = remembered("keys") === "off";
  off.addEventListener("change", () => remember("keys", off.checked ? "off" : "on"));
  const helper = document.querySelector("[data-help]");
  helper.hidden = false;
  helper.addEventListener("click", () => help.showModal());
  const acts = {
    "/": () => document.getElementById("q").focus(),
    "?": () => help.showModal(),
    j: () => move(1),
    k: () => move(-1),
    x: () => rows()[row]?.querySelector("input[type=checkbox]")?.click(),
    r: () => rows()[row]?.querySelector("[data-plan]")?.click(),
    g: () => { g = Date.now(); },
  };
  document.addEventListener("keydown", (e) => {
    if (off.checked || help.open || e.ctrlKey || e.metaKey || e.altKey || e.isComposing) return;
    if (e.target.matches("select, textarea, input:not([type=checkbox]):not([type=radio])")) return;
    const to = Date.now() - g < 1500 && document.querySelector(`nav a[data-key="${CSS.escape(e.key)}"]`);
    g = 0;
    const act = to ? () => to.click() : acts[e.key];
    if (!act) return;
    e.preventDefault();
    act();
  });

  // The chart shows the table's figures.
  function chart() {
    const place = document.getElementById("chart"), table = document.querySelector("table[data-chart]");
    if (!place || !table || !globalThis.uPlot) return;
    const points = [...table.tBodies[0].rows].reverse();
    const column = (i) => points.map((r) => Number(r.cells[i].textContent));
    const colour = (name) => {
      const probe = document.createElement("span");
      probe.className = name;
      place.append(probe);
      const found = getComputedStyle(probe).color;
      probe.remove();
      return found;
    };
    const ink = colour("ink"), faint = colour("faint");
    const times = points.map((r) => new Date(r.querySelector("time").dateTime) / 1000);
    const long = times.length && times.at(-1) - times[0] > 86_400;
    const hours = (_, ticks) => ticks.map((t) => (long ? day.format(t * 1000).slice(5) + " " : "") + clock.format(t * 1000).slice(0, 5));
    const axis = { stroke: ink, grid: { stroke: faint, width: 1 }, ticks: { stroke: faint, width: 1 } };
    const line = (label, name, dash) => ({ label, stroke: colour(name), width: 2, dash, points: { show: false } });
    const time = { label: "from", value: (_, t) => (t === null ? "–" : hours(_, [t])[0]) };
    const width = () => Math.max(200, place.clientWidth - 16);
    place.textContent = "";
    const draw = (height, data, ...series) => {
      const plot = new uPlot({ width: width(), height, axes: [{ ...axis, values: hours, space: long ? 110 : 60 }, axis],
        cursor: { drag: { x: false, y: false }, sync: { key: "outboxd" } }, series: [time, ...series] }, data, place);
      new ResizeObserver(() => plot.setSize({ width: width(), height })).observe(place);
    };
    draw(240, [times, column(1)], line("done", "c-done"));
    draw(200, [times, column(2), column(3)], line("dead", "c-dead"), line("repeated", "c-again", [6, 4]));
  }
  chart();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", chart);
})();
