/** The pictures of the page: everything that a frame shows, drawn anew for each. */

import { apartColours, bar, densityColours, ownColour } from "./colours.js";
import { drawCurve } from "./curve.js";
import { Layers, sayHowTheyAddUp } from "./layers.js";
import { at, canvas } from "./parts.js";
import { Plane } from "./plane.js";

/** @typedef {import("./connection.js").Message} Message @typedef {import("./address.js").Look} Look */

const DEPTH = 9; // nats of the density's colours below its top
const MOST_APART = 2; // nats of the strongest colour of the difference
const MARKED = "#c2185b"; // of the point that is followed, and of the square
const LATENT = /** @type {import("./plane.js").Window} */ ([-3.6, 3.6, -3.6, 3.6]);
const FEW = 500; // points of data that are drawn larger, over the samples
const FEWEST_STEPS = 100; // along the axis of the curve

export class Pictures {
  constructor() {
    this.points = new Plane(canvas("points"));
    this.density = new Plane(canvas("density"));
    this.exact = new Plane(canvas("exact"));
    this.difference = new Plane(canvas("difference"));
    this.latent = new Plane(canvas("latent"));
    this.layers = new Layers(at("strip"));
  }

  /** Forget how far the windows of the layers have moved: another run begins. */
  begin() {
    this.layers.windows = [];
  }

  /**
   * @param {Message} opening
   * @param {Message} frame
   * @param {Pick<Look, "follow" | "square">} look what is marked
   * @param {number} stage how far the cloud is carried: 0, data, to the number of steps, latent
   * @param {number[]} drawn points that are being drawn, x and y in turn
   */
  draw(opening, frame, look, stage, drawn) {
    const { head, arrays } = frame;
    const window = /** @type {import("./plane.js").Window} */ (opening.head.window);
    const exact = opening.arrays.exact;
    const top = Math.max(...(exact ?? arrays.density).filter(Number.isFinite));
    this.layers.draw(frame, window);
    if (stage > 0) {
      this.layers.between(this.points, frame, stage);
      this.points.axes(["", ""]);
    } else {
      this.drawPoints(opening, frame, look, drawn);
    }
    this.drawDensity(this.density, "density-bar", arrays.density, window, top, look);
    for (const id of ["exact", "difference"]) /** @type {HTMLElement} */ (at(id).parentElement).hidden = !exact;
    /** @type {HTMLElement} */ (at("exact").closest(".plots")).dataset.number = exact ? "6" : "4";
    if (exact) {
      this.drawDensity(this.exact, "exact-bar", exact, window, top, look);
      this.drawDifference(arrays.density, exact, window, top);
    }
    this.drawLatent(arrays);
    drawCurve(canvas("curve"), head.curve, opening.head.floor, Math.max(head.step, FEWEST_STEPS));
    sayHowTheyAddUp(at("followed"), at("sum"), head.followed);
    at("mass-note").hidden = !head.square;
  }

  /**
   * Data and samples, and what the visitor has marked or draws.
   * @param {Message} opening
   * @param {Message} frame
   * @param {Pick<Look, "follow" | "square">} look
   * @param {number[]} drawn
   */
  drawPoints(opening, frame, look, drawn) {
    const picture = this.points;
    picture.begin(/** @type {import("./plane.js").Window} */ (opening.head.window));
    const few = opening.arrays.data.length < 2 * FEW;
    if (!few) picture.points(opening.arrays.data, ownColour("data"), 2, 0.45);
    picture.points(frame.arrays.samples, ownColour("samples"), 2, 0.45);
    if (few) picture.points(opening.arrays.data, ownColour("data"), 2.8, 0.8);
    picture.points(Float32Array.from(drawn), ownColour("data"), 3, 0.9);
    if (look.square) {
      const [left, right, bottom, up] = look.square;
      picture.line([left, bottom, right, bottom, right, up, left, up], MARKED, 2, true);
    }
    if (look.follow) picture.mark(look.follow[0], look.follow[1], MARKED);
    picture.axes(opening.head.axes);
  }

  /**
   * @param {Plane} picture
   * @param {string} legend
   * @param {Float32Array} values
   * @param {import("./plane.js").Window} window
   * @param {number} top
   * @param {Pick<Look, "follow" | "square">} look
   */
  drawDensity(picture, legend, values, window, top, look) {
    picture.begin(window);
    picture.heat(values, top - DEPTH, top, densityColours);
    if (look.follow) picture.mark(look.follow[0], look.follow[1], MARKED);
    bar(at(legend), densityColours, top - DEPTH, top);
  }

  /**
   * @param {Float32Array} density
   * @param {Float32Array} exact
   * @param {import("./plane.js").Window} window
   * @param {number} top
   */
  drawDifference(density, exact, window, top) {
    // Where both say that nothing lies there, they agree.
    const gap = density.map((value, i) => Math.max(value, top - DEPTH) - Math.max(exact[i], top - DEPTH));
    this.difference.begin(window);
    this.difference.heat(gap, -MOST_APART, MOST_APART, apartColours);
    bar(at("difference-bar"), apartColours, -MOST_APART, MOST_APART);
  }

  /** @param {Record<string, Float32Array>} arrays of a frame */
  drawLatent(arrays) {
    this.latent.begin(LATENT);
    for (const radius of [1, 2, 3]) this.latent.circle(radius, ownColour("soft"));
    this.latent.points(arrays.latent, ownColour("data"), 2, 0.5);
    const way = arrays.path;
    if (way) this.latent.mark(way[way.length - 2], way[way.length - 1], MARKED);
    this.latent.axes(["z1", "z2"]);
  }
}
