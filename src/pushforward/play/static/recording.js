/** A run that was recorded into the page, in place of a server. */

import { unpacked } from "./connection.js";

/** @typedef {import("./connection.js").Message} Message */

const PAUSE = 250; // milliseconds between two frames

/** @returns {{catalogue: import("./address.js").Catalogue, messages: string[]} | null} */
export function recorded() {
  const place = document.getElementById("recording");
  return place ? JSON.parse(place.textContent ?? "") : null;
}

export class Recording {
  /**
   * @param {string[]} messages base64: the opening and the frames
   * @param {(message: Message) => void} receive
   */
  constructor(messages, receive) {
    this.messages = messages.map((text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
    this.receive = receive;
    this.session = "";
    this.closed = true;
    this.at = 1;
    this.playing = false;
    this.run = 0;
    setInterval(() => {
      if (this.playing) this.go(this.at + 1);
    }, PAUSE);
    document.body.classList.add("recorded");
  }

  /** @param {number} place */
  part(place) {
    const message = unpacked(this.messages[place].slice(0));
    message.head.run = this.run;
    return message;
  }

  /** @param {number} place */
  go(place) {
    const last = this.messages.length - 1;
    this.at = Math.min(Math.max(place, 1), last);
    if (this.at === last) this.playing = false;
    const message = this.part(this.at);
    message.head.running = this.playing;
    message.head.ended = false;
    this.receive(message);
  }

  /** @param {Record<string, any>} message */
  send(message) {
    if (message.do === "begin") {
      this.run = message.run;
      this.receive(this.part(0));
      this.playing = message.playing;
      this.go(1);
    } else if (message.do === "play") {
      this.playing = true;
      if (this.at === this.messages.length - 1) this.go(1);
    } else if (message.do === "pause") this.playing = false;
    else if (message.do === "step") this.go(this.at + 1);
    else if (message.do === "epoch") this.go(this.at + 5);
  }
}
