// Opening a connection: negotiation, and the frames that open or resume a session. See docs/link.md, "Negotiation".

import { SessionError } from "./errors.js";
import { type Frame, type Refused, SUBPROTOCOL, readFrame } from "./frames.js";

/** The part of the standard `WebSocket` that is used, so that others fit: that of the package `ws`, for Node.js. */
export interface Socket {
  readonly protocol: string;
  readonly bufferedAmount: number;
  send(text: string): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: "open" | "message" | "close" | "error", listener: (event: any) => void): void;
}

export type SocketClass = new (url: string, protocols?: string[]) => Socket;

/** How long a server that selected the link may take to send its challenge. */
const CHALLENGE_MS = 4_000;

/** How many texts of a server may wait during a handshake. */
const TEXTS_MAX = 256;

/** For how long a server without the link is not offered it, and how many servers are remembered. */
const PLAIN_MS = 600_000;
const PLAIN_MAX = 256;

const plainServers = new Map<string, number>();

/** Returns 16 random bytes in base64url. */
export function randomId(): string {
  return base64url(crypto.getRandomValues(new Uint8Array(16)));
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/** An open connection whose texts are read one by one until `listen` is called. */
export class Connection {
  #texts: string[] = [];
  #end: string | undefined;
  #wake: (() => void) | undefined;
  #listener: ((text: string) => void) | undefined;
  #onEnd: ((reason: string, code: number) => void) | undefined;

  constructor(readonly socket: Socket) {
    socket.addEventListener("message", ({ data }) => {
      if (typeof data !== "string") return this.close(4400, "a message is not text");
      if (this.#listener) return this.#listener(data);
      if (this.#texts.length >= TEXTS_MAX) return this.close(4413, `more than ${TEXTS_MAX} texts during the handshake`);
      this.#texts.push(data);
      this.#wake?.();
    });
    socket.addEventListener("close", ({ code, reason }) => this.#ended(`the connection was closed: ${code} ${reason}`, code));
    socket.addEventListener("error", () => this.#ended("the connection failed", 1006));
  }

  #ended(reason: string, code: number): void {
    if (this.#end !== undefined) return;
    this.#end = reason;
    this.#wake?.();
    this.#onEnd?.(reason, code);
  }

  /** Waits for the next frame. Throws `Error` if the connection ends, and `NotLinked` if a message comes. */
  async frame(withinMs: number): Promise<Frame> {
    const until = Date.now() + withinMs;
    for (;;) {
      const text = this.#texts.shift();
      if (text !== undefined) {
        if (!/^\s*\{/.test(text)) throw new NotLinked();
        return readFrame(text);
      }
      if (this.#end !== undefined) throw new Error(this.#end);
      const left = until - Date.now();
      if (left <= 0) throw new NotLinked();
      await new Promise<void>((wake) => {
        const timer = setTimeout(wake, left);
        this.#wake = () => (clearTimeout(timer), wake());
      });
    }
  }

  /** Delivers the texts that follow to `listener`, and the end of the connection to `onEnd`. */
  listen(listener: (text: string) => void, onEnd: (reason: string, code: number) => void): void {
    this.#onEnd = onEnd;
    this.#listener = listener;
    for (const text of this.#texts.splice(0)) listener(text);
    if (this.#end !== undefined) onEnd(this.#end, 1006);
  }

  /** Sends a text. A connection that is closing takes nothing; what was not acknowledged is sent on the next one. */
  send(text: string): void {
    try {
      this.socket.send(text);
    } catch (error) {
      this.#ended(String(error), 1006);
    }
  }

  /** Closes the connection. Nothing that arrives later is delivered. */
  close(code = 1000, reason = ""): void {
    this.#ended(reason, code);
    this.#listener = () => {};
    try {
      this.socket.close(code === 1000 || code >= 3000 ? code : 1000, reason);
    } catch {
      // The connection was not open yet; the browser ends it.
    }
  }
}

/** The server does not speak the link protocol. */
export class NotLinked extends Error {}

/** Opens a WebSocket. The promise is rejected if the handshake fails, or takes longer than `withinMs`. */
export function open(Class: SocketClass, url: string, protocols: string[] | undefined, withinMs: number): Promise<Connection> {
  return new Promise((resolve, reject) => {
    // Without protocols, the argument is left out: an empty list is an offer to some classes.
    const connection = new Connection(protocols ? new Class(url, protocols) : new Class(url));
    const { socket } = connection;
    const fail = (message: string) => {
      clearTimeout(timer);
      reject(new Error(message));
      connection.close();
    };
    const timer = setTimeout(() => fail(`no connection within ${withinMs} ms`), withinMs);
    socket.addEventListener("open", () => (clearTimeout(timer), resolve(connection)));
    socket.addEventListener("close", ({ code }) => fail(`the handshake failed (${code})`));
    socket.addEventListener("error", () => fail("the handshake failed"));
  });
}

/** A connection with the link, whose challenge has arrived, or one of a plain session. */
export interface Opened {
  connection: Connection;
  challenge?: string;
}

/** Opens a connection, and offers the link unless the server has declined it within the last 10 minutes. */
export async function dial(Class: SocketClass, url: string, withinMs: number): Promise<Opened> {
  const origin = new URL(url).origin;
  const since = plainServers.get(origin);
  // Without the cryptography of secure contexts, a session could not be resumed.
  const isPlain = (since !== undefined && Date.now() - since < PLAIN_MS) || !crypto.subtle;
  if (isPlain) return { connection: await open(Class, url, undefined, withinMs) };
  plainServers.delete(origin);
  try {
    return await offer(Class, url, withinMs);
  } catch (first) {
    // A page is not told why a handshake failed. If the server accepts a connection without the offer, the offer is
    // repeated, because the server may just have come back.
    const connection = await open(Class, url, undefined, withinMs).catch(() => Promise.reject(first));
    try {
      const opened = await offer(Class, url, withinMs);
      connection.close();
      return opened;
    } catch {
      if (plainServers.size < PLAIN_MAX) plainServers.set(origin, Date.now());
      return { connection };
    }
  }
}

/** Offers the link behind a decoy, which a server selects that selects what comes first. */
export async function offer(Class: SocketClass, url: string, withinMs: number): Promise<Opened> {
  const connection = await open(Class, url, [randomId(), SUBPROTOCOL], withinMs);
  if (connection.socket.protocol !== SUBPROTOCOL) return { connection };
  try {
    const frame = await connection.frame(Math.min(CHALLENGE_MS, withinMs));
    if (frame.type === "session.challenge") return { connection, challenge: frame.challenge };
    throw new NotLinked();
  } catch (error) {
    connection.close();
    throw error;
  }
}

/** Returns the proof that this client has the key of its token; see docs/token.md, "Proof of possession". */
export async function prove(key: string, challenge: string, token: string, lastEvent: number): Promise<string> {
  const text = new TextEncoder();
  const { subtle } = crypto;
  const mac = await subtle.importKey("raw", text.encode(key), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const digest = new Uint8Array(await subtle.digest("SHA-256", text.encode(token)));
  const number = new DataView(new ArrayBuffer(8));
  number.setBigUint64(0, BigInt(lastEvent));
  const parts = [text.encode("bowline-resume-1"), text.encode(challenge), digest, new Uint8Array(number.buffer)];
  const signed = await subtle.sign("HMAC", mac, await new Blob(parts as BlobPart[]).arrayBuffer());
  return base64url(new Uint8Array(signed));
}

/** The refusal of a server, as an error. */
export class RefusedError extends SessionError {
  constructor(readonly refused: Refused) {
    super(refused.code, refused.message || "the server refused the session");
  }
}
