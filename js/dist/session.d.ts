import { type RpcCompatible, type RpcSessionOptions, type RpcStub } from "capnweb";
import { Engine, type Settings, type State } from "./engine.js";
import { SessionError } from "./errors.js";
import type { Credentials } from "./frames.js";
import type { SocketClass } from "./handshake.js";
import type { Bounds } from "./link.js";
import { type SessionStore } from "./storage.js";
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
export declare function settingsOf(url: string | URL, options: LinkOptions): Omit<Settings, "changed" | "save">;
/** Dials at once when the page becomes visible or the network is back. Returns a function that stops that. */
export declare function nudgeWithPage(engine: () => Engine | undefined): () => void;
/**
 * A session with a server. It dispatches `attached`, `detached`, `resumed`, `recovered`, and `lost`, each a
 * `CustomEvent` with details, and `state` with each of them.
 */
export declare class Session<Api extends RpcCompatible<Api>> extends EventTarget {
    #private;
    /** The root object of the server. Disposing it closes the session. */
    readonly stub: RpcStub<Api>;
    /** Resolves when the session is attached for the first time; rejects if it cannot be opened. */
    readonly ready: Promise<Attached>;
    /** Resolves when the session has ended, with the reason. */
    readonly closed: Promise<SessionError>;
    constructor(url: string | URL, options?: ConnectOptions);
    /** What the session is doing. */
    get state(): State;
    /** The id of the session in the logs of both sides; `undefined` without the link. */
    get id(): string | undefined;
    /** Ends the session. Calls that have not been answered are rejected. */
    close(): void;
    [Symbol.dispose](): void;
    /**
     * Keeps an object of the server by name, so that the page has it again after a reload. Needs `storage`. An object
     * that is kept stays at the server when the page disposes its stub, until `unkeep`.
     */
    keep(name: string, stub: unknown): Promise<void>;
    /** Returns a stub of the object that is kept by this name, or `undefined`. Await `ready` before. */
    kept<T extends RpcCompatible<T>>(name: string): RpcStub<T> | undefined;
    /** Stops keeping an object by name. */
    unkeep(name: string): void;
}
/** Opens a session with the server at a `ws:`, `wss:`, `http:`, or `https:` URL, which may be relative in a page. */
export declare function connect<Api extends RpcCompatible<Api>>(url: string | URL, options?: ConnectOptions): Session<Api>;
