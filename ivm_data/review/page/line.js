// Commands in a line: each waits until the one before it is done, so that a key which is pressed while the page is busy
// is done on the label that the keys before it lead to. After a failure the line stands still until the person
// says whether to try again or to drop what waits; otherwise a verdict would land on another label.
export class Line {
  #waiting = [];
  #running = false;
  #changed;
  failure = null;

  constructor(changed) {
    this.#changed = changed;
  }

  get length() {
    return this.#waiting.length;
  }

  add(command) {
    this.#waiting.push(command);
    return this.#run();
  }

  retry() {
    this.failure = null;
    return this.#run();
  }

  drop() {
    this.failure = null;
    this.#waiting = [];
    this.#changed();
  }

  async #run() {
    this.#changed();
    if (this.#running || this.failure) return;
    this.#running = true;
    try {
      while (this.#waiting.length) {
        await this.#waiting[0]();
        this.#waiting.shift();
        this.#changed();
      }
    } catch (error) {
      this.failure = error;
    } finally {
      this.#running = false;
      this.#changed();
    }
  }
}
