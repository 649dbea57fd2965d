// What pointers do on the canvas: one of the tools, or two fingers that move and enlarge the picture.
import { GREEN, RED, dot, frame, lines, ring } from "./marks.js";

const DRAG = 5; // pixels of the screen from which a click is a drag
const NEAR = 12; // pixels of the screen around the first corner in which a click closes a polygon
export const TOOLS = ["add", "remove", "brush", "eraser", "polygon", "hand"];
const OPPOSITE = { add: "remove", remove: "add", brush: "eraser", eraser: "brush", polygon: "cut", hand: "hand" };

export class Tools {
  #touches = new Map();
  #gesture = null;
  #another = false;
  tool = "add";
  radius = 14; // of the brush, in pixels of the screen: it gets finer as the picture is enlarged
  corners = []; // of the polygon that is being drawn
  away = false; // whether that polygon will be cut out
  pointer = null; // where the mouse is
  box = null;

  constructor(canvas, view, repair, may) {
    Object.assign(this, { view, repair, may });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => this.#down(event, canvas));
    canvas.addEventListener("pointermove", (event) => this.#moved(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", (event) => this.#cancel(event));
    canvas.addEventListener("pointerleave", () => { this.pointer = null; view.draw(); });
    canvas.addEventListener("dblclick", () => this.close());
    view.painters.push((pen, scale) => this.#paint(pen, scale));
  }

  choose(tool) {
    this.tool = tool;
    this.forget();
  }

  get drawing() {
    return this.corners.length > 0 || this.#gesture !== null;
  }

  // Lets go of what is only begun; whether there was something.
  forget() {
    const begun = this.drawing;
    const painted = this.#gesture?.way;
    this.corners = [];
    this.box = this.#gesture = null;
    if (painted) this.repair.refresh();
    this.view.draw();
    return begun;
  }

  // A click, from the mouse or the keyboard.
  press(place, opposite = false) {
    const kind = opposite ? OPPOSITE[this.tool] : this.tool;
    if (kind === "add" || kind === "remove") this.#prompt({ kind, points: [place], goes_on: this.#goesOn });
    if (this.tool === "polygon") this.#corner(place, opposite);
  }

  // The next click means another thing.
  another() {
    this.#another = true;
  }

  // A stroke that begins at a place; more places and its end follow.
  begin(place, opposite = false) {
    const away = (opposite ? OPPOSITE[this.tool] : this.tool) === "eraser";
    this.#gesture = { away, way: [place], radius: this.radius / this.view.scale };
    this.#stroke([place]);
  }

  extend(place) {
    const { way } = this.#gesture;
    if (Math.hypot(place[0] - way.at(-1)[0], place[1] - way.at(-1)[1]) * this.view.scale < 2) return;
    way.push(place);
    this.#stroke(way.slice(-2));
  }

  end() {
    const { away, way, radius } = this.#gesture;
    this.#gesture = null;
    this.repair.add({ kind: away ? "eraser" : "brush", points: rounded(way), radius });
  }

  get stroking() {
    return Boolean(this.#gesture?.way);
  }

  close() {
    if (this.corners.length < 3) return;
    const points = rounded(this.corners);
    this.view.mask.fill(this.#scaled(points), this.away);
    this.corners = [];
    this.repair.add({ kind: this.away ? "cut" : "polygon", points });
  }

  dropCorner() {
    this.corners.pop();
    this.view.draw();
  }

  #down(event, canvas) {
    if (!this.view.label || !this.may()) return;
    canvas.setPointerCapture(event.pointerId);
    const screen = this.view.screen(event);
    if (event.pointerType === "touch") {
      this.#touches.set(event.pointerId, screen);
      if (this.#touches.size > 1) { this.forget(); return; }
    }
    const opposite = event.button === 2 || event.shiftKey;
    const place = this.view.place(screen);
    if (event.button === 1 || this.tool === "hand") this.#gesture = { pans: screen };
    else if (this.tool === "brush" || this.tool === "eraser") this.begin(place, opposite);
    else this.#gesture = { from: place, screen, opposite };
    event.preventDefault();
    canvas.focus({ preventScroll: true });
  }

  #moved(event) {
    if (!this.view.label) return;
    const screen = this.view.screen(event);
    this.pointer = event.pointerType === "touch" ? null : screen;
    if (this.#touches.size > 1 && this.#touches.has(event.pointerId)) this.#pinch(event.pointerId, screen);
    else if (this.#gesture?.pans) {
      this.view.move(screen[0] - this.#gesture.pans[0], screen[1] - this.#gesture.pans[1]);
      this.#gesture.pans = screen;
    } else if (this.#gesture?.way) {
      for (const each of event.getCoalescedEvents?.() ?? [event]) this.extend(this.view.place(this.view.screen(each)));
    } else if (this.#gesture) this.#drag(screen);
    this.view.draw();
  }

  #drag(screen) {
    const { from, opposite } = this.#gesture;
    const far = Math.hypot(screen[0] - this.#gesture.screen[0], screen[1] - this.#gesture.screen[1]) > DRAG;
    this.box = far && this.tool === "add" && !opposite ? [from, this.view.place(screen)] : null;
  }

  #up(event) {
    const fingers = this.#touches.size;
    this.#touches.delete(event.pointerId);
    if (fingers > 1) { this.#gesture = null; return; }
    const gesture = this.#gesture;
    if (!gesture || !this.may()) { this.forget(); return; }
    if (gesture.way) { this.end(); return; }
    this.#gesture = null;
    if (gesture.pans) return;
    if (this.box) this.#prompt({ kind: "box", points: this.box });
    else this.press(this.view.place(this.view.screen(event)), gesture.opposite);
    this.box = null;
    this.view.draw();
  }

  #cancel(event) {
    this.#touches.delete(event.pointerId);
    this.forget();
  }

  #pinch(id, screen) {
    const before = [...this.#touches.values()];
    this.#touches.set(id, screen);
    const after = [...this.#touches.values()];
    const middle = ([a, b]) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    const apart = ([a, b]) => Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1]));
    const [from, to] = [middle(before), middle(after)];
    this.view.move(to[0] - from[0], to[1] - from[1]);
    this.view.zoom(apart(after) / apart(before), to);
  }

  #prompt(edit) {
    this.#another = false;
    this.repair.add(edit);
  }

  get #goesOn() {
    return !this.#another && ["add", "remove", "box"].includes(this.repair.now.edits.at(-1)?.kind);
  }

  #corner(place, opposite) {
    if (!this.corners.length) this.away = opposite;
    const [x, y] = this.view.onScreen(place);
    const [x0, y0] = this.corners.length ? this.view.onScreen(this.corners[0]) : [Infinity, Infinity];
    if (this.corners.length > 2 && Math.hypot(x - x0, y - y0) < NEAR) this.close();
    else this.corners.push(place);
    this.view.draw();
  }

