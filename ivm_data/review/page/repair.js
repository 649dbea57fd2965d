// The edits of the label on the page, their history, and the mask that the server makes of them.
import { $, tell } from "./dom.js";
import { ask, inlinePicture, labelPath } from "./server.js";

export const START = Object.freeze({ start: "label", edits: [] });

export class Repair {
  #past = [];
  #future = [];
  #settling = false;
  label = null;
  now = START;

  constructor(view, changed) {
    this.view = view;
    this.changed = changed;
  }

  open(label) {
    this.label = label;
    this.#past = [];
    this.#future = [];
    this.now = START;
    this.changed();
  }

  get fixing() {
    return this.now.start !== "label" || this.now.edits.length > 0;
  }

  get changes() {
    return this.#past.length;
  }

  add(edit) {
    this.#to({ ...this.now, edits: [...this.now.edits, edit] });
  }

  // All edits away; that is a change too, which can be undone.
  restart(start) {
    if (this.now.edits.length || this.now.start !== start) this.#to({ start, edits: [] });
  }

  undo() {
    if (!this.#past.length) return;
    this.#future.push(this.now);
    this.#settle(this.#past.pop());
  }

  redo() {
    if (!this.#future.length) return;
    this.#past.push(this.now);
    this.#settle(this.#future.pop());
  }

  // What was painted while the mouse was down without becoming an edit goes again.
  refresh() {
    this.#settle({ ...this.now });
  }

  #to(next) {
    this.#past.push(this.now);
    this.#future = [];
    this.#settle(next);
  }

  // One request at a time; what is edited meanwhile is asked for afterwards, all at once.
  async #settle(next) {
    this.now = next;
    this.changed();
    if (this.#settling) return;
    this.#settling = true;
    let done = null;
    while (done !== this.now && this.label) {
      const [label, now] = [this.label, this.now];
      done = now;
      try {
        const mask = await this.#made(label, now);
        if (label !== this.label || now !== this.now) continue;
        this.view.mask.set(mask.picture);
        this.view.draw();
        document.body.dataset.area = mask.area;
      } catch (error) {
        tell(error.message);
      }
    }
    this.#settling = false;
    $("busy").hidden = true;
  }

  async #made(label, now) {
    if (now === START || (now.start === "label" && !now.edits.length)) return { picture: label.mask, area: label.about.area };
    $("busy").hidden = false;
    $("busy-text").textContent = now.edits.some(({ kind }) => ["add", "remove", "box"].includes(kind)) ? "segmenting" : "drawing";
    const made = await ask(labelPath(label.item, "/edits"), now);
    return { picture: await inlinePicture(made.mask), area: made.area };
  }
}
