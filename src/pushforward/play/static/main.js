/** The page: settings, the line to the server, the pictures, the pointer, and the keys. */

import { firstLook, packPoints, readAddress, unpackPoints, writeAddress } from "./address.js";
import { apartColours, bar, densityColours, ownColour } from "./colours.js";
import { Connection } from "./connection.js";
import { Controls } from "./controls.js";
import { drawCurve } from "./curve.js";
import { Lessons } from "./lesson.js";
import { Layers, sayHowTheyAddUp } from "./layers.js";
import { Plane } from "./plane.js";
import { Recording, recorded } from "./recording.js";
import { download, picture } from "./save.js";

/** @typedef {import("./connection.js").Message} Message */

const DEPTH = 9; // nats of the density's colours below its top
const MOST_APART = 2; // nats of the strongest colour of the difference
const SPEEDS = { "1 a second": 1, "10 a second": 10, "100 a second": 100, "1,000 a second": 1000, "as fast as it goes": 0 };

/** @param {string} id */
const at = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
/** @param {string} id */
const input = (id) => /** @type {HTMLInputElement} */ (document.getElementById(id));
/** @param {string} id */
const plane = (id) => new Plane(/** @type {HTMLCanvasElement} */ (document.getElementById(id)));

const record = recorded();
const catalogue = record ? record.catalogue : /** @type {import("./address.js").Catalogue} */ (await (await fetch("controls.json")).json());
const start = readAddress(location.search, catalogue.first);
/** @type {import("./address.js").Settings} */
let settings = start.settings;
let look = start.look;
/** @type {boolean} */
let playing = start.fresh && !catalogue.lessons[start.lesson];
/** @type {Message | null} */
let opening = null;
/** @type {Message | null} */
let frame = null;
/** @type {number[]} */
let drawn = settings.drawn ? unpackPoints(String(settings.drawn), catalogue.drawn.unit) : [];

const planes = { points: plane("points"), density: plane("density"), exact: plane("exact"), difference: plane("difference"), latent: plane("latent") };
const layers = new Layers(at("strip"));
const controls = new Controls(catalogue, (name, value) => {
  settings = { ...settings, [name]: value, step: 0 };
  if (name === "data" && value !== "drawn") delete settings.drawn;
  if (name === "data" && value === "drawn") return setTool("brush");
  begin(playing);
});

const lessons = new Lessons(catalogue.lessons, openLesson, (name) => connection.send({ do: "show", lesson: name }));
let lesson = catalogue.lessons[start.lesson] ? start.lesson : "";
if (lesson) {
  lessons.open(lesson);
  if (start.fresh) ({ settings, look } = setUp(lesson));
}

for (const [text, value] of Object.entries(SPEEDS)) /** @type {HTMLSelectElement} */ (at("speed")).add(new Option(text, String(value)));
input("speed").value = "100";

// ---- the line to the server

/** @param {"open" | "lost" | "refused"} state */
function connected(state) {
  const lost = "The training has lost its server. If `pushforward play` still runs, this page comes back by itself; else start it again and open the address that it prints.";
  if (state === "open") {
    banner("");
    if (frame) settings = { ...settings, step: frame.head.step };
    begin(playing && !frame);
  } else {
    banner(state === "lost" ? lost : "This session goes on in another tab, or too many are open.");
  }
}
const connection = record ? new Recording(record.messages, receive) : new Connection(receive, connected);

/** @param {boolean} go */
function begin(go) {
  playing = go;
  connection.send({ do: "begin", settings, playing: go, speed: Number(input("speed").value) });
  controls.show(settings);
  remember();
  ask();
}

let asked = 0;
function ask() {
  asked = performance.now();
  connection.send({ do: "look", look });
}

/** @param {Message} message */
function receive(message) {
  const { head } = message;
  if (head.kind === "opening") {
    opening = message;
    layers.windows = [];
    showOpening(head);
  } else if (head.kind === "frame" && opening) {
    frame = message;
    requestAnimationFrame(() => {
      draw();
      ask();
    });
  } else if (head.kind === "file") {
    download(head.name, message.raw);
  } else if (head.kind === "answer") {
    lessons.answer(/** @type {any} */ (head));
    if (head.done) ask();
  } else if (head.kind === "error" || head.kind === "refused") {
    playing = false;
    showRun();
    banner(head.text);
  }
}

