/** The line to the server: messages out as JSON, in as JSON with raw float32 behind it. */

/**
 * @typedef {{kind: string, arrays: Record<string, number[]>, [name: string]: any}} Head
 * @typedef {{head: Head, arrays: Record<string, Float32Array>, raw: Uint8Array}} Message
 */

/**
 * Take a message apart, as `frames.packed` of the server made it.
 * @param {ArrayBuffer} buffer
 * @returns {Message}
 */
export function unpacked(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let place = 4 + length;
  /** @type {Record<string, Float32Array>} */
  const arrays = {};
  for (const [name, shape] of Object.entries(head.arrays)) {
    const size = /** @type {number[]} */ (shape).reduce((a, b) => a * b, 1);
    arrays[name] = new Float32Array(buffer, place, size);
    place += 4 * size;
  }
  return { head, arrays, raw: new Uint8Array(buffer, place) };
}

/** A WebSocket that comes back: the same session as long as the tab is open. */
export class Connection {
  /**
   * @param {(message: Message) => void} receive
   * @param {(state: "open" | "lost" | "taken" | "closed") => void} tell
   */
  constructor(receive, tell) {
    this.receive = receive;
    this.tell = tell;
    this.session = sessionStorage.getItem("session") ?? newName();
    sessionStorage.setItem("session", this.session);
    /** @type {WebSocket | null} */
    this.socket = null;
    this.closed = false; // for good: another tab has the session
    this.open();
  }

  open() {
    const socket = new WebSocket(`ws://${location.host}/socket?session=${this.session}`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.tell("open");
    socket.onmessage = (event) => this.receive(unpacked(event.data));
    socket.onclose = (event) => {
      this.socket = null;
      this.tell(event.code === 4410 ? "taken" : event.code === 4429 ? "closed" : "lost");
      // 4410: the session goes on in another tab, which would lose it again.
      this.closed = event.code === 4410;
      if (!this.closed) setTimeout(() => this.open(), event.code === 4429 ? 3000 : 1000);
    };
    this.socket = socket;
  }

  /** @param {Record<string, any>} message */
  send(message) {
    if (this.socket !== null && this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }
}

/**
 * Send a file to the server.
 * @param {string} address
 * @param {File} file
 * @returns {Promise<{error?: string}>}
 */
export async function sent(address, file) {
  try {
    return await (await fetch(address, { method: "POST", body: file })).json();
  } catch {
    return { error: "it could not be sent: does `pushforward play` still run?" };
  }
}

function newName() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
