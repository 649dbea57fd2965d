// An episode in time: the labels beside the one that is shown, key frames marked, each a step away.
import { $, element } from "./dom.js";
import { ask, labelPath } from "./server.js";

export class Strip {
  #label = null;
  #steps = [];
  #go;

  // go(item) opens a label.
  constructor(go) {
    this.#go = go;
  }

  // Of a still there is none.
  async show(label) {
    this.#label = label;
    this.#steps = [];
    const shown = label !== null && label.about.frame !== null;
    $("strip").hidden = !shown;
    $("strip").replaceChildren();
    if (!shown) return;
    const { steps, tracks } = await ask(labelPath(label.item, "/strip"));
    if (label !== this.#label) return;
    this.#steps = steps;
    label.tracks = tracks;
    $("strip").replaceChildren(...steps.map((step) => this.#tile(step)));
    $("strip").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
    document.body.dataset.strip = label.item.sample_id;
  }

  // The label so many steps later in the episode; null for none.
  beside(by) {
    const at = this.#steps.findIndex((step) => step.sample_id === this.#label?.item.sample_id);
    return at < 0 ? null : this.#steps[at + by] ?? null;
  }

  #tile(step) {
    const tile = element("button", "", step.is_key ? "step key" : "step");
    const picture = element("img", "");
    picture.src = labelPath(step, "/thumb.jpg");
    picture.alt = "";
    tile.append(picture, element("small", `${step.is_key ? "◆ " : ""}${step.frame}`));
    tile.title = `frame ${step.frame}, ${step.status.replace("_", " ")}${step.is_key ? ", a key frame" : ", carried"}`;
    if (step.sample_id === this.#label.item.sample_id) tile.setAttribute("aria-current", "true");
    tile.onclick = () => this.#go(step);
    return tile;
  }
}