// ---- what is shown

/** @param {import("./connection.js").Head} head */
function showOpening(head) {
  banner("");
  const passes = head.passes.score === head.passes.sample ? "" : `; scoring takes ${head.passes.score} pass, sampling ${head.passes.sample}`;
  at("cost").textContent = `${head.parameters.toLocaleString("en")} parameters${passes}. ${head.num_train.toLocaleString("en")} training points, ${head.num_test.toLocaleString("en")} held out.`;
  at("entropy").textContent = head.entropy === null ? "nobody knows the law of these points" : `entropy ${head.entropy.toFixed(4)} nats: the least NLL there can be`;
}

function draw() {
  if (!frame || !opening) return;
  const { head, arrays } = frame;
  const window = /** @type {import("./plane.js").Window} */ (opening.head.window);
  playing = head.running;
  showRun();
  showNumbers(head);
  drawPoints(window);
  const top = Math.max(...(opening.arrays.exact ?? arrays.density).filter(Number.isFinite));
  drawDensity(planes.density, "density-bar", arrays.density, window, top);
  for (const id of ["exact", "difference"]) /** @type {HTMLElement} */ (at(id).parentElement).hidden = !opening.arrays.exact;
  if (opening.arrays.exact) {
    drawDensity(planes.exact, "exact-bar", opening.arrays.exact, window, top);
    drawDifference(window, top);
  }
  drawLatent();
  drawCurve(/** @type {HTMLCanvasElement} */ (at("curve")), head.curve, opening.head.floor, Math.max(head.step, 100));
  layers.draw(frame, window);
  drawStage();
  sayHowTheyAddUp(at("sum"), head.followed);
  showLayersUsed(head);
}

/** @param {import("./connection.js").Head} head */
function showNumbers(head) {
  const last = head.curve[head.curve.length - 1];
  at("at-step").textContent = head.step.toLocaleString("en");
  at("at-nll").textContent = last.test === null ? "∞" : last.test.toFixed(4);
  const known = last.excess !== undefined;
  at("at-excess").textContent = known ? (last.excess === null ? "∞" : `${last.excess.toFixed(4)} ± ${last.excess_error.toFixed(4)}`) : "–";
}

function showRun() {
  at("play").textContent = playing ? "Pause" : "Play";
  /** @type {HTMLButtonElement} */ (at("play")).disabled = !!frame?.head.ended;
}

/** @param {import("./plane.js").Window} window */
function drawPoints(window) {
  const picture = planes.points;
  picture.begin(window);
  if (frame && opening) {
    picture.points(opening.arrays.data, ownColour("data"), 2, 0.45);
    picture.points(frame.arrays.samples, ownColour("samples"), 2, 0.45);
  }
  if (drawn.length && tool() === "brush") picture.points(Float32Array.from(drawn), ownColour("data"), 3, 0.9);
  const square = look.square;
  if (square) picture.line([square[0], square[2], square[1], square[2], square[1], square[3], square[0], square[3]], "#c2185b", 2, true);
  if (look.follow) picture.mark(look.follow[0], look.follow[1], "#c2185b");
  picture.axes();
}

/**
 * @param {Plane} picture
 * @param {string} legend
 * @param {Float32Array} values
 * @param {import("./plane.js").Window} window
 * @param {number} top
 */
function drawDensity(picture, legend, values, window, top) {
  picture.begin(window);
  picture.heat(values, top - DEPTH, top, densityColours);
  if (look.follow) picture.mark(look.follow[0], look.follow[1], "#c2185b");
  bar(at(legend), densityColours, top - DEPTH, top);
}

/**
 * @param {import("./plane.js").Window} window
 * @param {number} top
 */
function drawDifference(window, top) {
  if (!frame || !opening) return;
  const exact = opening.arrays.exact;
  // Where both say that nothing lies there, they agree.
  const gap = frame.arrays.density.map((value, i) => Math.max(value, top - DEPTH) - Math.max(exact[i], top - DEPTH));
  planes.difference.begin(window);
  planes.difference.heat(gap, -MOST_APART, MOST_APART, apartColours);
  bar(at("difference-bar"), apartColours, -MOST_APART, MOST_APART);
}

