// The page: what is on it, and what its keys and buttons do.
import { Ahead } from "./ahead.js";
import { Crosshair } from "./crosshair.js";
import { $, tell } from "./dom.js";
import { Filters } from "./filters.js";
import { Grid } from "./grid.js";
import { commands, keys, listen, showHelp } from "./keys.js";
import { Line } from "./line.js";
import { markProposal, showLabel, showNothing, showProposals } from "./panel.js";
import { Progress, showAgreement } from "./progress.js";
import { Repair } from "./repair.js";
import { ask, labelPath, picture } from "./server.js";
import { Strip } from "./strip.js";
import { TOOLS, Tools } from "./tools.js";
import { View } from "./view.js";

const JUDGING = new Set(["a", "r", "n", "i", "w", "u"]);
const SOON = 250; // ms on a label before the segmenter looks at it

class Page {
  items = [];
  at = 0;
  #ahead = new Ahead();
  #soon = 0;
  #looking = null;
  #proposal = -1;
  #fixed = null; // label whose mask may be carried to the frames beside it
  #carried = new Set(); // sample ids of those whose mask was
  #batches = []; // how many verdicts each command gave

  constructor() {
    this.line = new Line(() => this.#showLine());
    this.view = new View($("canvas"));
    this.view.drawn = () => { $("zoom").textContent = `${Math.round(100 * this.view.zoomed)} %`; };
    this.repair = new Repair(this.view, () => this.#showRepair());
    this.tools = new Tools($("canvas"), this.view, this.repair, () => !this.line.length);
    this.crosshair = new Crosshair(this.view, this.tools);
    this.progress = new Progress();
    this.filters = new Filters(() => this.line.add(() => this.load()));
    this.grid = new Grid(this);
    this.strip = new Strip((item) => this.line.add(() => this.visit(item)));
  }

  get label() {
    return this.view.label;
  }

  async load() {
    const told = await ask(`/api/queue?${this.filters.asked}`);
    this.items = told.items;
    this.filters.show(told);
    this.progress.show(told);
    showAgreement(told.agreement);
    await this.open(0);
    this.grid.refresh();
  }

  async open(at) {
    const item = this.items[at];
    this.#ahead.keep(this.items, at);
    const label = item ? await this.#ahead.get(item) : null;
    this.at = at;
    this.tools.forget();
    this.crosshair.hide();
    this.view.show(label);
    this.repair.open(label);
    this.toggleMask(true);
    $("heatmap-button").setAttribute("aria-pressed", false);
    this.#proposal = -1;
    $("note").value = "";
    clearTimeout(this.#soon);
    this.#looking?.abort();
    if (label) {
      showLabel(label, at, this.items.length);
      showProposals(label, (number) => this.line.add(() => this.toggleProposal(number)));
      this.#soon = setTimeout(() => this.#look(label), SOON);
    } else {
      showNothing();
    }
    document.body.dataset.label = item?.sample_id ?? "";
    this.strip.show(label).catch((error) => { if (label === this.label) tell(error.message); });
  }

  // A label that may lie elsewhere in the queue, or nowhere in it: then it comes next, and the queue goes on behind it.
  async visit(item) {
    if (!item || this.isChanged()) return;
    const known = this.items.findIndex((each) => each.sample_id === item.sample_id);
    if (known < 0) this.items.splice(this.at + 1, 0, item);
    await this.open(known < 0 ? this.at + 1 : known);
  }

  // A fixed mask of a frame, or one that was taken back, is offered to the frames beside it.
  #offer(item, text = "") {
    this.#fixed = item;
    $("carry").hidden = !item;
    $("carry-text").textContent = text;
  }

  async carry() {
    if (!this.#fixed) { tell("No mask was fixed beside which others are carried."); return; }
    const { changed } = await ask(labelPath(this.#fixed, "/retrack"), {});
    this.#carried.add(this.#fixed.sample_id);
    this.#offer(null);
    await this.load();
    tell(`${changed} frames have new masks now, carried from the fixed one.`);
  }

  // The segmenter looks at the picture before the first click needs it to; no longer once the person goes on.
  async #look(label) {
    $("segmenter").textContent = "The segmenter is loading …";
    this.#looking = new AbortController();
    try {
      const { joins } = await ask(labelPath(label.item, "/look"), {}, this.#looking.signal);
      $("joined").hidden = !joins;
      $("segmenter").textContent = "";
      document.body.dataset.looked = label.item.sample_id;
    } catch (error) {
      if (label === this.label) $("segmenter").textContent = `No segmenter: ${error.message} Brush and polygon work without it.`;
    }
  }

  async judge(verdict, fix = {}) {
    if (!this.label || this.isChanged(fix)) return;
    const { label } = this;
    const { item } = label;
    this.judged(await ask(labelPath(item, "/review"), { verdict, note: $("note").value, ...fix }), [item], verdict);
    if (fix.corrected && label.tracks) this.#offer(item, `The mask of frame ${label.about.frame} is fixed; those beside it were carried from what was there.`);
    await this.move(1);
  }

  // Some labels have a verdict now, of one command.
  judged(told, items, verdict) {
    this.#batches.push(items.length);
    for (const item of items) this.#ahead.mark(item, verdict);
    this.progress.judged(told, items.length);
  }

  // Changes of the mask are neither judged nor left behind by a slip of the finger.
  isChanged(fix = {}) {
    if (fix.corrected || !this.repair.fixing) return false;
    tell("The mask is changed: F saves it, Esc takes the changes away.");
    return true;
  }

  async save() {
    if (this.tools.corners.length) this.tools.close();
    else if (this.repair.fixing) await this.judge("wrong", { corrected: true, ...this.repair.now });
  }

  async judgeAs(start) {
    if (!this.label || this.isChanged()) return;
    const { area, width, height } = this.label.about;
    if (area === (start === "nothing" ? 0 : width * height)) await this.judge("right");
    else await this.judge("wrong", { corrected: true, start, edits: [] });
  }

  async go(by) {
    if (!this.isChanged()) await this.move(by);
  }

  async move(by) {
    if (this.#isMoving(by)) await this.open(this.at + by);
    else if (by > 0 && this.items.length) await this.load();
  }

  #isMoving(by) {
    return this.at + by >= 0 && this.at + by < this.items.length;
  }

  async undo() {
    if (this.repair.changes) { this.repair.undo(); return; }
    const count = this.#batches.pop() ?? 1;
    const told = await ask("/api/undo", { count });
    this.progress.judged(told, 1);
    if (!told.undone) { tell("There is nothing to undo."); return; }
    const { sample_id } = told.undone;
    if (this.#carried.has(sample_id)) this.#offer(told.undone, "The fixed mask is taken back; those beside it are still carried from it.");
    else if (this.#fixed?.sample_id === sample_id) this.#offer(null);
    await this.#ahead.mark(told.undone, null);
    if (count > 1 || this.grid.isOpen) { await this.load(); return; }
    const known = this.items.findIndex((item) => item.sample_id === told.undone.sample_id);
    if (known < 0) this.items.splice(this.at, 0, told.undone);
    await this.open(known < 0 ? this.at : known);
  }

  choose(tool) {
    this.tools.choose(tool);
    $("canvas").dataset.tool = tool;
    for (const each of TOOLS) $(`tool-${each}`).setAttribute("aria-pressed", each === tool);
  }

  resize(factor) {
    this.tools.radius = Math.min(Math.max(this.tools.radius * factor, 1), 120);
    $("size").value = Math.log2(this.tools.radius);
    this.view.draw();
  }

  restart() {
    if (this.label) this.repair.restart(this.repair.now.start === "label" ? "nothing" : "label");
  }

  escape() {
    if (!this.tools.forget() && this.label) this.repair.restart("label");
    this.crosshair.hide();
    tell("");
  }

  cross(key, fine) {
    const [dx, dy] = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] }[key];
    this.crosshair.move(dx, dy, fine);
  }

  zoom(factor) {
    if (this.label) this.view.zoom(factor, this.crosshair.screen ?? this.tools.pointer ?? this.view.middle);
  }

  tint(more) {
    this.view.opacity = Math.min(Math.max(this.view.opacity + more, 0), 1);
    $("opacity").value = this.view.opacity;
    this.view.draw();
  }

  toggleMask(shown = !this.view.shows.mask) {
    this.view.shows.mask = shown;
    $("mask-button").setAttribute("aria-pressed", shown);
    this.view.draw();
  }

  async toggleHeatmap() {
    const { label } = this;
    if (!label?.about.proposals.length) return;
    this.view.heatmap = this.view.heatmap ? null : await picture(labelPath(label.item, "/heatmap.png"));
    $("heatmap-button").setAttribute("aria-pressed", this.view.heatmap !== null);
    this.view.draw();
  }

  async toggleProposal(number) {
    if (!this.label || number >= this.label.about.proposals.length) return;
    const shown = this.#proposal === number;
    this.view.showProposal(shown ? null : await picture(labelPath(this.label.item, `/proposal-${number}.png`)));
    this.#proposal = shown ? -1 : number;
    markProposal(this.#proposal);
  }

  toggleScores() {
    $("more").open = !$("more").open;
  }

  help() {
    showHelp(GROUPS);
  }

  #showRepair() {
    document.querySelector("[data-key=f]").disabled = !this.repair.fixing;
    $("restart").setAttribute("aria-pressed", this.repair.now.start === "nothing");
  }

  #showLine() {
    const { length, failure } = this.line;
    document.body.classList.toggle("working", length > 0 && !failure);
    document.body.dataset.waiting = length;
    $("waiting").textContent = length > 1 ? `${length - 1} waiting` : "";
    if (!failure) { if (!$("retry").hidden) tell(""); return; }
    tell(failure.message + (length > 1 ? ` ${length - 1} more wait.` : ""));
    $("retry").hidden = $("drop").hidden = false;
  }
}

const page = new Page();
const GROUPS = keys(page);
const COMMANDS = { label: commands(GROUPS, "label"), grid: commands(GROUPS, "grid") };
const known = () => COMMANDS[page.grid.isOpen ? "grid" : "label"];

// Does a command after those before it. Help waits for none, and nobody judges what no picture was shown of.
function take(found, key) {
  if (key === "?") { found.command(key); return; }
  if (JUDGING.has(key) && !page.label && !page.grid.isOpen) { tell("No picture is shown yet, so nothing was judged."); return; }
  page.line.add(() => { tell(""); return found.command(key); });
}

listen(known, page.line, take);
for (const button of document.querySelectorAll("[data-key]")) {
  button.onmousedown = (event) => { if (page.grid.isOpen) event.preventDefault(); }; // the tile keeps the focus
  button.onclick = (event) => {
    if (event.detail) button.blur(); // after a click of the mouse; who got here by Tab stays
    const { key } = button.dataset;
    take(known().get(key), key);
  };
}
$("retry").onclick = () => page.line.retry();
$("drop").onclick = () => page.line.drop();
$("opacity").oninput = () => { page.view.opacity = Number($("opacity").value); page.view.draw(); };
$("size").oninput = () => { page.tools.radius = 2 ** Number($("size").value); page.view.draw(); };
page.choose("add");
page.resize(1);
page.line.add(async () => { await page.load(); page.progress.promise(); });
