/** The settings as form controls, made from what the server says of them. */

/** @typedef {import("./address.js").Settings} Settings @typedef {import("./address.js").Catalogue} Catalogue */

const PLACES = {
  "data-controls": ["data", "noise", "num_points", "seed"],
  "flow-controls": ["recipe", "layers", "width", "activation", "log_scale", "mixing", "base"],
  "training-controls": ["learning_rate", "batch_size", "num_steps"],
};
/** @type {Record<string, string>} */
const LABELS = {
  data: "points", noise: "noise", num_points: "number", seed: "seed", recipe: "recipe", layers: "layers", width: "width",
  activation: "activation", log_scale: "log-scale", mixing: "mixing", base: "base", learning_rate: "learning rate",
  batch_size: "batch", num_steps: "steps in all",
};
/** @type {Record<string, string>} */
const WORDS = {
  nice: "NICE", realnvp: "RealNVP", maf: "MAF", nsf: "neural spline flow", planar: "planar", radial: "radial",
  sylvester: "Sylvester", cnf: "continuous, by likelihood", "cnf-matching": "continuous, by matching",
  drawn: "drawn by hand", file: "a file (drop it here)", "probai-two-moons": "sample: two moons",
  "probai-two-blobs": "sample: two blobs", "probai-boomerang": "sample: boomerang", none: "none: no swap",
};
/** @type {Record<string, number>} */
const STEPS = { noise: 0.01, learning_rate: 0.001 };

export class Controls {
  /**
   * @param {Catalogue} catalogue
   * @param {(name: string, value: string | number) => void} changed
   */
  constructor(catalogue, changed) {
    this.catalogue = catalogue;
    /** @type {Record<string, HTMLSelectElement | HTMLInputElement>} */
    this.inputs = {};
    for (const [place, names] of Object.entries(PLACES)) {
      const box = /** @type {HTMLElement} */ (document.getElementById(place));
      for (const name of names) {
        const label = document.createElement("label");
        label.append(LABELS[name], this.made(name, changed));
        box.append(label);
      }
    }
  }

  /**
   * @param {string} name
   * @param {(name: string, value: string | number) => void} changed
   */
  made(name, changed) {
    const choices = this.catalogue.choices[name];
    const input = choices ? document.createElement("select") : document.createElement("input");
    input.id = `set-${name}`;
    if (input instanceof HTMLSelectElement) {
      for (const value of choices) input.add(new Option(WORDS[value] ?? value.replaceAll("-", " "), value));
      input.onchange = () => changed(name, input.value);
    } else {
      const [low, high] = this.catalogue.ranges[name];
      Object.assign(input, { type: "number", min: String(name === "noise" ? 0 : low), max: String(high), step: String(STEPS[name] ?? "1") });
      if (name === "learning_rate") input.step = "any";
      input.onchange = () => {
        const value = Math.min(Math.max(Number(input.value), Number(input.min)), high);
        if (Number.isFinite(value) && input.value !== "") changed(name, name in STEPS ? value : Math.round(value));
      };
    }
    this.inputs[name] = input;
    return input;
  }

  /**
   * Show settings; controls that would do nothing are off.
   * @param {Settings} settings what differs from the settings at first
   */
  show(settings) {
    const all = { ...this.catalogue.first, ...settings };
    for (const [name, input] of Object.entries(this.inputs)) {
      if (document.activeElement !== input || input instanceof HTMLSelectElement) input.value = String(all[name]);
      const needs = this.catalogue.recipes_with[name];
      input.disabled =
        (needs !== undefined && !needs.includes(String(all.recipe))) ||
        (name === "noise" && !this.catalogue.with_noise.includes(String(all.data))) ||
        (name === "num_points" && !this.catalogue.toys.includes(String(all.data)));
    }
  }
}
