// The shop: one order, and a stream of what becomes of it. No library, no build step.
"use strict";

const at = (id) => document.getElementById(id);
let stream = null;
let busy = false; // the button stays enabled, so that it keeps the focus
let began = 0;
let shown = {};

function element(tag, text, kind) {
  const e = document.createElement(tag);
  e.textContent = text;
  if (kind) e.className = kind;
  return e;
}

// step writes one line of the timeline, with the time at which it was first so.
function step(name, label, state, kind) {
  const mark = { good: "✓", bad: "✕", wait: "…" }[kind];
  if (!shown[name] || shown[name].state !== state) {
    shown[name] = { state, at: ((performance.now() - began) / 1000).toFixed(1) + " s" };
  }
  const line = document.createElement("li");
  const sign = element("span", mark, "mark " + kind);
  sign.setAttribute("aria-hidden", "true");
  line.append(sign, element("span", label + ": " + state), element("span", shown[name].at, "at"));
  return line;
}

const charge = {
  pending: ["is about to be charged", "wait"],
  processing: ["accepted, the bank takes its time", "wait"],
  paid: ["charged", "good"],
  failed: ["not charged", "bad"],
  checking: ["we are checking", "wait"],
};
const message = {
  pending: ["on its way", "wait"],
  sent: ["sent", "good"],
  delivered: ["delivered", "good"],
  failed: ["could not be delivered", "bad"],
  unknown: ["may have been sent", "wait"],
};

function show(payment) {
  at("customer").textContent = payment.msg;
  const lines = [step("charge", "Payment", ...charge[payment.state])];
  for (const m of payment.messages || []) {
    const label = { email: "E-mail", sms: "SMS" }[m.channel] + " (" + m.about + ")";
    lines.push(step(m.channel + m.about, label, ...message[m.state]));
  }
  at("steps").replaceChildren(...lines);
}

function log(text) {
  at("wire").textContent += "\n" + text;
}

function watch(location) {
  stream = new EventSource(location + "/events");
  stream.addEventListener("payment", (e) => {
    const payment = JSON.parse(e.data);
    log("event: payment\n" + JSON.stringify(payment, null, 2));
    show(payment);
  });
  stream.addEventListener("end", () => stream.close());
}

async function buy(event) {
  event.preventDefault();
  if (busy) return;
  if (stream) stream.close();
  const item = document.querySelector("input[name=item]:checked");
  const order = {
    amount: Number(item.value), currency: "eur", customer: "cus_shop", payment_method: at("card").value, description: item.dataset.name,
  };
  if (at("email").value) order.email = at("email").value;
  if (at("phone").value) order.phone = at("phone").value;
  began = performance.now();
  shown = {};
  busy = true;
  at("pay").setAttribute("aria-disabled", "true");
  at("steps").replaceChildren();
  at("customer").textContent = "One moment …";
  try {
    await post(order);
  } finally {
    busy = false;
    at("pay").removeAttribute("aria-disabled");
  }
}

// post sends the order under one key until it knows the answer: repeating it can charge nobody twice.
async function post(order) {
  const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
  at("wire").textContent = "POST /payments\nIdempotency-Key: " + key + "\n" + JSON.stringify(order, null, 2);
  for (;;) {
    let response = null;
    try {
      response = await fetch("/payments", {
        method: "POST", headers: { "Content-Type": "application/json", "Idempotency-Key": key }, body: JSON.stringify(order),
      });
    } catch {
      log("no answer");
    }
    if (response) {
      const answer = await response.json();
      log("\n" + response.status + " " + (response.headers.get("Location") || "") + "\n" + JSON.stringify(answer, null, 2));
      if (response.status === 202) {
        at("customer").textContent = answer.msg;
        watch(response.headers.get("Location"));
        return;
      }
      if (response.status === 422) {
        at("customer").textContent = (answer.errors || [answer.error]).map((e) => e.msg).join(" ");
        return;
      }
      if (response.status < 500 && response.status !== 409 && response.status !== 429) {
        at("customer").textContent = "Something is wrong with this page. You have not been charged.";
        return;
      }
    }
    at("customer").textContent = "This takes longer than usual. Please stay on this page.";
    await new Promise((done) => setTimeout(done, 2000));
  }
}

async function providers(change) {
  const options = change ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(change) } : {};
  const response = await fetch("/simulator", options);
  if (response.status === 404) return; // no simulators are configured
  at("providers").hidden = false;
  if (!response.ok) {
    at("trouble").textContent = "The simulators do not answer.";
    return;
  }
  at("trouble").textContent = "";
  const titles = { stripe: "Stripe (cards)", sendgrid: "SendGrid (e-mail)", twilio: "Twilio (SMS)" };
  const lines = (await response.json()).providers.map((p) => {
    const line = element("div", "", "switch");
    const button = element("button", p.off ? "Switch on" : "Switch off", "second");
    button.type = "button";
    button.id = "switch-" + p.name;
    button.setAttribute("aria-label", button.textContent + " " + titles[p.name]);
    button.addEventListener("click", async () => {
      await providers({ name: p.name, off: !p.off });
      at("switch-" + p.name).focus();
    });
    const label = element("span", titles[p.name] + " ");
    label.append(element("strong", p.off ? "is off" : "works", p.off ? "bad" : "good"));
    line.append(label, button);
    return line;
  });
  at("list").replaceChildren(...lines);
}

at("order").addEventListener("submit", buy);
providers();
