/** The strip: the plane's grid after each step, the cloud on its way, a point and a square followed through all of them. */

import { apartColours, ownColour } from "./colours.js";
import { Plane } from "./plane.js";

const MOST_LOG_DET = 2; // nats, of the strongest colour

/** @typedef {import("./connection.js").Message} Message @typedef {import("./plane.js").Window} Window */

/**
 * One array of a stack of equal ones.
 * @param {Float32Array} stack
 * @param {number} at
 * @param {number} number of them
 */
function one(stack, at, number) {
  const size = stack.length / number;
  return stack.subarray(at * size, (at + 1) * size);
}

/**
 * The window around points, without the farthest few.
 * @param {Float32Array} points
 * @returns {Window}
 */
function around(points) {
  const ends = [0, 1].map((axis) => {
    const values = points.filter((_, i) => i % 2 === axis && Number.isFinite(points[i])).sort();
    const few = Math.floor(values.length * 0.004);
    return [values[few] ?? -1, values[values.length - 1 - few] ?? 1];
  });
  const half = 0.62 * Math.max(ends[0][1] - ends[0][0], ends[1][1] - ends[1][0], 0.1);
  const [x, y] = ends.map(([low, high]) => (low + high) / 2);
  return [x - half, x + half, y - half, y + half];
}

export class Layers {
  /** @param {HTMLElement} strip */
  constructor(strip) {
    this.strip = strip;
    /** @type {{box: HTMLElement, plane: Plane, mean: HTMLElement, note: HTMLElement}[]} */
    this.panels = [];
    /** @type {Window[]} */
    this.windows = [];
  }

  /** @param {string[]} names of the steps */
  build(names) {
    const wanted = ["data", ...names];
    if (wanted.join() === this.panels.map((panel) => panel.box.dataset.name).join()) return;
    this.strip.replaceChildren();
    this.panels = wanted.map((text) => {
      const box = document.createElement("figure");
      box.dataset.name = text;
      box.classList.toggle("mix", text === "mix" || text === "standardize");
      const caption = document.createElement("figcaption");
      const name = document.createElement("span");
      const mean = document.createElement("b");
      name.textContent = text;
      caption.append(name, mean);
      const canvas = document.createElement("canvas");
      canvas.setAttribute("role", "img");
      const note = document.createElement("p");
      box.append(caption, canvas, note);
      this.strip.append(box);
      return { box, plane: new Plane(canvas), mean, note };
    });
    this.windows = [];
  }

  /**
   * @param {Message} message a frame
   * @param {Window} window of the data
   */
  draw(message, window) {
    const { head, arrays } = message;
    this.build(head.names);
    const number = this.panels.length;
    const soft = this.windows.length === number ? 0.15 : 1;
    for (let at = 0; at < number; at++) {
      const grid = one(arrays.grids, at, number);
      const cloud = one(arrays.clouds, at, number);
      const target = at === 0 ? window : around(cloud);
      const before = this.windows[at] ?? target;
      const view = /** @type {Window} */ (before.map((value, i) => value + soft * (target[i] - value)));
      this.windows[at] = at === 0 ? window : view;
      const { plane, mean, note } = this.panels[at];
      plane.begin(this.windows[at]);
      const values = at === 0 ? null : one(arrays.log_dets, at - 1, number - 1);
      plane.mesh(grid, values, MOST_LOG_DET, apartColours);
      plane.points(cloud, values ? "#10202e" : ownColour("data"), 2, values ? 0.5 : 0.6);
      if (arrays.outlines) plane.line(one(arrays.outlines, at, number), "#c2185b", 2.2, true);
      if (arrays.path) plane.mark(arrays.path[2 * at], arrays.path[2 * at + 1], "#c2185b");
      const step = at === 0 ? null : head.followed?.log_dets[at - 1];
      mean.textContent = step === null || step === undefined ? "" : short(step);
      mean.title = "log_det of this step at the point";
      note.textContent = head.square
        ? `area ${head.square.areas[at]?.toFixed(3) ?? "∞"}, mass ${(100 * head.square.masses[at]).toFixed(1)} %`
        : "";
      plane.canvas.setAttribute("aria-label", `${at === 0 ? "Data" : head.names[at - 1]}: the plane's grid. ${note.textContent}`);
    }
  }

  /**
   * The cloud between two stages, drawn into a picture of the plane.
   * @param {Plane} plane
   * @param {Message} message
   * @param {number} stage from 0, data, to the number of steps, latent
   */
  between(plane, message, stage) {
    const number = this.panels.length;
    const low = Math.min(Math.floor(stage), number - 1);
    const high = Math.min(low + 1, number - 1);
    const share = stage - low;
    const mixed = (/** @type {Float32Array} */ stack) => {
      const [a, b] = [one(stack, low, number), one(stack, high, number)];
      return a.map((value, i) => value + share * (b[i] - value));
    };
    const [a, b] = [this.windows[low], this.windows[high]];
    plane.begin(/** @type {Window} */ (a.map((value, i) => value + share * (b[i] - value))));
    plane.mesh(mixed(message.arrays.grids), null, 1, apartColours);
    plane.points(mixed(message.arrays.clouds), ownColour("data"), 2.6, 0.7);
    if (message.arrays.path) {
      const way = message.arrays.path;
      plane.mark(way[2 * low] + share * (way[2 * high] - way[2 * low]), way[2 * low + 1] + share * (way[2 * high + 1] - way[2 * low + 1]), "#c2185b");
    }
  }
}

/**
 * How the log_dets of a point add up to log p(x), in words: in short beside the point, and step by step.
 * @param {HTMLElement} brief
 * @param {HTMLElement} place
 * @param {{base: number | null, log_dets: (number | null)[], log_prob: number | null, point: number[]} | undefined} followed
 */
export function sayHowTheyAddUp(brief, place, followed) {
  if (!followed) {
    brief.textContent = "Click a point: it is followed through every layer.";
    place.textContent = "";
    return;
  }
  const number = (/** @type {number | null} */ value) => (value === null ? "not finite" : short(value));
  const total = followed.log_dets.reduce((/** @type {number} */ sum, value) => sum + (value ?? NaN), 0);
  brief.textContent = `log p(x) = ${number(followed.base)} (latent) + ${number(total)} (log_dets, below) = ${number(followed.log_prob)} nats`;
  const bold = document.createElement("b");
  bold.textContent = `log p(x) = ${number(followed.log_prob)} nats`;
  place.replaceChildren(
    bold,
    ` at x = (${followed.point.map((value) => value.toFixed(2)).join(", ")}): log p of the latent ${number(followed.base)}` +
      `, log_dets ${followed.log_dets.map(number).join(" + ")} = ${number(total)}`,
  );
}

/** @param {number} value */
function short(value) {
  return value.toFixed(3).replace(/^-(0\.0+)$/, "$1");
}
