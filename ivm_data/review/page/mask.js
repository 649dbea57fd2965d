// A mask as pixels of one colour, and its outline.
export class Mask {
  #canvas = document.createElement("canvas");
  #pen = this.#canvas.getContext("2d", { willReadFrequently: true });
  #outline = null;

  constructor(size, colour) {
    [this.#canvas.width, this.#canvas.height] = size;
    this.colour = colour;
  }

  get canvas() {
    return this.#canvas;
  }

  set(picture) {
    this.#draw("copy", () => this.#pen.drawImage(picture, 0, 0, this.#canvas.width, this.#canvas.height));
    this.#draw("source-in", () => this.#pen.fillRect(0, 0, this.#canvas.width, this.#canvas.height));
  }

  // Paints along points or within them, in pixels of this canvas.
  stroke(points, radius, away) {
    this.#draw(away ? "destination-out" : "source-over", () => {
      const way = new Path2D();
      way.moveTo(...points[0]);
      for (const point of points) way.lineTo(...point);
      Object.assign(this.#pen, { lineWidth: 2 * radius, lineCap: "round", lineJoin: "round" });
      this.#pen.stroke(way);
    });
  }

  fill(points, away) {
    this.#draw(away ? "destination-out" : "source-over", () => {
      const area = new Path2D();
      for (const point of points) area.lineTo(...point);
      this.#pen.fill(area, "evenodd");
    });
  }

  // Lines between pixels of which one is kept and the other is not.
  get outline() {
    this.#outline ??= outlineOf(this.#pen.getImageData(0, 0, this.#canvas.width, this.#canvas.height));
    return this.#outline;
  }

  #draw(mode, work) {
    Object.assign(this.#pen, { globalCompositeOperation: mode, fillStyle: this.colour, strokeStyle: this.colour });
    work();
    this.#outline = null;
  }
}

function outlineOf({ data, width, height }) {
  const path = new Path2D();
  const row = width + 2; // with a rim of pixels that are not kept
  const kept = new Uint8Array(row * (height + 2));
  for (let y = 0, from = 3; y < height; y++) {
    for (let x = 0, to = (y + 1) * row + 1; x < width; x++, to++, from += 4) kept[to] = data[from] >> 7;
  }
  for (let y = 0; y <= height; y++) {
    runs(kept, (y + 1) * row + 1, 1, -row, width, (from, to) => { path.moveTo(from, y); path.lineTo(to, y); });
  }
  for (let x = 0; x <= width; x++) {
    runs(kept, row + x + 1, row, -1, height, (from, to) => { path.moveTo(x, from); path.lineTo(x, to); });
  }
  return path;
}

// Calls `line` for every run of pixels that differ from their neighbour.
function runs(kept, first, step, neighbour, length, line) {
  let from = -1;
  for (let at = 0, i = first; at < length; at++, i += step) {
    const differs = kept[i] !== kept[i + neighbour];
    if (differs && from < 0) from = at;
    if (!differs && from >= 0) { line(from, at); from = -1; }
  }
  if (from >= 0) line(from, length);
}
