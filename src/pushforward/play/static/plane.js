/** A canvas that shows a window of the plane. */

import { css, ownColour } from "./colours.js";

/** @typedef {[number, number, number, number]} Window left, right, bottom, top */

export class Plane {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    /** @type {Window} */
    this.window = [-1, 1, -1, 1];
    this.image = document.createElement("canvas");
  }

  /**
   * Empty the picture, at the sharpness of the screen.
   * @param {Window} window
   */
  begin(window) {
    const scale = Math.min(devicePixelRatio || 1, 2);
    const width = Math.round(this.canvas.clientWidth * scale);
    if (width && this.canvas.width !== width) this.canvas.width = this.canvas.height = width;
    this.scale = scale;
    this.window = window;
    this.pen.globalAlpha = 1;
    this.pen.fillStyle = ownColour("card");
    this.pen.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** @param {number} x */
  across(x) {
    return ((x - this.window[0]) / (this.window[1] - this.window[0])) * this.canvas.width;
  }

  /** @param {number} y */
  up(y) {
    return (1 - (y - this.window[2]) / (this.window[3] - this.window[2])) * this.canvas.height;
  }

  /**
   * The point of the plane under the pointer.
   * @param {{clientX: number, clientY: number}} event
   * @returns {[number, number]}
   */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const [left, right, bottom, top] = this.window;
    return [
      left + ((right - left) * (event.clientX - box.left)) / box.width,
      top - ((top - bottom) * (event.clientY - box.top)) / box.height,
    ];
  }

  /**
   * @param {Float32Array} points x and y in turn
   * @param {string} colour
   * @param {number} size of a point in pixels of the page
   * @param {number} strength from 0 to 1
   */
  points(points, colour, size = 2, strength = 0.5) {
    const { pen } = this;
    pen.fillStyle = colour;
    pen.globalAlpha = strength;
    const side = size * (this.scale ?? 1);
    const [left, right, bottom, top] = this.window;
    const a = this.canvas.width / (right - left);
    const b = this.canvas.height / (top - bottom);
    for (let i = 0; i < points.length; i += 2) {
      pen.fillRect((points[i] - left) * a - side / 2, (top - points[i + 1]) * b - side / 2, side, side);
    }
    pen.globalAlpha = 1;
  }

  /**
   * Numbers of pixels, rows from bottom to top.
   * @param {Float32Array} values
   * @param {number} low
   * @param {number} high
   * @param {Uint8ClampedArray} colours
   */
  heat(values, low, high, colours) {
    const size = Math.round(Math.sqrt(values.length));
    const { image, pen } = this;
    if (image.width !== size) image.width = image.height = size;
    const into = /** @type {CanvasRenderingContext2D} */ (image.getContext("2d"));
    const pixels = into.createImageData(size, size);
    for (let row = 0; row < size; row++) {
      for (let column = 0; column < size; column++) {
        const value = values[(size - 1 - row) * size + column];
        const share = Number.isNaN(value) ? 0 : (value - low) / (high - low);
        const colour = 3 * Math.round(255 * Math.min(Math.max(share, 0), 1));
        const at = 4 * (row * size + column);
        pixels.data[at] = colours[colour];
        pixels.data[at + 1] = colours[colour + 1];
        pixels.data[at + 2] = colours[colour + 2];
        pixels.data[at + 3] = 255;
      }
    }
    into.putImageData(pixels, 0, 0);
    pen.imageSmoothingEnabled = true;
    pen.drawImage(image, 0, 0, this.canvas.width, this.canvas.height);
  }

  /**
   * A warped grid, its cells coloured by numbers at their corners.
   * @param {Float32Array} corners (lines, lines, 2)
   * @param {Float32Array | null} values (lines, lines)
   * @param {number} most the number of the strongest colour
   * @param {Uint8ClampedArray} colours
   */
  mesh(corners, values, most, colours) {
    const lines = Math.round(Math.sqrt(corners.length / 2));
    const { pen } = this;
    /** @type {Map<number, Path2D>} cells by their colour: few changes of the pen */
    const paths = new Map();
    const x = new Float32Array(lines * lines);
    const y = new Float32Array(lines * lines);
    for (let i = 0; i < x.length; i++) {
      x[i] = this.across(corners[2 * i]);
      y[i] = this.up(corners[2 * i + 1]);
    }
    for (let row = 0; row + 1 < lines; row++) {
      for (let column = 0; column + 1 < lines; column++) {
        const a = row * lines + column;
        const c = a + lines;
        const mean = values ? (values[a] + values[a + 1] + values[c] + values[c + 1]) / 4 : 0;
        const key = Math.round(12 * Math.min(Math.max(mean / most, -1), 1)) || 0;
        let path = paths.get(key);
        if (!path) paths.set(key, (path = new Path2D()));
        path.moveTo(x[a], y[a]);
        path.lineTo(x[a + 1], y[a + 1]);
        path.lineTo(x[c + 1], y[c + 1]);
        path.lineTo(x[c], y[c]);
        path.closePath();
      }
    }
    pen.lineWidth = 0.6 * (this.scale ?? 1);
    for (const [key, path] of paths) {
      if (values) {
        pen.fillStyle = css(colours, 0.5 + key / 24);
        pen.globalAlpha = 0.85;
        pen.fill(path);
      }
      pen.globalAlpha = 0.45;
      pen.strokeStyle = values ? "#333a41" : ownColour("soft");
      pen.stroke(path);
    }
    pen.globalAlpha = 1;
  }

  /**
   * @param {ArrayLike<number>} points x and y in turn
   * @param {string} colour
   * @param {number} width
   * @param {boolean} closed
   */
  line(points, colour, width = 2, closed = false) {
    const { pen } = this;
    pen.beginPath();
    for (let i = 0; i < points.length; i += 2) pen.lineTo(this.across(points[i]), this.up(points[i + 1]));
    if (closed) pen.closePath();
    pen.strokeStyle = colour;
    pen.lineWidth = width * (this.scale ?? 1);
    pen.stroke();
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {string} colour
   */
  mark(x, y, colour) {
    const { pen } = this;
    pen.beginPath();
    pen.arc(this.across(x), this.up(y), 5 * (this.scale ?? 1), 0, 7);
    pen.fillStyle = colour;
    pen.fill();
    pen.lineWidth = 2 * (this.scale ?? 1);
    pen.strokeStyle = "#ffffff";
    pen.stroke();
  }

  /**
   * @param {number} radius
   * @param {string} colour
   */
  circle(radius, colour) {
    const { pen } = this;
    pen.beginPath();
    pen.arc(this.across(0), this.up(0), this.across(radius) - this.across(0), 0, 7);
    pen.strokeStyle = colour;
    pen.lineWidth = this.scale ?? 1;
    pen.stroke();
  }

  /** Numbers along the left and lower edge. */
  axes(names = ["x1", "x2"]) {
    const { pen, canvas, window } = this;
    const scale = this.scale ?? 1;
    pen.font = `${11 * scale}px system-ui, sans-serif`;
    pen.fillStyle = ownColour("soft");
    pen.strokeStyle = ownColour("line");
    pen.lineWidth = scale;
    pen.strokeRect(0, 0, canvas.width, canvas.height);
    const room = pen.measureText(names[0]).width + 22 * scale;
    for (const value of ticks(window[0], window[1], 4)) {
      const x = this.across(value);
      if (x < 14 * scale || x > canvas.width - room) continue;
      pen.fillRect(x, canvas.height - 4 * scale, scale, 4 * scale);
      pen.textAlign = "center";
      pen.fillText(label(value), x, canvas.height - 7 * scale);
    }
    for (const value of ticks(window[2], window[3], 4)) {
      const y = this.up(value);
      if (y < 22 * scale || y > canvas.height - 18 * scale) continue;
      pen.fillRect(0, y, 4 * scale, scale);
      pen.textAlign = "left";
      pen.fillText(label(value), 6 * scale, y + 4 * scale);
    }
    pen.textAlign = "right";
    pen.fillText(names[0], canvas.width - 5 * scale, canvas.height - 7 * scale);
    pen.textAlign = "left";
    pen.fillText(names[1], 6 * scale, 13 * scale);
  }
}

/**
 * Round numbers between two ends.
 * @param {number} low
 * @param {number} high
 * @param {number} number about how many
 */
export function ticks(low, high, number) {
  const raw = (high - low) / number;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw) ?? raw;
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(Math.abs(value) < step / 1e6 ? 0 : value);
  return found;
}

/** @param {number} value */
export function label(value) {
  return Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 4 });
}
