/** The parts of the page by their names. */

/** @param {string} id */
export const at = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
/** @param {string} id */
export const input = (id) => /** @type {HTMLInputElement} */ (document.getElementById(id));
/** @param {string} id */
export const canvas = (id) => /** @type {HTMLCanvasElement} */ (document.getElementById(id));
