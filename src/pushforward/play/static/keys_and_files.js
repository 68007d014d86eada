/** What a visitor does to the page as a whole: keys, and files that are chosen or dropped. */

import { at, input } from "./parts.js";

const KEYS = /** @type {Record<string, string>} */ ({ " ": "play", ".": "one-step", e: "one-epoch", r: "reset" });

/** @param {() => void} clear take away what is marked */
export function onKeys(clear) {
  document.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "SELECT"].includes(target.tagName)) return;
    if (event.key === " " && ["BUTTON", "SUMMARY"].includes(target.tagName)) return; // it presses that
    if (event.key === "Escape") clear();
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    at(KEYS[event.key]).click();
  });
}

/** @param {(file: File) => void} take what was chosen or dropped */
export function onFiles(take) {
  at("choose").onclick = () => input("file").click();
  input("file").onchange = () => {
    const file = input("file").files?.[0];
    if (file) take(file);
    input("file").value = "";
  };
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (file) take(file);
  });
}