  #stroke(way) {
    this.view.mask.stroke(this.#scaled(way), this.#gesture.radius * this.#step, this.#gesture.away);
    this.view.draw();
  }

  // The mask on the page may have fewer pixels than the image.
  get #step() {
    return this.view.mask.canvas.width / this.view.label.about.width;
  }

  #scaled(points) {
    return points.map(([x, y]) => [x * this.#step, y * this.#step]);
  }

  #paint(pen, scale) {
    for (const edit of this.repair.now.edits) {
      if (edit.kind === "box") frame(pen, scale, edit.points, GREEN);
      else if (edit.points.length === 1 && !edit.radius) dot(pen, scale, edit.points[0], edit.kind === "add" ? GREEN : RED);
    }
    if (this.box) frame(pen, scale, this.box, GREEN);
    this.#paintPolygon(pen, scale);
    if (this.pointer && (this.tool === "brush" || this.tool === "eraser")) {
      const place = this.view.place(this.pointer);
      ring(pen, scale, place, this.radius / scale, this.tool === "eraser" ? RED : GREEN);
    }
  }

  #paintPolygon(pen, scale) {
    if (!this.corners.length) return;
    const end = this.pointer ? [this.view.place(this.pointer)] : [];
    const way = new Path2D();
    for (const point of [...this.corners, ...end]) way.lineTo(...point);
    lines(pen, scale, way, this.away ? RED : GREEN);
    for (const corner of this.corners) dot(pen, scale, corner, this.away ? RED : GREEN);
  }
}

// Tenths of a pixel are enough, and much shorter.
function rounded(points) {
  return points.map((point) => point.map((value) => Math.round(value * 10) / 10));
}
