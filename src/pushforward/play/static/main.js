/** The page: settings, the line to the server, the buttons, and the keys. */

import { firstLook, packPoints, readAddress, unpackPoints, writeAddress } from "./address.js";
import { Connection, sent } from "./connection.js";
import { Controls } from "./controls.js";
import { Hand, setTool, tool } from "./hand.js";
import { onFiles, onKeys } from "./keys_and_files.js";
import { Lessons } from "./lesson.js";
import { at, input } from "./parts.js";
import { Pictures } from "./pictures.js";
import { ABOUT, DRAW, LOST, TAKEN, banner, fold, showNumbers, showLayersUsed, showOpening, showRun, showStage } from "./readout.js";
import { Recording, recorded } from "./recording.js";
import { download, picture } from "./save.js";

/** @typedef {import("./connection.js").Message} Message */

const record = recorded();
const catalogue = record ? record.catalogue : /** @type {import("./address.js").Catalogue} */ (await (await fetch("controls.json")).json());
const start = readAddress(location.search, catalogue.first);
/** @type {import("./address.js").Settings} */
let settings = start.settings;
let look = start.look;
let playing = start.fresh && !Object.hasOwn(catalogue.lessons, start.lesson);
/** @type {Message | null} */
let opening = null;
/** @type {Message | null} */
let frame = null;
let run = 0; // which one: messages of those before are late
/** @type {import("./address.js").Settings} */
let good = {}; // settings of the last run that began

const pictures = new Pictures();
const hand = new Hand(pictures.points, catalogue.drawn.most, {
  touched: () => (input("stage").value = "0"),
  redraw: draw,
  look: () => look,
  looked: (part) => {
    if (record) return;
    look = { ...look, ...part };
    draw();
    askSoon();
  },
  refused: banner,
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
  if (name === "data") {
    delete settings.drawn;
    hand.drawn = [];
  }
  begin(playing);
  banner(note);
});

const lessons = new Lessons(catalogue.lessons, openLesson, (name) => connection.send({ do: "show", lesson: name }));
let lesson = Object.hasOwn(catalogue.lessons, start.lesson) ? start.lesson : "";
if (lesson) {
  lessons.open(lesson);
  if (start.fresh) ({ settings, look } = lessons.setUp(lesson));
}

/** @param {"open" | "lost" | "taken" | "closed"} state */
function connected(state) {
  if (state === "open") {
    if (current()) settings = { ...settings, step: frame?.head.step };
    begin(playing && !current());
  } else if (state !== "closed") {
    playing = false;
    showRun(playing);
    banner(state === "lost" ? LOST : TAKEN);
    /** @type {HTMLElement} */ (document.querySelector("main")).inert = state === "taken";
  }
}
const connection = record ? new Recording(record.messages, receive) : new Connection(receive, connected);

/** Whether what is shown is of the run that was asked for. */
const current = () => frame !== null && frame.head.run === run;

/** @param {boolean} go */
function begin(go) {
  playing = go;
  run++;
  banner("");
  connection.send({ do: "begin", run, settings, playing: go, speed: Number(input("speed").value) });
  controls.show(settings);
  remember();
  ask();
}

let asked = 0;
function ask() {
  asked = performance.now();
  connection.send({ do: "look", look });
}

let asking = false;
/** Ask before the next picture is drawn, once. */
function askSoon() {
  if (asking) return;
  asking = true;
  requestAnimationFrame(() => {
    asking = false;
    ask();
  });
}

/** @param {Message} message */
function receive(message) {
  const { head } = message;
  if ((head.kind === "opening" || head.kind === "frame") && head.run !== run) return;
  if (head.kind === "opening") {
    opening = message;
    good = settings;
    lessons.free();
    pictures.begin();
    showOpening(head);
    if (settings.step && !current()) at("about").textContent = `Training to step ${Number(settings.step).toLocaleString("en")} …`;
  } else if (head.kind === "frame" && opening?.head.run === run) {
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
  } else if (head.kind === "error" || head.kind === "refused" || head.kind === "closed") {
    if (head.task === "begin") refusedRun();
    if (head.task === "look") {
      look = firstLook();
      showLook();
      ask();
    }
    banner(head.text);
  }
}

