/** The losses against the steps, with the exact density's own loss as the floor. */

import { ownColour } from "./colours.js";
import { label, ticks } from "./plane.js";

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{step: number, train: number | null, test: number | null}[]} curve
 * @param {number | null} floor the loss of the exact density on the same held-out points
 * @param {number} lastStep
 */
export function drawCurve(canvas, curve, floor, lastStep) {
  const scale = Math.min(devicePixelRatio || 1, 2);
  const width = Math.round(canvas.clientWidth * scale);
  if (width && canvas.width !== width) canvas.width = canvas.height = width;
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  pen.fillStyle = ownColour("card");
  pen.fillRect(0, 0, canvas.width, canvas.height);
  const shown = curve.flatMap((row) => [row.train, row.test]).filter((value) => value !== null && Number.isFinite(value));
  if (!shown.length) return;
  const values = /** @type {number[]} */ (shown);
  const start = /** @type {number} */ (curve[0].test ?? values[0]);
  let low = Math.min(...values, floor ?? Infinity);
  let high = Math.min(Math.max(...values), start + 1.5);
  const margin = 0.08 * (high - low) + 0.02;
  low -= margin;
  high += margin;
  const most = Math.max(lastStep, 10);
  const box = { left: 42 * scale, right: canvas.width - 10 * scale, top: 10 * scale, bottom: canvas.height - 30 * scale };
  const across = (/** @type {number} */ step) => box.left + (step / most) * (box.right - box.left);
  const up = (/** @type {number} */ value) => box.bottom - ((Math.min(value, high) - low) / (high - low)) * (box.bottom - box.top);

  pen.font = `${11 * scale}px system-ui, sans-serif`;
  pen.lineWidth = scale;
  pen.strokeStyle = ownColour("line");
  pen.fillStyle = ownColour("soft");
  for (const value of ticks(low, high, 5)) {
    pen.beginPath();
    pen.moveTo(box.left, up(value));
    pen.lineTo(box.right, up(value));
    pen.stroke();
    pen.textAlign = "right";
    pen.fillText(label(value), box.left - 6 * scale, up(value) + 4 * scale);
  }
  for (const value of ticks(0, most, 4)) {
    pen.textAlign = "center";
    if (across(value) < box.right - 14 * scale) pen.fillText(label(value), across(value), box.bottom + 13 * scale);
  }
  pen.textAlign = "right";
  pen.fillText("steps", box.right, canvas.height - 4 * scale);
  pen.textAlign = "left";
  pen.fillText("nats", box.left + 4 * scale, box.top + 10 * scale);
  if (floor !== null) {
    pen.setLineDash([6 * scale, 4 * scale]);
    pen.strokeStyle = ownColour("ink");
    pen.beginPath();
    pen.moveTo(box.left, up(floor));
    pen.lineTo(box.right, up(floor));
    pen.stroke();
    pen.setLineDash([]);
    pen.fillStyle = ownColour("ink");
    pen.textAlign = "right";
    pen.fillText(`the exact density: ${floor.toFixed(4)}`, box.right, up(floor) + 14 * scale);
  }
  for (const name of /** @type {const} */ (["train", "test"])) {
    pen.beginPath();
    for (const row of curve) {
      const value = row[name];
      if (value !== null && Number.isFinite(value)) pen.lineTo(across(row.step), up(value));
    }
    pen.strokeStyle = ownColour(name);
    pen.lineWidth = (name === "test" ? 2.2 : 1.4) * scale;
    pen.stroke();
  }
}
