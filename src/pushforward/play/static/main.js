/** The page: settings, the line to the server, the buttons, and the keys. */

import { firstLook, packPoints, readAddress, unpackPoints, writeAddress } from "./address.js";
import { Connection } from "./connection.js";
import { Controls } from "./controls.js";
import { Hand, setTool, tool } from "./hand.js";
import { Lessons } from "./lesson.js";
import { at, input } from "./parts.js";
import { Pictures } from "./pictures.js";
import { Recording, recorded } from "./recording.js";
import { download, picture } from "./save.js";

/** @typedef {import("./connection.js").Message} Message */

const SPEEDS = { "1 a second": 1, "10 a second": 10, "100 a second": 100, "1,000 a second": 1000, "as fast as it goes": 0 };
const LOST = "The training has lost its server. If `pushforward play` still runs, this page comes back by itself; else start it again and open the address that it prints.";
const TAKEN = "This session goes on in another tab, or too many are open.";

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

const pictures = new Pictures();
const hand = new Hand(pictures.points, catalogue.drawn.most, {
  touched: () => {
    input("stage").value = "0";
    if (tool() === "brush" && settings.data !== "drawn") hand.drawn = [];
  },
  redraw: draw,
  look: () => look,
  looked: (part) => {
    look = { ...look, ...part };
    draw();
    ask();
  },
  drew: (points) => {
    settings = { ...settings, data: "drawn", drawn: packPoints(points, catalogue.drawn.unit), step: 0 };
    begin(playing);
  },
});
if (settings.drawn) hand.drawn = unpackPoints(String(settings.drawn), catalogue.drawn.unit);
const controls = new Controls(catalogue, (name, value) => {
  settings = { ...settings, [name]: value, step: 0 };
  if (name === "data" && value !== "drawn") delete settings.drawn;
  if (name === "data" && value === "drawn") {
    setTool("brush");
    return draw();
  }
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
  if (state === "open") {
    banner("");
    if (frame) settings = { ...settings, step: frame.head.step };
    begin(playing && !frame);
  } else {
    banner(state === "lost" ? LOST : TAKEN);
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
    pictures.begin();
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
  const { head } = frame;
  playing = head.running;
  showRun();
  showNumbers(head);
  showStage(head.names);
  showLayersUsed(head);
  pictures.draw(opening, frame, look, Number(input("stage").value), tool() === "brush" ? hand.drawn : []);
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

/** @param {string[]} names of the steps */
function showStage(names) {
  const slider = input("stage");
  slider.max = String(names.length);
  const near = Math.round(Number(slider.value));
  at("stage-out").textContent = near === 0 ? "data" : near === names.length ? "latent" : names[near - 1];
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
  hand.drawn = [];
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
}

function remember() {
  if (record) return;
  const step = frame ? frame.head.step : (settings.step ?? 0);
  history.replaceState(null, "", writeAddress({ ...settings, step }, look, catalogue.first, lesson));
}

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
  const wanted = { ...settings, data: "file", step: 0 };
  const query = new URLSearchParams({ name: file.name, session: connection.session, settings: JSON.stringify(wanted) });
  const answer = await (await fetch(`upload?${query}`, { method: "POST", body: file })).json();
  if (answer.error) return banner(answer.error);
  settings = wanted;
  controls.show(settings);
  ask();
});

addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
setInterval(() => {
  if (performance.now() - asked > 3000) ask(); // a question that got lost
  remember();
}, 1000);
showLook();
controls.show(settings);
if (record) begin(true);
