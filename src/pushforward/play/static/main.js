/** The page: settings, the line to the server, the buttons, and the keys. */

import { firstLook, packPoints, readAddress, unpackPoints, writeAddress } from "./address.js";
import { Connection } from "./connection.js";
import { Controls } from "./controls.js";
import { Hand, setTool, tool } from "./hand.js";
import { Lessons } from "./lesson.js";
import { at, input } from "./parts.js";
import { Pictures } from "./pictures.js";
import { banner, fold, showNumbers, showLayersUsed, showOpening, showRun, showStage } from "./readout.js";
import { Recording, recorded } from "./recording.js";
import { download, picture } from "./save.js";

/** @typedef {import("./connection.js").Message} Message */

const SPEEDS = { "1 a second": 1, "10 a second": 10, "100 a second": 100, "1,000 a second": 1000, "as fast as it goes": 0 };
const ABOUT = "A normalizing flow learns the blue points: its samples, its density and every layer, while it trains. New here? Open a lesson. Or change anything.";
const DRAW = "Draw on the picture of the data, with the pointer: the points are learned when you let go.";
const LOST = "The training has lost its server. If `pushforward play` still runs, this page comes back by itself; else start it again and open the address that it prints.";
const TAKEN = "This session goes on in another tab. Reload this one to bring it back here.";

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
const controls = new Controls(catalogue, (name, value, note) => {
  if (name === "data" && value === "file") input("file").click();
  if (name === "data" && value === "drawn") {
    setTool("brush");
    showTool();
    banner(DRAW);
  }
  if (name === "data" && (value === "file" || value === "drawn")) return controls.show(settings);
  settings = { ...settings, [name]: value, step: 0 };
  if (name === "data") delete settings.drawn;
  begin(playing);
  banner(note);
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

/** @param {"open" | "lost" | "taken" | "full"} state */
function connected(state) {
  if (state === "open") {
    if (frame) settings = { ...settings, step: frame.head.step };
    begin(playing && !frame);
  } else {
    playing = false;
    showRun(playing);
    if (state !== "full") banner(state === "lost" ? LOST : TAKEN); // that all places are taken, the server has said
  }
}
const connection = record ? new Recording(record.messages, receive) : new Connection(receive, connected);

/** @param {boolean} go */
function begin(go) {
  playing = go;
  banner("");
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
    if (settings.step && !frame) at("about").textContent = `Training to step ${Number(settings.step).toLocaleString("en")} …`;
  } else if (head.kind === "frame" && opening) {
    frame = message;
    at("about").textContent = record ? `A run of pushforward, recorded: ${controls.inWords(opening.head.settings)}.` : ABOUT;
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
    if (!opening && head.kind === "refused" && Object.keys(settings).length) {
      settings = {}; // what the address asks for cannot be
      begin(false);
    }
    banner(head.text);
  }
}

// ---- what is shown

function draw() {
  if (!frame || !opening) return;
  const { head } = frame;
  playing = head.running;
  showRun(playing, head.ended);
  showNumbers(head);
  showStage(head.names);
  showLayersUsed(head.names, look.layers);
  pictures.draw(opening, frame, look, Number(input("stage").value), tool() === "brush" ? hand.drawn : []);
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
  setTool("follow");
  showTool();
  fold(lesson);
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

at("play").onclick = () => {
  if (playing) pause();
  else if (frame?.head.ended) again(true);
  else play();
};
at("one-step").onclick = () => connection.send({ do: "step" });
at("one-epoch").onclick = () => connection.send({ do: "epoch" });
at("reset").onclick = () => again(false);
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
at("picture").onclick = () => picture(document, `${controls.inWords(settings)}: ${at("at-step").textContent} steps, held-out NLL ${at("at-nll").textContent}`);
at("choose").onclick = () => input("file").click();
input("file").onchange = () => {
  const file = input("file").files?.[0];
  if (file) take(file);
  input("file").value = "";
};
at("clear").onclick = () => {
  hand.drawn = [];
  draw();
};
for (const radio of document.querySelectorAll('input[name="tool"]')) /** @type {HTMLInputElement} */ (radio).onchange = showTool;

/** @param {boolean} go on by itself, from step 0 */
function again(go) {
  settings = { ...settings, step: 0 };
  frame = null;
  begin(go);
}

function showTool() {
  at("clear").hidden = tool() !== "brush";
  draw();
}

function play() {
  playing = true;
  connection.send({ do: "play", speed: Number(input("speed").value) });
  showRun(playing);
}

function pause() {
  playing = false;
  connection.send({ do: "pause" });
  showRun(playing);
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
document.addEventListener("drop", (event) => {
  event.preventDefault();
  const file = event.dataTransfer?.files[0];
  if (file) take(file);
});

/** @param {File} file */
async function take(file) {
  const wanted = { ...settings, data: "file", step: 0 };
  const message = { do: "begin", settings: wanted, playing: true, speed: Number(input("speed").value) };
  const query = new URLSearchParams({ name: file.name, session: connection.session, message: JSON.stringify(message) });
  const answer = await (await fetch(`upload?${query}`, { method: "POST", body: file })).json();
  if (answer.error) return banner(`${file.name}: ${answer.error}`);
  settings = wanted;
  delete settings.drawn;
  banner("");
  controls.show(settings);
  ask();
}

addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
setInterval(() => {
  if (performance.now() - asked > 3000) ask(); // a question that got lost
  remember();
}, 1000);
showLook();
controls.show(settings);
if (record) begin(true);
fold(lesson);
