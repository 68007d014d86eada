/** What a visitor does on the picture of the data: follow a point, draw a square, draw data with a brush. */

/** @typedef {import("./address.js").Look} Look @typedef {import("./plane.js").Plane} Plane */

const STROKES = 6; // points of the brush at each place of the pointer
const FEWEST = 20; // points that make data
const SMALLEST = 1 / 200; // side of a square, of the window's
const FARTHEST = 32; // coordinate that an address can hold of a drawn point
const WAYS = /** @type {Record<string, [number, number]>} */ ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] });

/** @returns {string} follow, square or brush */
export function tool() {
  return /** @type {HTMLInputElement} */ (document.querySelector('input[name="tool"]:checked')).value;
}

/** @param {string} name */
export function setTool(name) {
  /** @type {HTMLInputElement} */ (document.querySelector(`input[name="tool"][value="${name}"]`)).checked = true;
}

export class Hand {
  /**
   * @param {Plane} plane the picture of the data
   * @param {number} most points that can be drawn
   * @param {{touched: () => void, redraw: () => void, look: () => Look, looked: (part: Partial<Look>) => void,
   *   drew: (points: number[]) => void, refused: (text: string) => void}} tell what to do when the picture is touched
   *   and when it has to be drawn anew; how the page looks at the flow, and what to do when that changes; what to do
   *   with points that were drawn, and with a reason why nothing can be
   */
  constructor(plane, most, tell) {
    this.plane = plane;
    this.most = most;
    this.tell = tell;
    /** @type {number[]} points of the brush, x and y in turn */
    this.drawn = [];
    /** @type {[number, number] | null} where the pointer went down */
    this.pressed = null;
    plane.canvas.onpointerdown = (event) => this.down(event);
    plane.canvas.onpointermove = (event) => this.pressed && this.moved(event);
    plane.canvas.onpointerup = () => this.up();
    plane.canvas.onpointercancel = () => this.up();
    plane.canvas.onkeydown = (event) => this.key(event);
  }

  /** @param {PointerEvent} event */
  down(event) {
    const [left, right, bottom, top] = this.plane.window;
    if (tool() === "brush" && (Math.max(-left, right, -bottom, top) > FARTHEST || right - left < 0.2)) {
      this.tell.refused("The brush draws where coordinates lie between -32 and 32: choose other data first.");
      return;
    }
    this.pressed = this.plane.at(event);
    this.plane.canvas.setPointerCapture(event.pointerId);
    this.tell.touched();
    this.moved(event);
  }

  /** @param {PointerEvent} event */
  moved(event) {
    const here = this.plane.at(event);
    if (!this.pressed) return;
    if (tool() === "follow") this.tell.looked({ follow: here });
    if (tool() === "brush") {
      this.spray(here);
      this.tell.redraw();
    }
    if (tool() === "square") {
      const [x, y] = this.pressed;
      const [left, right, bottom, top] = [Math.min(x, here[0]), Math.max(x, here[0]), Math.min(y, here[1]), Math.max(y, here[1])];
      const least = SMALLEST * (this.plane.window[1] - this.plane.window[0]);
      const large = right - left > least && top - bottom > least;
      this.tell.looked({ square: large ? [left, right, bottom, top] : null });
    }
  }

  up() {
    const number = this.drawn.length / 2;
    const pressed = this.pressed;
    this.pressed = null;
    if (!pressed || tool() !== "brush") return;
    if (number >= FEWEST) this.tell.drew(this.drawn);
    if (number < FEWEST) this.tell.refused(`${number} points: draw ${FEWEST - number} more.`);
    if (number >= this.most) this.tell.refused(`${number.toLocaleString("en")} points are the most that can be drawn.`);
  }

  /** @param {[number, number]} here */
  spray(here) {
    const [left, right] = this.plane.window;
    const width = (right - left) / 40;
    for (let i = 0; i < STROKES && this.drawn.length < 2 * this.most; i++) {
      const radius = width * Math.sqrt(-Math.log(1 - Math.random()) / 2);
      const angle = 2 * Math.PI * Math.random();
      this.drawn.push(here[0] + radius * Math.cos(angle), here[1] + radius * Math.sin(angle));
    }
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const way = WAYS[event.key];
    if (!way) return;
    event.preventDefault();
    const [left, right, bottom, top] = this.plane.window;
    const size = (right - left) / (event.shiftKey ? 12 : 60);
    const from = this.tell.look().follow ?? [(left + right) / 2, (bottom + top) / 2];
    this.tell.looked({ follow: [from[0] + size * way[0], from[1] + size * way[1]] });
  }
}
