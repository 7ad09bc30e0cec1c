// Ten seconds to drag q until KL hits a target; a score for each direction.

import { h } from "../../core/dom.js";
import { nats, number } from "../../core/format.js";
import { write } from "../../core/store.js";

const SECONDS = 10;

export function game(slots, place) {
  const { model } = slots;
  const best = { pq: null, qp: null };
  let direction = "pq";
  let started = 0;
  let timer = 0;
  let last = null;
  let shown = "";
  const text = h(
    "p",
    { class: "caption", "aria-live": "polite" },
    "Drag q (red) until the KL is the target. Ten seconds; the numbers are hidden until the time is up.",
  );
  const clock = h("progress", { max: SECONDS, value: 0, "aria-label": "time" });
  const button = h("button", { type: "button", class: "primary", onclick: start }, "Start");
  const scores = h("p", { class: "caption" });
  place.append(h("div", { class: "row" }, button, clock), text, scores);
  function start() {
    direction = Math.random() < 0.5 ? "pq" : "qp";
    const target = Math.round(10 * Math.exp(Math.random() * 3 - 1.2)) / 10;
    write(model, { target, family_p: "normal", family_q: "normal", mu_p: 0, sigma_p: 1, mu_q: 0.3, sigma_q: 1.1 });
    shown = `Make KL(${direction === "pq" ? "p‖q" : "q‖p"}) = ${nats(target, model.get("unit"))} ${model.get("unit")}.`;
    text.textContent = shown;
    started = performance.now();
    button.disabled = true;
    clearInterval(timer);
    timer = setInterval(tick, 100);
  }
  function tick() {
    const seconds = (performance.now() - started) / 1000;
    clock.value = Math.min(SECONDS, seconds);
    if (seconds < SECONDS || !last) return;
    clearInterval(timer);
    button.disabled = false;
    const off = Math.abs(Math.log(Math.max(1e-9, last[direction]) / model.get("target")));
    const score = Math.round(100 * Math.exp(-2 * off));
    best[direction] = Math.max(best[direction] ?? 0, score);
    text.textContent = `${shown} You reached ${nats(last[direction], model.get("unit"))}: ${score} points of 100.`;
    const line = (name, value) => `${name} ${value === null ? "not played" : number(value)}`;
    scores.textContent = `Best: ${line("KL(p‖q)", best.pq)}; ${line("KL(q‖p)", best.qp)}. Which direction is easier to feel?`;
  }
  return { paint: (found) => (last = found), stop: () => clearInterval(timer) };
}
