// A session for new applications: `connect` and what it returns.

import { RpcSession, type RpcCompatible, type RpcSessionOptions, type RpcStub } from "capnweb";
import { type Change, Engine, type Saved, type Settings, type State } from "./engine.js";
import { SessionError } from "./errors.js";
import type { Credentials } from "./frames.js";
import type { SocketClass } from "./handshake.js";
import { LOCAL } from "./ledger.js";
import type { Bounds } from "./link.js";
import { type SessionStore, load, own } from "./storage.js";

/** How many messages wait for the page before this one to give up its session. */
const EARLY_MAX = 4_096;

/** Settings of a connection. All are optional. */
export interface LinkOptions {
  /**
   * Returns the credentials of the user: when the session is opened or resumed, and whenever the server asks for new
   * ones before the old ones expire. `challenge` is that of the server, for schemes that need one.
   */
  credentials?: (challenge?: string) => Credentials | undefined | Promise<Credentials | undefined>;
  /**
   * How much may wait for the server or be unacknowledged. Beyond it, calls are rejected with `BUFFER_OVERFLOW`.
   * Default 4 MiB (UTF-16 units) and 4,096 messages.
   */
  retain?: Partial<Bounds>;
  /**
   * Returns the pause before attempt number `attempt` to reconnect, in milliseconds. By default it is random, and up
   * to half of the time without a connection: at least up to 100 ms, at most 15 s.
   */
  backoff?: (attempt: number, detachedMs: number) => number;
  /** How long opening the session, and one attempt to resume it, may take. Default 10,000 ms. */
  connectTimeoutMs?: number;
  /** The class of WebSockets, where there is no global one: that of the package `ws` in Node.js 20. */
  WebSocket?: SocketClass;
}

/** Settings of a session. */
export interface ConnectOptions extends LinkOptions {
  /** The root object that the page offers to the server. */
  main?: unknown;
  /**
   * Where the session is stored so that a reloaded page continues it; `sessionStorage` in most cases. What is stored
   * contains the secrets of the session: every script of the origin can read them. By default nothing is stored.
   */
  storage?: SessionStore;
  /** The key in `storage`. Default `bowline:` and the URL. */
  storageKey?: string;
  /** Settings of the package `capnweb`. */
  rpc?: RpcSessionOptions;
}

/** Details of the event `attached`: whether the session can resume, and whether it is that of an earlier page. */
export interface Attached {
  linked: boolean;
  reattached: boolean;
}

/** Returns the settings with their defaults. */
export function settingsOf(url: string | URL, options: LinkOptions): Omit<Settings, "changed" | "save"> {
  const absolute = new URL(url, globalThis.location?.href);
  absolute.protocol = absolute.protocol.replace("http", "ws");
  const Class = options.WebSocket ?? (globalThis.WebSocket as unknown as SocketClass | undefined);
  if (!Class) throw new TypeError("there is no global WebSocket; pass the option `WebSocket`");
  return {
    url: absolute.href,
    WebSocket: Class,
    credentials: options.credentials ?? (() => undefined),
    retain: { bytes: 4 << 20, messages: 4_096, ...options.retain },
    backoff: options.backoff,
    connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
  };
}

/** Dials at once when the page becomes visible or the network is back. Returns a function that stops that. */
export function nudgeWithPage(engine: () => Engine | undefined): () => void {
  const nudge = () => { if (globalThis.document?.visibilityState !== "hidden") engine()?.nudge(); };
  const { document } = globalThis;
  document?.addEventListener("visibilitychange", nudge);
  globalThis.addEventListener?.("online", nudge);
  return () => {
    document?.removeEventListener("visibilitychange", nudge);
    globalThis.removeEventListener?.("online", nudge);
  };
}

/**
 * A session with a server. It dispatches `attached`, `detached`, `resumed`, `recovered`, and `lost`, each a
 * `CustomEvent` with details, and `state` with each of them.
 */
export class Session<Api extends RpcCompatible<Api>> extends EventTarget {
  /** The root object of the server. Disposing it closes the session. */
  readonly stub: RpcStub<Api>;
  /** Resolves when the session is attached for the first time; rejects if it cannot be opened. */
  readonly ready: Promise<Attached>;
  /** Resolves when the session has ended, with the reason. */
  readonly closed: Promise<SessionError>;

  #engine: Engine | undefined;
  #state: State = "connecting";
  /** What the page has sent before the engine exists, which waits for the page before this one. */
  #early: unknown[][] = [];
  #inbox: unknown[] = [];
  #waiting: { resolve(message: unknown): void; reject(error: unknown): void } | undefined;
  #error: SessionError | undefined;
  #kept = new Set<string>();
  #disown: (() => void) | undefined;
  readonly #store: { area: SessionStore; key: string } | undefined;
  #settleReady!: { resolve(attached: Attached): void; reject(error: unknown): void };
  #settleClosed!: (error: SessionError) => void;

