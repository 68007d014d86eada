/** The whole state of the page in its address: what differs from the settings at first, and how the flow is looked at. */

/**
 * @typedef {Record<string, string | number>} Settings
 * @typedef {{temperature: number, layers: number | null, follow: [number, number] | null,
 *   square: [number, number, number, number] | null}} Look
 * @typedef {{first: Settings, choices: Record<string, string[]>, ranges: Record<string, [number, number]>,
 *   recipes_with: Record<string, string[]>, lessons: Record<string, import("./lesson.js").Lesson>, own_noise: Record<string, number>, toys: string[], drawn: {most: number, unit: number}}} Catalogue
 */

/** @returns {Look} */
export function firstLook() {
  return { temperature: 1, layers: null, follow: null, square: null };
}

/**
 * Read the address; what cannot be read is left as at first.
 * @param {string} query
 * @param {Settings} first
 * @returns {{settings: Settings, look: Look, lesson: string, fresh: boolean}}
 */
export function readAddress(query, first) {
  const given = new URLSearchParams(query);
  /** @type {Settings} */
  const settings = {};
  for (const [name, value] of given) {
    if (!Object.hasOwn(first, name)) continue;
    settings[name] = typeof first[name] === "number" ? Number(value) : value;
  }
  const look = firstLook();
  const numbers = (/** @type {string} */ name) => (given.get(name) ?? "").split(",").filter(Boolean).map(Number);
  const follow = numbers("follow");
  const square = numbers("square");
  if (follow.length === 2 && follow.every(Number.isFinite)) look.follow = /** @type {[number, number]} */ (follow);
  if (square.length === 4 && square.every(Number.isFinite)) look.square = /** @type {Look["square"]} */ (square);
  if (given.has("temperature")) look.temperature = Number(given.get("temperature")) || 0;
  if (given.has("layers_used")) look.layers = Number(given.get("layers_used")) || 0;
  return { settings, look, lesson: given.get("lesson") ?? "", fresh: [...given.keys()].every((name) => name === "lesson") };
}

/**
 * @param {Settings} settings
 * @param {Look} look
 * @param {Settings} first
 * @param {string} lesson
 */
export function writeAddress(settings, look, first, lesson) {
  const query = new URLSearchParams();
  if (lesson) query.set("lesson", lesson);
  for (const [name, value] of Object.entries(settings)) if (value !== first[name]) query.set(name, String(value));
  const short = (/** @type {number} */ value) => Number(value.toPrecision(5));
  if (look.follow) query.set("follow", look.follow.map(short).join(","));
  if (look.square) query.set("square", look.square.map(short).join(","));
  if (look.temperature !== 1) query.set("temperature", String(look.temperature));
  if (look.layers !== null) query.set("layers_used", String(look.layers));
  const text = query.toString().replaceAll("%2C", ",");
  return text ? `?${text}` : location.pathname;
}

/**
 * Points drawn by hand as text: 16 bits a coordinate, url-safe base64.
 * @param {number[]} points x and y in turn
 * @param {number} unit
 */
export function packPoints(points, unit) {
  const units = Int16Array.from(points, (value) => Math.max(-32768, Math.min(32767, Math.round(value / unit))));
  const bytes = new Uint8Array(units.buffer);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/**
 * @param {string} text
 * @param {number} unit
 * @returns {number[]}
 */
export function unpackPoints(text, unit) {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return []; // the server says what is wrong with it
  const raw = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(raw, (letter) => letter.charCodeAt(0));
  return Array.from(new Int16Array(bytes.buffer.slice(0, bytes.length & ~3)), (value) => value * unit);
}
