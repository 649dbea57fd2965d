// A pointer for the keyboard: it moves by arrow keys and does what the chosen tool does.
import { lines } from "./marks.js";

const STEP = 12; // pixels of the screen
const FINE = 2;
const ARM = 16;

export class Crosshair {
  place = null;

  constructor(view, tools) {
    Object.assign(this, { view, tools });
    view.painters.push((pen, scale) => this.#paint(pen, scale));
  }

  move(dx, dy, fine) {
    if (!this.view.label) return;
    if (this.place) {
      const [x, y] = this.view.onScreen(this.place);
      const step = fine ? FINE : STEP;
      this.place = this.view.place([x + dx * step, y + dy * step]);
    } else {
      this.place = this.view.place(this.view.middle);
    }
    if (this.tools.stroking) this.tools.extend(this.place);
    this.view.reveal(this.place);
    this.view.draw();
  }

  // A click; with a brush or eraser the first press puts it down and the second lifts it.
  press(opposite) {
    if (!this.place) this.move(0, 0, true);
    else if (this.tools.stroking) this.tools.end();
    else if (this.tools.tool === "brush" || this.tools.tool === "eraser") this.tools.begin(this.place, opposite);
    else this.tools.press(this.place, opposite);
    this.view.draw();
  }

  hide() {
    this.place = null;
    this.view.draw();
  }

  get screen() {
    return this.place && this.view.onScreen(this.place);
  }

  #paint(pen, scale) {
    if (!this.place) return;
    const [x, y] = this.place;
    const arm = ARM / scale;
    const cross = new Path2D();
    cross.moveTo(x - arm, y);
    cross.lineTo(x + arm, y);
    cross.moveTo(x, y - arm);
    cross.lineTo(x, y + arm);
    if (["brush", "eraser"].includes(this.tools.tool)) cross.arc(x, y, this.tools.radius / scale, 0, 2 * Math.PI);
    lines(pen, scale, cross, "#fff");
  }
}
