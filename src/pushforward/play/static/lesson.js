/** The lessons: a text and a question, the page set up for it, and an experiment that answers. */

import { firstLook } from "./address.js";

/** @typedef {{title: string, text: string[], question: string, settings: Record<string, any>, look: Record<string, any>}} Lesson */

export class Lessons {
  /**
   * @param {Record<string, Lesson>} lessons
   * @param {(name: string) => void} opened
   * @param {(name: string) => void} show
   */
  constructor(lessons, opened, show) {
    this.lessons = lessons;
    this.show = show;
    this.select = /** @type {HTMLSelectElement} */ (document.getElementById("lesson"));
    this.place = /** @type {HTMLElement} */ (document.getElementById("lesson-text"));
    this.select.add(new Option("choose a question", ""));
    for (const [name, lesson] of Object.entries(lessons)) this.select.add(new Option(lesson.title, name));
    this.select.onchange = () => {
      this.open(this.select.value);
      opened(this.select.value);
    };
  }

  /** @param {string} name */
  open(name) {
    const lesson = this.lessons[name];
    this.select.value = lesson ? name : "";
    this.place.replaceChildren();
    if (!lesson) return;
    const question = paragraph(lesson.question);
    question.classList.add("question");
    const button = document.createElement("button");
    button.id = "show-me";
    button.textContent = "Show me";
    button.onclick = () => this.show(name);
    const answer = document.createElement("div");
    answer.id = "answer";
    answer.setAttribute("aria-live", "polite");
    this.place.append(...lesson.text.map(paragraph), question, button, answer);
  }

  /**
   * The page as a lesson wants it.
   * @param {string} name
   * @returns {{settings: import("./address.js").Settings, look: import("./address.js").Look}}
   */
  setUp(name) {
    const wanted = this.lessons[name];
    return { settings: { ...wanted?.settings }, look: { ...firstLook(), ...wanted?.look } };
  }

  /** A run begins: no experiment is on its way. */
  free() {
    const button = /** @type {HTMLButtonElement | null} */ (document.getElementById("show-me"));
    if (!button?.disabled) return;
    button.disabled = false;
    button.textContent = "Show me again";
  }

  /** @param {{lesson: string, sentence: string, done: boolean}} head of a message of the server */
  answer(head) {
    const place = document.getElementById("answer");
    const button = /** @type {HTMLButtonElement | null} */ (document.getElementById("show-me"));
    if (!place || !button || head.lesson !== this.select.value) return;
    button.disabled = !head.done;
    button.textContent = head.done ? "Show me again" : "The experiment runs …";
    if (!head.sentence && !head.done) {
      place.replaceChildren();
      place.className = "answer";
    }
    if (head.sentence) place.append(paragraph(head.sentence));
    place.dataset.done = String(head.done);
  }
}

/** @param {string} text */
function paragraph(text) {
  const made = document.createElement("p");
  made.textContent = text;
  return made;
}
