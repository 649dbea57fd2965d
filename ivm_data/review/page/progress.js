// How far the review is, how fast it goes, and what a promised precision and a judge still need.
import { $, show2 } from "./dom.js";
import { ask } from "./server.js";

const EVERY = 10; // verdicts after which a promise is looked at again
const REST = 20; // and so many times as long as it took last time, which for many labels is long

export class Progress {
  #since = 0;
  #rested = 0;

  constructor() {
    $("precision").onchange = () => this.promise();
  }

  show(told) {
    $("bar").max = Math.max(told.total, 1);
    $("bar").value = told.reviewed;
    $("progress").textContent = `${told.reviewed} of ${told.total} reviewed`;
    $("pace").textContent = told.seconds === null ? "" : `${shortly(told.seconds)} each, ${shortly(told.seconds * told.left)} left`;
  }

  judged(told, count) {
    this.show(told);
    this.#since += count;
    if (this.#since >= EVERY && performance.now() > this.#rested) this.promise();
  }

  async promise() {
    this.#since = 0;
    const began = performance.now();
    this.#rested = Infinity;
    const asked = ask(`/api/promise?precision=${$("precision").value}`);
    $("promise").textContent = $("promise").title = await asked.then(({ text }) => text, (error) => error.message);
    $("judge").textContent = $("judge").title = await ask("/api/judge").then(({ text }) => text, (error) => error.message);
    this.#rested = performance.now() + REST * (performance.now() - began);
  }
}

export function showAgreement(pairs) {
  const me = $("reviewer").textContent;
  const mine = pairs.filter((pair) => [pair.first, pair.second].includes(me));
  const texts = mine.map((pair) => `κ ${show2(pair.kappa)} with ${pair.first === me ? pair.second : pair.first}`);
  $("agreement").textContent = texts.length ? `agreement: ${texts.join(", ")}` : "agreement";
}

function shortly(seconds) {
  if (seconds < 9.5) return `${seconds.toFixed(1)} s`;
  if (seconds < 99) return `${Math.round(seconds)} s`;
  return seconds < 5940 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