function draw() {
  if (!frame || !opening || opening.head.run !== frame.head.run) return;
  const { head } = frame;
  playing = head.running;
  showRun(playing, head.ended);
  showNumbers(head);
  showStage(head.names);
  showLayersUsed(head.names, look.layers);
  pictures.draw(opening, frame, marked(head), Number(input("stage").value), tool() === "brush" ? hand.drawn : []);
}

/** @param {string} name of a lesson, or none */
function openLesson(name) {
  lesson = name;
  setTool("follow");
  showTool();
  fold(lesson);
  hand.drawn = [];
  ({ settings, look } = lessons.setUp(name));
  input("stage").value = "0";
  showLook();
  begin(!name);
}

/** What the page asked for cannot be: it goes back to the run before, or to that of a first visit. */
function refusedRun() {
  settings = good;
  if (opening) run = opening.head.run;
  else begin(false);
  controls.show(settings);
  remember();
  ask();
}

/**
 * The point and the square to be marked: where the visitor points, or those of a recorded frame.
 * @param {import("./connection.js").Head} head of a frame
 * @returns {Pick<import("./address.js").Look, "follow" | "square">}
 */
function marked(head) {
  return record ? { follow: head.followed?.point ?? null, square: head.square?.sides ?? null } : look;
}

function showLook() {
  input("temperature").value = String(look.temperature);
  at("temperature-out").textContent = String(look.temperature);
}

at("play").onclick = () => {
  if (playing) pause();
  else if (current() && frame?.head.ended) again(true);
  else play();
};
at("one-step").onclick = () => connection.send({ do: "step" });
at("one-epoch").onclick = () => connection.send({ do: "epoch" });
at("reset").onclick = () => again(false);
input("speed").onchange = () => playing && play();
input("temperature").oninput = () => {
  look = { ...look, temperature: Number(input("temperature").value) };
  at("temperature-out").textContent = String(look.temperature);
  askSoon();
};
input("layers-used").oninput = () => {
  const value = Number(input("layers-used").value);
  look = { ...look, layers: value === Number(input("layers-used").max) ? null : value };
  askSoon();
};
input("stage").oninput = draw;
at("copy").onclick = async () => {
  remember();
  await navigator.clipboard.writeText(location.href);
  at("copy").textContent = "Copied";
  setTimeout(() => (at("copy").textContent = "Copy address"), 1500);
};
for (const name of ["script", "model", "page", "animation"]) at(name).onclick = () => connection.send({ do: name });
at("picture").onclick = () => picture(document, `${controls.inWords(settings)}: ${at("at-step").textContent} steps, held-out NLL ${at("at-nll").textContent}`);
at("clear").onclick = () => {
  hand.drawn = [];
  draw();
};
for (const radio of document.querySelectorAll('input[name="tool"]')) /** @type {HTMLInputElement} */ (radio).onchange = showTool;

/** @param {boolean} go on by itself, from step 0 */
function again(go) {
  settings = { ...settings, step: 0 };
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
  const step = current() ? frame?.head.goal : (settings.step ?? 0);
  history.replaceState(null, "", writeAddress({ ...settings, step }, look, catalogue.first, lesson));
}

onKeys(() => {
  look = { ...firstLook(), temperature: look.temperature, layers: look.layers };
  draw();
  ask();
});
if (!record) onFiles(take);

/** @param {File} file */
async function take(file) {
  if (connection.closed) return;
  /** @type {import("./address.js").Settings} */
  const wanted = { ...settings, data: "file", step: 0 };
  delete wanted.drawn;
  const message = { do: "begin", run: run + 1, settings: wanted, playing: true, speed: Number(input("speed").value) };
  const query = new URLSearchParams({ name: file.name, session: connection.session, message: JSON.stringify(message) });
  banner("");
  run++;
  const answer = await sent(`upload?${query}`, file);
  if (answer.error) {
    refusedRun();
    banner(`${file.name}: ${answer.error}`);
    return;
  }
  settings = good = wanted;
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
