// Which labels come, and in which order.
import { $ } from "./dom.js";

const CHOICES = ["status", "source", "kind"];
const RANDOM = "random order";
const INFORMATIVE = "most informative first";

export class Filters {
  constructor(changed) {
    for (const id of ["order", ...CHOICES]) $(id).onchange = changed;
    $("filter-form").onsubmit = (event) => { event.preventDefault(); this.#close(); changed(); };
    $("filter-form").onkeydown = (event) => { if (event.key === "Escape") this.#close(); };
    document.addEventListener("pointerdown", (event) => { if (!$("filters").contains(event.target)) this.#close(); });
  }

  // As the server's address takes it.
  get asked() {
    const asked = new URLSearchParams({ random: $("order").value === "random", where: $("where").value.trim() });
    for (const name of CHOICES) asked.set(name, $(name).value);
    return asked;
  }

  show(told) {
    $("order").disabled = told.ordered;
    for (const name of CHOICES) fill($(name), told.choices[name]);
    const order = told.ordered ? "order of the command" : $("order").value === "random" ? RANDOM : INFORMATIVE;
    const where = $("where").value.trim();
    $("filter-summary").textContent = [order, ...CHOICES.map((name) => $(name).value), where].filter(Boolean).join(" · ");
    $("not-random").hidden = !where;
  }

  #close() {
    if ($("filter-form").contains(document.activeElement)) document.activeElement.blur();
    $("filters").open = false;
  }

  open() {
    $("filters").open = true;
    $("where").focus();
  }
}

function fill(select, values) {
  const chosen = select.value;
  select.replaceChildren(new Option(`any ${select.id}`, ""), ...values.filter(Boolean).map((value) => new Option(value, value)));
  select.value = chosen;
}
