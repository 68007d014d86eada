/** Colours of numbers, made for eyes of every kind, and the page's own from its style sheet. */

const DENSITY = ["#1b1143", "#3b2a7a", "#3e5a93", "#37818e", "#3ca688", "#86c96a", "#f3e55b"];
const APART = ["#2166ac", "#6aaed6", "#c6dcec", "#f4f4f4", "#f6cdb8", "#dd7a5f", "#b2182b"];

/**
 * @param {string[]} stops
 * @returns {Uint8ClampedArray} 256 colours, three numbers each
 */
function table(stops) {
  const rgb = stops.map((text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16)));
  const found = new Uint8ClampedArray(256 * 3);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (rgb.length - 1);
    const low = Math.min(Math.floor(place), rgb.length - 2);
    for (let c = 0; c < 3; c++) found[3 * i + c] = rgb[low][c] + (rgb[low + 1][c] - rgb[low][c]) * (place - low);
  }
  return found;
}

export const densityColours = table(DENSITY);
export const apartColours = table(APART);

/**
 * @param {Uint8ClampedArray} colours
 * @param {number} share from 0 to 1
 */
export function css(colours, share) {
  const at = 3 * Math.round(255 * Math.min(Math.max(share, 0), 1));
  return `rgb(${colours[at]},${colours[at + 1]},${colours[at + 2]})`;
}

/**
 * A bar that says what the colours mean.
 * @param {HTMLElement} place
 * @param {Uint8ClampedArray} colours
 * @param {number} low
 * @param {number} high
 */
export function bar(place, colours, low, high) {
  const text = `${low.toFixed(1)}|${high.toFixed(1)}`;
  if (place.dataset.shown === text) return;
  place.dataset.shown = text;
  const strip = document.createElement("i");
  strip.style.background = `linear-gradient(to right, ${[0, 0.25, 0.5, 0.75, 1].map((at) => css(colours, at)).join(",")})`;
  place.replaceChildren(`${low.toFixed(1)}`, strip, `${high.toFixed(1)} nats`);
}

/** @type {Record<string, string>} */
let own = {};
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (own = {}));

/** @param {string} name of a colour of the style sheet */
export function ownColour(name) {
  own[name] ??= getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  return own[name];
}
