// The canvas: image, layers and outlines, enlarged and moved. Places are pixels of the whole image unless called screen.
import { Mask } from "./mask.js";

const MOST = 48; // pixels of the screen for a pixel of the image
const SMOOTH = 6; // from this enlargement on pixels are shown as they are
const MARGIN = 10; // pixels of the screen around the image, so that its edges can be reached
const HALO = "rgba(0, 0, 0, .75)";

export class View {
  #canvas;
  #pen;
  #drawing = false;
  #fitted = true;
  scale = 1;
  offset = [0, 0];
  opacity = 0.35;
  shows = { mask: true };
  label = null;
  mask = null;
  proposal = null;
  heatmap = null;
  painters = [];
  drawn = () => {};

  constructor(canvas) {
    this.#canvas = canvas;
    this.#pen = canvas.getContext("2d");
    new ResizeObserver(() => this.#resize()).observe(canvas);
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (this.label) this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), this.screen(event));
    }, { passive: false });
  }

  show(label) {
    this.label = label;
    this.mask = this.proposal = this.heatmap = null;
    if (label) {
      this.mask = new Mask([label.mask.width, label.mask.height], css(label.about.colours[0]));
      this.mask.set(label.mask);
      this.fit();
    }
    this.draw();
  }

  showProposal(picture) {
    this.proposal = picture && new Mask([picture.width, picture.height], css(this.label.about.colours[1]));
    this.proposal?.set(picture);
    this.draw();
  }

  // Place on the screen of an event, from the canvas's corner.
  screen(event) {
    const box = this.#canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  place([x, y]) {
    const { width, height } = this.label.about;
    const inside = (value, most) => Math.min(Math.max(value, 0), most);
    return [inside((x - this.offset[0]) / this.scale, width), inside((y - this.offset[1]) / this.scale, height)];
  }

  onScreen([x, y]) {
    return [x * this.scale + this.offset[0], y * this.scale + this.offset[1]];
  }

  get middle() {
    return [this.#canvas.clientWidth / 2, this.#canvas.clientHeight / 2];
  }

  fit() {
    const { width, height } = this.label.about;
    const { clientWidth, clientHeight } = this.#canvas;
    this.scale = this.#least();
    this.offset = [(clientWidth - width * this.scale) / 2, (clientHeight - height * this.scale) / 2];
    this.#fitted = true;
    this.draw();
  }

  zoom(factor, [x, y]) {
    const scale = Math.min(Math.max(this.scale * factor, this.#least()), MOST);
    const grown = scale / this.scale;
    this.offset = [x - (x - this.offset[0]) * grown, y - (y - this.offset[1]) * grown];
    this.scale = scale;
    this.#fitted = scale === this.#least();
    if (this.#fitted) this.fit();
    this.move(0, 0);
  }

  // Moves the picture; some of it stays in sight.
  move(dx, dy) {
    const { width, height } = this.label.about;
    const kept = (offset, size, room) => Math.min(Math.max(offset, room / 2 - size * this.scale), room / 2);
    this.offset = [
      kept(this.offset[0] + dx, width, this.#canvas.clientWidth),
      kept(this.offset[1] + dy, height, this.#canvas.clientHeight),
    ];
    this.draw();
  }

  reveal(place) {
    const margin = 40;
    const out = (at, room) => Math.min(0, at - margin) + Math.max(0, at + margin - room);
    const [x, y] = this.onScreen(place);
    if (!this.#fitted) this.move(-out(x, this.#canvas.clientWidth), -out(y, this.#canvas.clientHeight));
  }

  get zoomed() {
    return this.label ? this.scale / this.#least() : 1;
  }

  draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.#paint();
      this.drawn();
    });
  }

  #least() {
    const { width, height } = this.label.about;
    const { clientWidth, clientHeight } = this.#canvas;
    return Math.max(1e-3, Math.min((clientWidth - 2 * MARGIN) / width, (clientHeight - 2 * MARGIN) / height));
  }

  #resize() {
    const dense = window.devicePixelRatio || 1;
    this.#canvas.width = Math.round(this.#canvas.clientWidth * dense);
    this.#canvas.height = Math.round(this.#canvas.clientHeight * dense);
    if (this.label && this.#fitted) this.fit();
    else if (this.label) this.move(0, 0);
  }

  #paint() {
    const pen = this.#pen;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    if (!this.label) return;
    const { width, height } = this.label.about;
    this.#toImage(1);
    pen.imageSmoothingEnabled = this.scale < SMOOTH;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(this.label.image, 0, 0, width, height);
    pen.globalAlpha = Math.min(1, this.opacity * 2);
    if (this.heatmap) pen.drawImage(this.heatmap, 0, 0, width, height);
    pen.globalAlpha = 1;
    if (this.shows.mask) this.#layer(this.mask, 3);
    if (this.proposal) this.#layer(this.proposal, 2);
    this.#toImage(1);
    for (const paint of this.painters) paint(pen, this.scale);
  }

  // Tint and outline; the outline has a dark halo, so that it is seen on its own colour too.
  #layer(mask, thick) {
    const pen = this.#pen;
    const { width, height } = this.label.about;
    this.#toImage(1);
    pen.globalAlpha = this.opacity;
    pen.drawImage(mask.canvas, 0, 0, width, height);
    pen.globalAlpha = 1;
    const step = width / mask.canvas.width;
    this.#toImage(step);
    pen.lineCap = "square";
    for (const [colour, more] of [[HALO, 2], [mask.colour, 0]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = (thick + more) / (this.scale * step);
      pen.stroke(mask.outline);
    }
  }

  #toImage(step) {
    const dense = window.devicePixelRatio || 1;
    const scale = dense * this.scale * step;
    this.#pen.setTransform(scale, 0, 0, scale, dense * this.offset[0], dense * this.offset[1]);
  }
}

function css([red, green, blue]) {
  return `rgb(${red} ${green} ${blue})`;
}
