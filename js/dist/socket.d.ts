import { type State } from "./engine.js";
import { type LinkOptions } from "./session.js";
/**
 * A WebSocket for Cap'n Web messages that outlives its connections:
 * `newWebSocketRpcSession(new ResumableWebSocket(url))`.
 *
 * It is open from its first connection until the session ends. Besides the events of a WebSocket, it dispatches those
 * of `Session`.
 */
export declare class ResumableWebSocket extends EventTarget {
    #private;
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
    binaryType: BinaryType;
    onopen: ((event: Event) => void) | null;
    onmessage: ((event: MessageEvent) => void) | null;
    onclose: ((event: CloseEvent) => void) | null;
    onerror: ((event: Event) => void) | null;
    constructor(url: string | URL, options?: LinkOptions);
    get readyState(): number;
    /** What the session is doing, in more detail than `readyState`. */
    get state(): State;
    /** The size of what waits to be sent. */
    get bufferedAmount(): number;
    /** Sends a message of Cap'n Web. */
    send(text: string): void;
    close(_code?: number, reason?: string): void;
}
