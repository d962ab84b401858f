// The package `bowline-client`: sessions of Cap'n Web that outlive their connections, in pages and in Node.js.

export { connect, Session } from "./session.js";
export type { Attached, ConnectOptions, LinkOptions } from "./session.js";
export { ResumableWebSocket } from "./socket.js";
export { SessionError } from "./errors.js";
export type { State } from "./engine.js";
export type { Credentials } from "./frames.js";
export type { Socket, SocketClass } from "./handshake.js";
export type { Recovered } from "./ledger.js";
export type { Bounds } from "./link.js";
export type { SessionStore } from "./storage.js";
