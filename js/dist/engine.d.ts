import { SessionError } from "./errors.js";
import { type Credentials, type Ids, type Welcome } from "./frames.js";
import { type SocketClass } from "./handshake.js";
import { Ledger, type Recovered } from "./ledger.js";
import { type Bounds, Link } from "./link.js";
/** What the session is doing. */
export type State = "connecting" | "attached" | "detached" | "plain" | "closed" | "lost";
/** A change of the session, as an event. */
export type Change = {
    type: "attached";
    linked: boolean;
    reattached: boolean;
} | {
    type: "detached";
    reason: string;
} | {
    type: "resumed";
} | ({
    type: "recovered";
} & Recovered) | {
    type: "lost";
    error: SessionError;
};
/** What is needed to continue a session in another page. */
export interface Saved {
    v: 1;
    url: string;
    welcome: Pick<Welcome, "session_id" | "epoch" | "resume_token" | "resume_key" | "features" | "runtime" | "resume_window_sec" | "heartbeat_interval_sec">;
    ids: Ids;
    kept: [name: string, id: number][];
}
export interface Settings {
    url: string;
    WebSocket: SocketClass;
    credentials: (challenge?: string) => Credentials | undefined | Promise<Credentials | undefined>;
    retain: Bounds;
    /** Returns the pause before attempt number `attempt`, in milliseconds. */
    backoff: ((attempt: number, detachedMs: number) => number) | undefined;
    connectTimeoutMs: number;
    /** Called whenever what `Engine.saved` returns has changed in a way that a next page must know of. */
    save: (() => void) | undefined;
    changed(change: Change): void;
}
/** Where the page's session receives messages. */
export interface Receiver {
    deliver(message: unknown[]): void;
    ended(error: SessionError): void;
}
export declare class Engine {
    #private;
    state: State;
    readonly link: Link;
    readonly ledger: Ledger;
    constructor(settings: Settings, receiver: Receiver, saved?: Saved);
    get sessionId(): string | undefined;
    /** Returns what a next page needs, or `null` without a session that can be resumed. */
    saved(): Saved | null;
    /** Takes a message of the page's session. Returns its size. */
    send(message: unknown[]): number;
    /** Ends the session for good. */
    close(reason?: string): void;
    /** Ends the session because the page's session has failed. Its `abort` was sent as its last message. */
    abort(reason: unknown): void;
    /** Dials at once if the session is detached, and otherwise checks that its connection is alive. */
    nudge(): void;
}