  constructor(url: string | URL, options: ConnectOptions = {}) {
    super();
    this.ready = new Promise((resolve, reject) => { this.#settleReady = { resolve, reject }; });
    this.ready.catch(() => {});
    this.closed = new Promise((resolve) => { this.#settleClosed = resolve; });
    const base = settingsOf(url, options);
    if (options.storage) this.#store = { area: options.storage, key: options.storageKey ?? `bowline:${base.url}` };
    const save = this.#store && (() => this.#save());
    const settings: Settings = { ...base, save, changed: (change) => this.#changed(change) };
    const stop = nudgeWithPage(() => this.#engine);
    void this.closed.then(stop);
    void this.#start(settings);
    this.stub = new RpcSession<Api>({
      encodingLevel: "jsonCompatible",
      send: (message) => this.#send(message as unknown[]),
      receive: () => this.#receive(),
      abort: (reason) => this.#abort(reason),
    }, options.main, options.rpc).getRemoteMain();
  }

  /** What the session is doing. */
  get state(): State {
    return this.#state;
  }

  /** The id of the session in the logs of both sides; `undefined` without the link. */
  get id(): string | undefined {
    return this.#engine?.sessionId;
  }

  /** Ends the session. Calls that have not been answered are rejected. */
  close(): void {
    if (this.#engine) this.#engine.close();
    else this.#ended(new SessionError("SESSION_CLOSED", "closed by the page"));
    this.#state = "closed";
    this.#forget();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Keeps an object of the server by name, so that the page has it again after a reload. Needs `storage`. An object
   * that is kept stays at the server when the page disposes its stub, until `unkeep`.
   */
  async keep(name: string, stub: unknown): Promise<void> {
    await this.#local(name, stub);
    this.#kept.add(name);
    this.#save();
  }

  /** Returns a stub of the object that is kept by this name, or `undefined`. Await `ready` before. */
  kept<T extends RpcCompatible<T>>(name: string): RpcStub<T> | undefined {
    if (!this.#engine?.ledger.kept.has(name)) return undefined;
    return this.#local(name) as RpcStub<T>;
  }

  /** Stops keeping an object by name. */
  unkeep(name: string): void {
    this.#engine?.ledger.unkeep(name);
    this.#save();
  }

  /** Calls a member of the root object at which the ledger answers in place of the server. */
  #local(...args: unknown[]): unknown {
    if (this.#state === "plain") throw new SessionError("NOT_RESUMABLE", "the server does not speak the link protocol");
    return (this.stub as unknown as Record<string, (...args: unknown[]) => unknown>)[LOCAL]?.(...args);
  }

  async #start(settings: Settings): Promise<void> {
    const saved = this.#store && load(this.#store.area, this.#store.key, settings.url);
    const disown = saved && await own(saved.welcome.session_id);
    if (this.#error) return disown?.();
    this.#disown = disown ?? undefined;
    const receiver = { deliver: (message: unknown[]) => this.#deliver(message), ended: (error: SessionError) => this.#ended(error) };
    this.#engine = new Engine(settings, receiver, disown ? saved : undefined);
    for (const message of this.#early.splice(0)) this.#engine.send(message);
  }

  #send(message: unknown[]): number {
    if (this.#engine) return this.#engine.send(message);
    if (this.#early.length < EARLY_MAX) this.#early.push(message);
    else this.#ended(new SessionError("BUFFER_OVERFLOW", `more than ${EARLY_MAX} messages before the first connection`));
    return 0;
  }

  #receive(): Promise<unknown> {
    if (this.#inbox.length > 0) return Promise.resolve(this.#inbox.shift());
    if (this.#error) return Promise.reject(this.#error);
    return new Promise((resolve, reject) => { this.#waiting = { resolve, reject }; });
  }

  #deliver(message: unknown[]): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting) waiting.resolve(message);
    else this.#inbox.push(message);
  }

  #abort(reason: unknown): void {
    this.#engine?.abort(reason);
    this.#forget();
  }

  #ended(error: SessionError): void {
    if (this.#error) return;
    this.#error = error;
    this.#state = this.#engine?.state ?? "closed";
    this.#waiting?.reject(error);
    this.#settleReady.reject(error);
    this.#settleClosed(error);
    this.#disown?.();
  }

  #changed(change: Change): void {
    const { type, ...detail } = change;
    this.#state = this.#engine?.state ?? this.#state;
    if (change.type === "attached") this.#attached(change);
    if (type === "lost") this.#forget();
    this.dispatchEvent(new CustomEvent(type, { detail }));
    this.dispatchEvent(new CustomEvent("state", { detail: this.#state }));
  }

  #attached({ linked, reattached }: Attached): void {
    this.#settleReady.resolve({ linked, reattached });
    const id = this.#engine?.sessionId;
    if (!this.#store || this.#disown || id === undefined) return;
    void own(id).then((disown) => {
      if (this.#error) disown?.();
      else this.#disown = disown ?? undefined;
    });
  }

  #save(): void {
    const saved: Saved | null | undefined = this.#engine?.saved();
    if (!saved || !this.#store) return;
    try {
      this.#store.area.setItem(this.#store.key, JSON.stringify(saved));
    } catch (error) {
      // The store is full or forbidden. The session goes on, and a token that was replaced is of no use to a next page.
      console.warn("cannot store the session", error);
      this.#forget();
    }
  }

  #forget(): void {
    if (this.#store) this.#store.area.removeItem(this.#store.key);
  }
}

/** Opens a session with the server at a `ws:`, `wss:`, `http:`, or `https:` URL, which may be relative in a page. */
export function connect<Api extends RpcCompatible<Api>>(url: string | URL, options?: ConnectOptions): Session<Api> {
  return new Session<Api>(url, options);
}
