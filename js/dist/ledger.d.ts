import type { Ids, Left } from "./frames.js";
import { Outbox } from "./outbox.js";
/** The member of the root object at which the ledger itself answers; see `Ledger.local`. */
export declare const LOCAL = "bowline:kept";
type Message = unknown[];
/** What happened to the calls and references of the page when the server's process was replaced. */
export interface Recovered {
    /** Calls that the server has not received and that are sent now. */
    resent: number;
    /** Calls that may have run. */
    unknown: number;
    /** Calls that did not run. */
    notAttempted: number;
    /** References that are lost. */
    lost: number;
}
export declare class Ledger {
    #private;
    readonly outbox: Outbox;
    readonly deliver: (message: Message) => void;
    /** References that outlive the page, by name. */
    readonly kept: Map<string, number>;
    /** `deliver` receives messages for the page's session. */
    constructor(outbox: Outbox, deliver: (message: Message) => void);
    /** The next ids of both sides. */
    get ids(): Ids;
    /** Follows a message of the page's session, and queues what the server gets of it. `isFull` refuses new calls. */
    send(message: Message, isFull: boolean): void;
    /** Stops keeping a reference by name. */
    unkeep(name: string): void;
    /** Follows a message of the server, and delivers it to the page's session. */
    receive(text: string): void;
    /**
     * Reconciles the page with a server that was recovered and still has `left`. Replaces the queued messages, and
     * rejects what is lost. The rules are those of core/src/session/reconcile.rs.
     */
    recover(left: Left): Recovered;
    /** What this page has of a session that an earlier page has saved: the references that were kept. */
    reattaching(ids: Ids): Left;
    /** Continues the session of an earlier page with a new session of the package, whose ids begin at 1. */
    reattach(assigned: Ids, left: Left | undefined): void;
    /** Skips ids of the server's calls, before the page has received any. */
    skip(next: number): void;
}
export {};
