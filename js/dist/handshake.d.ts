import { SessionError } from "./errors.js";
import { type Frame, type Refused } from "./frames.js";
/** The part of the standard `WebSocket` that is used, so that others fit: that of the package `ws`, for Node.js. */
export interface Socket {
    readonly protocol: string;
    readonly bufferedAmount: number;
    send(text: string): void;
    close(code?: number, reason?: string): void;
    addEventListener(type: "open" | "message" | "close" | "error", listener: (event: any) => void): void;
}
export type SocketClass = new (url: string, protocols?: string[]) => Socket;
/** Returns 16 random bytes in base64url. */
export declare function randomId(): string;
/** An open connection whose texts are read one by one until `listen` is called. */
export declare class Connection {
    #private;
    readonly socket: Socket;
    constructor(socket: Socket);
    /** Waits for the next frame. Throws `Error` if the connection ends, and `NotLinked` if a message comes. */
    frame(withinMs: number): Promise<Frame>;
    /** Delivers the texts that follow to `listener`, and the end of the connection to `onEnd`. */
    listen(listener: (text: string) => void, onEnd: (reason: string, code: number) => void): void;
    /** Sends a text. A connection that is closing takes nothing; what was not acknowledged is sent on the next one. */
    send(text: string): void;
    /** Closes the connection. Nothing that arrives later is delivered. */
    close(code?: number, reason?: string): void;
}
/** The server does not speak the link protocol. */
export declare class NotLinked extends Error {
}
/** Opens a WebSocket. The promise is rejected if the handshake fails, or takes longer than `withinMs`. */
export declare function open(Class: SocketClass, url: string, protocols: string[] | undefined, withinMs: number): Promise<Connection>;
/** A connection with the link, whose challenge has arrived, or one of a plain session. */
export interface Opened {
    connection: Connection;
    challenge?: string;
}
/** Opens a connection, and offers the link unless the server has declined it within the last 10 minutes. */
export declare function dial(Class: SocketClass, url: string, withinMs: number): Promise<Opened>;
/** Offers the link behind a decoy, which a server selects that selects what comes first. */
export declare function offer(Class: SocketClass, url: string, withinMs: number): Promise<Opened>;
/** Returns the proof that this client has the key of its token; see docs/token.md, "Proof of possession". */
export declare function prove(key: string, challenge: string, token: string, lastEvent: number): Promise<string>;
/** The refusal of a server, as an error. */
export declare class RefusedError extends SessionError {
    readonly refused: Refused;
    constructor(refused: Refused);
}
