import type { Covers } from "./frames.js";
import { Outbox } from "./outbox.js";
export declare const ACK_AFTER_MS = 100;
export interface Bounds {
    /** The maximum size of messages that wait or are not acknowledged. */
    bytes: number;
    /** Their maximum number. */
    messages: number;
}
export declare class Link {
    #private;
    readonly bounds: Bounds;
    readonly outbox: Outbox;
    features: Set<string>;
    isAttached: boolean;
    /** The server stops: new calls wait for another connection. */
    drains: boolean;
    /** The number of the server's last message that was handled. */
    processed: number;
    /** The newest token that is saved where it has to be, and what it covers. */
    covers: Covers | undefined;
    /** When an ack becomes due at the latest. */
    ackBy: number | undefined;
    constructor(bounds: Bounds);
    get firstRetained(): number;
    /** When the server was last heard. */
    get heardAt(): number;
    /** Whether one more message would exceed the bounds, `times` over. */
    isFull(times?: number): boolean;
    /** Attaches a connection after which the server's messages continue. Throws if the numbers do not fit together. */
    attach(now: number, lastEvent: number, replayedFrom: number | undefined, features: Set<string>): void;
    /** Forgets the connection and what is only about it. */
    detach(now: number): void;
    /** Resets the numbers of both directions, for a server process that was replaced. */
    beginAnew(): void;
    /** Counts a message of the server. Returns `false` if it is a retransmission of one that was handled. */
    count(now: number, bytes: number): boolean;
    /** Handles an acknowledgment. */
    acknowledge(now: number, number: number): void;
    /** Queues a frame before all messages. */
    queue(frame: object): void;
    /** Records that the newest token is saved, so that the server may drop older checkpoints. */
    report(covers: Covers): void;
    hear(now: number): void;
    answerPing(nonce: string): void;
    /** Sends a ping, unless one is unanswered. */
    ping(now: number): void;
    /**
     * Handles a timer that fired at `now`, and was due at `due`. Returns when to call again, or `null` if the server is
     * dead. A timer that fires late was throttled, or the machine slept: the silence is not the server's, so the server
     * gets the whole time to answer a ping.
     */
    tick(now: number, due: number, heartbeatMs: number): number | null;
    /** Whether something waits to be written that the server or the page waits for. Acks and releases may wait. */
    get isUrgent(): boolean;
    /** Whether anything else waits. */
    get isLazy(): boolean;
    /** Returns the next texts to write: frames, an ack, retransmissions, then new messages. */
    take(now: number): string[];
}
