/** The words and numbers of the page beside its pictures. */

import { at, input } from "./parts.js";

/** @typedef {import("./connection.js").Head} Head */

export const ABOUT = "A normalizing flow learns the blue points: its samples, its density and every layer, while it trains. New here? Open a lesson. Or change anything.";
export const DRAW = "Draw on the picture of the data, with the pointer: the points are learned when you let go.";
export const LOST = "The training has lost its server. If `pushforward play` still runs, this page comes back by itself; else start it again and open the address that it prints.";
export const TAKEN = "This session goes on in another tab. Reload this one to bring it back here.";
const NARROW = 820; // pixels: the settings stand above the pictures

/** @param {string} text what the visitor should know; none to take away what stood there */
export function banner(text) {
  at("banner").textContent = text;
  at("banner").hidden = !text;
}

/** @param {Head} head of a message that begins a run */
export function showOpening(head) {
  const number = (/** @type {number} */ value) => value.toLocaleString("en");
  const passes = head.passes.score === head.passes.sample ? "" : `; scoring takes ${head.passes.score} pass, sampling ${head.passes.sample}`;
  if (head.note) banner(head.note);
  at("cost").textContent = `${number(head.parameters)} parameters${passes}. ${number(head.num_train)} training points, ${number(head.num_test)} held out.`;
  at("entropy").textContent =
    head.entropy === null ? "" : `entropy ${head.entropy.toFixed(4)} nats; its own NLL on these ${number(head.num_test)} held-out points ${head.floor.toFixed(4)}`;
}

/** @param {Head} head of a frame */
export function showNumbers(head) {
  const last = head.curve[head.curve.length - 1];
  const digits = (/** @type {number | null} */ value) => (value === null ? "∞" : value.toFixed(4));
  at("at-step").textContent = head.step.toLocaleString("en");
  at("at-nll").textContent = digits(last.test);
  at("at-excess").textContent =
    last.excess === undefined ? "–" : last.excess === null ? "∞" : `${digits(last.excess)} ± ${digits(last.excess_error)}`;
}

/**
 * @param {boolean} playing
 * @param {boolean} ended whether the schedule is done
 */
export function showRun(playing, ended = false) {
  at("play").textContent = playing ? "Pause" : ended ? "Again" : "Play";
}

/** @param {string[]} names of the steps from data to latent */
export function showStage(names) {
  const slider = input("stage");
  slider.max = String(names.length);
  const near = Math.round(Number(slider.value));
  const name = near === 0 ? "data" : near === names.length ? "latent" : names[near - 1];
  at("stage-out").textContent = name;
  at("points-title").hidden = Number(slider.value) > 0;
  at("way-title").hidden = Number(slider.value) === 0;
  at("way-title").textContent = `On the way: ${name}`;
}

/**
 * @param {string[]} names of the steps from data to latent
 * @param {number | null} used how many layers density and samples use; null for all
 */
export function showLayersUsed(names, used) {
  const slider = input("layers-used");
  const most = new Set(names.filter((name) => name.startsWith("layer"))).size;
  at("layers-used-box").hidden = most < 2;
  slider.max = String(most);
  slider.value = String(used === null ? most : Math.min(used, most));
  at("layers-used-out").textContent = slider.value === slider.max ? "all" : `${slider.value} of ${most}`;
  at("layers-used-note").hidden = most < 2 || slider.value === slider.max;
}

/**
 * Fold what a lesson does not need, and on a narrow screen all that stands above the pictures.
 * @param {string} lesson its name, if one is open
 */
export function fold(lesson) {
  for (const part of document.querySelectorAll("details")) {
    const isLesson = part.id === "lesson-box";
    part.open = innerWidth < NARROW ? isLesson && !!lesson : isLesson || !lesson || part.id === "data-box";
  }
}