function drawLatent() {
  if (!frame) return;
  planes.latent.begin([-3.6, 3.6, -3.6, 3.6]);
  for (const radius of [1, 2, 3]) planes.latent.circle(radius, ownColour("soft"));
  planes.latent.points(frame.arrays.latent, ownColour("data"), 2, 0.5);
  if (frame.arrays.path) {
    const way = frame.arrays.path;
    planes.latent.mark(way[way.length - 2], way[way.length - 1], "#c2185b");
  }
  planes.latent.axes(["z1", "z2"]);
}

function drawStage() {
  const stage = Number(input("stage").value);
  const names = frame ? frame.head.names : [];
  input("stage").max = String(names.length);
  const near = Math.round(stage);
  at("stage-out").textContent = near === 0 ? "data" : near === names.length ? "latent" : names[near - 1];
  if (stage > 0 && frame) {
    layers.between(planes.points, frame, stage);
    planes.points.axes(["", ""]);
  }
}

/** @param {import("./connection.js").Head} head */
function showLayersUsed(head) {
  const slider = input("layers-used");
  const most = new Set(head.names.filter((/** @type {string} */ name) => name.startsWith("layer"))).size;
  at("layers-used-box").hidden = most < 2;
  slider.max = String(most);
  if (look.layers === null || look.layers >= most) slider.value = String(most);
  else slider.value = String(look.layers);
  at("layers-used-out").textContent = slider.value === slider.max ? "all" : slider.value;
}

/** @param {string} text */
function banner(text) {
  at("banner").textContent = text;
  at("banner").hidden = !text;
}

/**
 * The page as a lesson wants it.
 * @param {string} name
 * @returns {{settings: import("./address.js").Settings, look: import("./address.js").Look}}
 */
function setUp(name) {
  const wanted = catalogue.lessons[name];
  return { settings: { ...wanted?.settings }, look: { ...firstLook(), ...wanted?.look } };
}

/** @param {string} name of a lesson, or none */
function openLesson(name) {
  lesson = name;
  frame = null;
  drawn = [];
  ({ settings, look } = setUp(name));
  input("stage").value = "0";
  showLook();
  begin(!name);
}

function showLook() {
  input("temperature").value = String(look.temperature);
  at("temperature-out").textContent = String(look.temperature);
}

// ---- what the visitor does

at("play").onclick = () => (playing ? pause() : play());
at("one-step").onclick = () => connection.send({ do: "step" });
at("one-epoch").onclick = () => connection.send({ do: "epoch" });
at("reset").onclick = () => {
  settings = { ...settings, step: 0 };
  begin(false);
};
input("speed").onchange = () => playing && play();
input("temperature").oninput = () => {
  look = { ...look, temperature: Number(input("temperature").value) };
  at("temperature-out").textContent = String(look.temperature);
  ask();
};
input("layers-used").oninput = () => {
  const value = Number(input("layers-used").value);
  look = { ...look, layers: value === Number(input("layers-used").max) ? null : value };
  ask();
};
input("stage").oninput = draw;
at("copy").onclick = async () => {
  remember();
  await navigator.clipboard.writeText(location.href);
  at("copy").textContent = "Copied";
  setTimeout(() => (at("copy").textContent = "Copy address"), 1500);
};
at("script").onclick = () => connection.send({ do: "script" });
for (const name of ["page", "animation"]) at(name).onclick = () => connection.send({ do: name });
at("model").onclick = () => connection.send({ do: "model" });
at("picture").onclick = () => picture(document, `pushforward, ${at("at-step").textContent} steps`);
for (const radio of document.querySelectorAll('input[name="tool"]')) /** @type {HTMLInputElement} */ (radio).onchange = draw;

function play() {
  playing = true;
  connection.send({ do: "play", speed: Number(input("speed").value) });
  showRun();
}

function pause() {
  playing = false;
  connection.send({ do: "pause" });
  showRun();
  setTimeout(remember, 300);
}

