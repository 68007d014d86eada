/** The settings as form controls, made from what the server says of them. */

/** @typedef {import("./address.js").Settings} Settings @typedef {import("./address.js").Catalogue} Catalogue */

const PLACES = {
  "data-controls": ["data", "noise", "num_points", "seed"],
  "flow-controls": ["recipe", "layers", "width", "activation", "log_scale", "mixing", "base"],
  "training-controls": ["learning_rate", "batch_size", "num_steps"],
};
/** @type {Record<string, string>} */
const LABELS = {
  data: "points", noise: "noise", num_points: "how many", seed: "seed", recipe: "recipe", layers: "layers", width: "width",
  activation: "activation", log_scale: "log-scale", mixing: "mixing", base: "base", learning_rate: "learning rate",
  batch_size: "batch", num_steps: "schedule",
};
/** @type {Record<string, string>} */
const WORDS = {
  nice: "NICE", realnvp: "RealNVP", maf: "MAF", nsf: "splines (NSF)", planar: "planar", radial: "radial",
  sylvester: "Sylvester", cnf: "CNF, likelihood", "cnf-matching": "CNF, matching",
  drawn: "drawn by hand", file: "your file", "probai-two-moons": "moons, a sample",
  "probai-two-blobs": "blobs, a sample", "probai-boomerang": "boomerang, a sample", none: "none (no swap)",
};
/** @type {Record<string, string>} */
const HINTS = {
  noise: "Standard deviation of the noise", mixing: "What stands between two layers", base: "What the latent is distributed as",
  log_scale: "How the logarithm of a scale is kept in bounds", num_steps: "Steps over which the learning rate falls to its end",
};
/** @type {Record<string, number>} */
const STEPS = { noise: 0.01, learning_rate: 0.001 };

export class Controls {
  /**
   * @param {Catalogue} catalogue
   * @param {(name: string, value: string | number, note: string) => void} changed
   */
  constructor(catalogue, changed) {
    this.catalogue = catalogue;
    /** @type {Record<string, HTMLSelectElement | HTMLInputElement>} */
    this.inputs = {};
    for (const [place, names] of Object.entries(PLACES)) {
      const box = /** @type {HTMLElement} */ (document.getElementById(place));
      for (const name of names) {
        const label = document.createElement("label");
        label.title = HINTS[name] ?? "";
        label.append(LABELS[name], this.made(name, changed));
        box.append(label);
      }
    }
  }

  /**
   * @param {string} name
   * @param {(name: string, value: string | number, note: string) => void} changed
   */
  made(name, changed) {
    const choices = this.catalogue.choices[name];
    const input = choices ? document.createElement("select") : document.createElement("input");
    input.id = `set-${name}`;
    if (input instanceof HTMLSelectElement) {
      for (const value of choices) input.add(new Option(WORDS[value] ?? value.replaceAll("-", " "), value));
      input.onchange = () => changed(name, input.value, "");
    } else {
      const [low, high] = this.catalogue.ranges[name];
      Object.assign(input, { type: "number", min: String(low), max: String(high), step: String(STEPS[name] ?? "1") });
      if (name === "learning_rate") input.step = "any";
      input.onchange = () => {
        const wanted = name in STEPS ? Number(input.value) : Math.round(Number(input.value));
        const value = Math.min(Math.max(wanted, low), high);
        const outside = input.value === "" || value !== wanted;
        changed(name, input.value === "" ? this.catalogue.first[name] : value, outside ? `${LABELS[name]} can be from ${low} to ${high.toLocaleString("en")}.` : "");
      };
    }
    this.inputs[name] = input;
    return input;
  }

  /**
   * A run in words.
   * @param {Settings} settings what differs from the settings at first
   */
  inWords(settings) {
    const all = { ...this.catalogue.first, ...settings };
    const has = (/** @type {string} */ name) => this.catalogue.recipes_with[name]?.includes(String(all.recipe));
    const word = (/** @type {string} */ name) => WORDS[String(all[name])] ?? String(all[name]).replaceAll("-", " ");
    return [word("data"), word("recipe"), has("layers") ? `${all.layers} layers` : "", `${word("base")} base`].filter(Boolean).join(", ");
  }

  /**
   * Show settings; controls that would do nothing are off.
   * @param {Settings} settings what differs from the settings at first
   */
  show(settings) {
    const all = { ...this.catalogue.first, ...settings };
    for (const [name, input] of Object.entries(this.inputs)) {
      const own = name === "noise" ? this.catalogue.own_noise[String(all.data)] : undefined;
      input.value = String(all[name] === 0 && own !== undefined ? own : all[name]);
      const needs = this.catalogue.recipes_with[name];
      input.disabled =
        (needs !== undefined && !needs.includes(String(all.recipe))) ||
        (name === "noise" && !(String(all.data) in this.catalogue.own_noise)) ||
        (name === "num_points" && !this.catalogue.toys.includes(String(all.data)));
    }
  }
}
