// Labels with their pictures, loaded before they are shown. Few at a time: a browser has six connections to a server,
// and a verdict needs one at once.
import { ask, inlinePicture, labelPath, picture } from "./server.js";

const AHEAD = 5;
const BEHIND = 2;
const AT_ONCE = 2;

export class Ahead {
  #kept = new Map(); // path -> promise of a label
  #near = [];
  #loading = 0;

  get(item) {
    const key = labelPath(item);
    if (!this.#kept.has(key)) {
      const label = load(item);
      this.#kept.set(key, label);
      label.catch(() => this.#kept.delete(key)); // it is asked for again when it is shown
    }
    return this.#kept.get(key);
  }

  // Loads what is near a place in the queue, nearest first, and lets go of the rest.
  keep(items, at) {
    this.#near = [...items.slice(at, at + AHEAD + 1), ...items.slice(Math.max(0, at - BEHIND), at).reverse()];
    const keys = new Set(this.#near.map((item) => labelPath(item)));
    for (const key of this.#kept.keys()) if (!keys.has(key)) this.#kept.delete(key);
    this.#more();
  }

  // What this person says of a label now; null for nothing.
  async mark(item, verdict) {
    const label = await this.#kept.get(labelPath(item))?.catch(() => null);
    if (label) label.about.verdict = verdict;
  }

  #more() {
    while (this.#loading < AT_ONCE) {
      const next = this.#near.find((item) => !this.#kept.has(labelPath(item)));
      if (!next) return;
      this.#loading += 1;
      const done = () => { this.#loading -= 1; };
      this.get(next).then(() => { done(); this.#more(); }, done);
    }
  }
}

async function load(item) {
  const [about, image] = await Promise.all([ask(labelPath(item)), picture(labelPath(item, "/image.jpg"))]);
  return { item, about, image, mask: await inlinePicture(about.mask) };
}
