// Labels with their pictures, loaded before they are shown.
import { ask, inlinePicture, labelPath, picture } from "./server.js";

const AHEAD = 5;
const BEHIND = 2;

export class Ahead {
  #kept = new Map();

  get(item) {
    const key = labelPath(item);
    if (!this.#kept.has(key)) {
      const loading = load(item);
      this.#kept.set(key, loading);
      loading.catch(() => this.#kept.delete(key)); // it is asked for again when it is shown
    }
    return this.#kept.get(key);
  }

  // Loads what is near a place in the queue, nearest first, and lets go of the rest.
  keep(items, at) {
    const near = [...items.slice(at, at + AHEAD + 1), ...items.slice(Math.max(0, at - BEHIND), at).reverse()];
    const keys = new Set(near.map((item) => labelPath(item)));
    for (const key of this.#kept.keys()) if (!keys.has(key)) this.#kept.delete(key);
    for (const item of near) this.get(item);
  }

  forget(item) {
    this.#kept.delete(labelPath(item));
  }
}

async function load(item) {
  const [about, image] = await Promise.all([ask(labelPath(item)), picture(labelPath(item, "/image.jpg"))]);
  return { item, about, image, mask: await inlinePicture(about.mask) };
}
