// Many labels at once: all are chosen at first, those that look wrong are left out, the rest is accepted together.
import { $, element } from "./dom.js";
import { ask, labelPath } from "./server.js";

const AT_ONCE = 40;
const WITHOUT = { no_target: "nothing is there", whole_image: "the whole image" };

export class Grid {
  #page;
  #items = [];
  #left = new Set(); // numbers of those that are left out
  #begun = 0; // place in the queue where the grid was opened: those that were left out stand from here on
  #at = 0; // place of the first tile

  constructor(page) {
    this.#page = page;
  }

  get isOpen() {
    return !$("grid").hidden;
  }

  async toggleOpen() {
    if (this.isOpen) {
      this.#hide();
      await (this.#page.items[this.#begun] ? this.#page.open(this.#begun) : this.#page.load());
    } else if (this.#page.items.length && !this.#page.isChanged()) {
      this.#begun = this.#at = this.#page.at;
      this.#show();
    }
  }

  // The queue is another one.
  refresh() {
    if (!this.isOpen) return;
    this.#begun = this.#at = 0;
    if (this.#page.items.length) this.#show();
    else this.#hide();
  }

  // Nothing is accepted whose picture was not there to be seen.
  async accept() {
    const chosen = this.#items.filter((_, number) => !this.#left.has(number));
    if (!chosen.length) return;
    await Promise.all([...$("tiles").querySelectorAll("img")].map((picture) => picture.decode().catch(() => {
      throw new Error("A picture cannot be shown, so nothing is accepted.");
    })));
    const labels = chosen.map(({ part, sample_id }) => ({ part, sample_id }));
    this.#page.judged(await ask("/api/accept", { labels }), chosen, "right");
    const gone = new Set(chosen);
    this.#page.items = this.#page.items.filter((item) => !gone.has(item));
    this.#at += this.#items.length - chosen.length;
    if (this.#page.items[this.#at]) this.#show();
    else await this.toggleOpen(); // to those that were left out, or to what comes next
  }

  toggle(number = this.#focused) {
    if (!this.#items[number]) return;
    if (!this.#left.delete(number)) this.#left.add(number);
    $("tiles").children[number].setAttribute("aria-pressed", !this.#left.has(number));
    this.#count();
  }

  toggleAll() {
    const some = this.#left.size > 0;
    this.#items.forEach((_, number) => { if (this.#left.has(number) === some) this.toggle(number); });
  }

  async openOne() {
    const at = this.#at + this.#focused;
    this.#hide();
    await this.#page.open(at);
  }

  // To the tile beside, above or below the one with the focus.
  step(key) {
    const tiles = [...$("tiles").children];
    const columns = tiles.filter((tile) => tile.offsetTop === tiles[0].offsetTop).length;
    const next = this.#focused + { arrowleft: -1, arrowright: 1, arrowup: -columns, arrowdown: columns }[key];
    tiles[Math.min(Math.max(next, 0), tiles.length - 1)].focus();
  }

  get #focused() {
    return Math.max(0, [...$("tiles").children].indexOf(document.activeElement));
  }

  #show() {
    this.#items = this.#page.items.slice(this.#at, this.#at + AT_ONCE);
    this.#left.clear();
    $("tiles").replaceChildren(...this.#items.map((item, number) => this.#tile(item, number)));
    $("grid").hidden = false;
    document.querySelector("main").hidden = true;
    $("grid").scrollTop = 0;
    $("tiles").children[0].focus();
    this.#count();
  }

  #hide() {
    $("grid").hidden = true;
    document.querySelector("main").hidden = false;
    $("tiles").replaceChildren();
  }

  #count() {
    const chosen = this.#items.length - this.#left.size;
    $("accept-all").disabled = !chosen;
    $("accept-count").textContent = `accept ${chosen}`;
  }

  #tile(item, number) {
    const tile = element("button", "", "tile");
    const picture = new Image();
    picture.src = labelPath(item, "/thumb.jpg");
    picture.alt = "";
    tile.append(picture, element("span", item.instruction));
    if (WITHOUT[item.status]) tile.append(element("small", WITHOUT[item.status], "chip"));
    tile.title = item.instruction;
    tile.setAttribute("aria-pressed", true);
    tile.onclick = () => this.toggle(number);
    return tile;
  }
}
