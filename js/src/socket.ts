// A session for existing applications: a class in the shape of `WebSocket`, for `newWebSocketRpcSession`.

import { type Change, Engine, type State } from "./engine.js";
import type { SessionError } from "./errors.js";
import { type LinkOptions, nudgeWithPage, settingsOf } from "./session.js";

/** The longest reason of a `CloseEvent`, in characters. */
const REASON_MAX = 123;

/**
 * A WebSocket for Cap'n Web messages that outlives its connections:
 * `newWebSocketRpcSession(new ResumableWebSocket(url))`.
 *
 * It is open from its first connection until the session ends. Besides the events of a WebSocket, it dispatches those
 * of `Session`.
 */
export class ResumableWebSocket extends EventTarget {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSING = 2;
  static readonly CLOSED = 3;
  readonly CONNECTING = 0;
  readonly OPEN = 1;
  readonly CLOSING = 2;
  readonly CLOSED = 3;

  readonly url: string;
  readonly protocol = "";
  readonly extensions = "";
  binaryType: BinaryType = "blob";
  onopen: ((event: Event) => void) | null = null;
  onmessage: ((event: MessageEvent) => void) | null = null;
  onclose: ((event: CloseEvent) => void) | null = null;
  onerror: ((event: Event) => void) | null = null;

  #readyState: number = this.CONNECTING;
  readonly #engine: Engine;

  constructor(url: string | URL, options: LinkOptions = {}) {
    super();
    const base = settingsOf(url, options);
    this.url = base.url;
    const stop = nudgeWithPage(() => this.#engine);
    this.#engine = new Engine({ ...base, save: undefined, changed: (change) => this.#changed(change) }, {
      deliver: (message) => this.#emit(new MessageEvent("message", { data: JSON.stringify(message) })),
      ended: (error) => (stop(), this.#ended(error)),
    });
  }

  get readyState(): number {
    return this.#readyState;
  }

  /** What the session is doing, in more detail than `readyState`. */
  get state(): State {
    return this.#engine.state;
  }

  /** The size of what waits to be sent. */
  get bufferedAmount(): number {
    return this.#engine.link.outbox.bytes;
  }

  /** Sends a message of Cap'n Web. */
  send(text: string): void {
    if (this.#readyState === this.CONNECTING) throw new DOMException("the session is not open yet", "InvalidStateError");
    const message: unknown = JSON.parse(text);
    if (!Array.isArray(message)) throw new TypeError("a message of Cap'n Web is a JSON array");
    this.#engine.send(message);
  }

  close(_code?: number, reason?: string): void {
    this.#engine.close(reason);
  }

  #changed(change: Change): void {
    const { type, ...detail } = change;
    if (type === "attached") {
      this.#readyState = this.OPEN;
      this.#emit(new Event("open"));
    }
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #ended(error: SessionError): void {
    if (this.#readyState === this.CLOSED) return;
    this.#readyState = this.CLOSED;
    const isLost = this.#engine.state === "lost";
    const reason = `${error.code}: ${error.message}`.slice(0, REASON_MAX);
    // Node.js 20 has no `CloseEvent`.
    this.#emit(Object.assign(new Event("close"), { code: isLost ? 4410 : 1000, reason, wasClean: !isLost }));
  }

  #emit(event: Event): void {
    const handler = this[`on${event.type}` as "onopen"];
    handler?.call(this, event);
    this.dispatchEvent(event);
  }
}