function remember() {
  if (record) return;
  const step = frame ? frame.head.step : (settings.step ?? 0);
  history.replaceState(null, "", writeAddress({ ...settings, step }, look, catalogue.first, lesson));
}

function tool() {
  return /** @type {HTMLInputElement} */ (document.querySelector('input[name="tool"]:checked')).value;
}

/** @param {string} name */
function setTool(name) {
  /** @type {HTMLInputElement} */ (document.querySelector(`input[name="tool"][value="${name}"]`)).checked = true;
  draw();
}

/** @type {[number, number] | null} */
let pressed = null;
const canvas = planes.points.canvas;
canvas.onpointerdown = (/** @type {PointerEvent} */ event) => {
  pressed = planes.points.at(event);
  canvas.setPointerCapture(event.pointerId);
  input("stage").value = "0";
  if (tool() === "brush" && settings.data !== "drawn") drawn = [];
  moved(event);
};
canvas.onpointermove = (/** @type {PointerEvent} */ event) => pressed && moved(event);
canvas.onpointerup = () => {
  pressed = null;
  if (tool() === "brush" && drawn.length >= 40) {
    settings = { ...settings, data: "drawn", drawn: packPoints(drawn, catalogue.drawn.unit), step: 0 };
    begin(playing);
  }
  remember();
};

/** @param {PointerEvent} event */
function moved(event) {
  const here = planes.points.at(event);
  if (!pressed) return;
  if (tool() === "follow") look = { ...look, follow: here };
  if (tool() === "square") {
    const [x, y] = pressed;
    const sides = /** @type {[number, number, number, number]} */ ([Math.min(x, here[0]), Math.max(x, here[0]), Math.min(y, here[1]), Math.max(y, here[1])]);
    look = { ...look, square: sides[1] - sides[0] > 0.02 && sides[3] - sides[2] > 0.02 ? sides : null };
  }
  if (tool() === "brush") spray(here);
  draw();
  if (tool() !== "brush") ask();
}

/** @param {[number, number]} here */
function spray(here) {
  const [left, right] = planes.points.window;
  const width = (right - left) / 40;
  for (let i = 0; i < 6 && drawn.length < 2 * catalogue.drawn.most; i++) {
    const [radius, angle] = [width * Math.sqrt(-Math.log(1 - Math.random()) / 2), 2 * Math.PI * Math.random()];
    drawn.push(here[0] + radius * Math.cos(angle), here[1] + radius * Math.sin(angle));
  }
}

canvas.onkeydown = (/** @type {KeyboardEvent} */ event) => {
  const ways = /** @type {Record<string, [number, number]>} */ ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] });
  const way = ways[event.key];
  if (!way) return;
  event.preventDefault();
  const [left, right, bottom, top] = planes.points.window;
  const size = (right - left) / (event.shiftKey ? 12 : 60);
  const from = look.follow ?? [(left + right) / 2, (bottom + top) / 2];
  look = { ...look, follow: [from[0] + size * way[0], from[1] + size * way[1]] };
  draw();
  ask();
};

document.addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "SELECT"].includes(target.tagName)) return;
  if (event.key === " " && target.tagName !== "BUTTON") {
    event.preventDefault();
    at("play").click();
  } else if (event.key === ".") at("one-step").click();
  else if (event.key === "e") at("one-epoch").click();
  else if (event.key === "r") at("reset").click();
  else if (event.key === "Escape") {
    look = { ...firstLook(), temperature: look.temperature, layers: look.layers };
    draw();
    ask();
  }
});

document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  const file = event.dataTransfer?.files[0];
  if (!file) return;
  settings = { ...settings, data: "file", step: 0 };
  const query = new URLSearchParams({ name: file.name, session: connection.session, settings: JSON.stringify(settings) });
  const answer = await (await fetch(`upload?${query}`, { method: "POST", body: file })).json();
  if (answer.error) return banner(answer.error);
  controls.show(settings);
  ask();
});

addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
setInterval(() => {
  if (performance.now() - asked > 3000) ask(); // a question that got lost
  if (playing) remember();
}, 1000);
showLook();
controls.show(settings);
if (record) begin(true);
