// The frames of the link, as docs/link.md describes them. A frame is a JSON object; a message is a JSON array.

import { SessionError } from "./errors.js";

/** The WebSocket subprotocol that selects the link. */
export const SUBPROTOCOL = "bowline.v1";

/** The features of this client. `list` is left out: pages have nothing to show it with. */
export const FEATURES = ["ack", "heartbeat", "durable", "refresh", "drain", "lines", "calls"];

/** Credentials of a client. `scheme` is `none`, `bearer`, or one of the service's own. */
export interface Credentials {
  scheme: string;
  token?: string;
}

/** The next ids of both sides. */
export interface Ids {
  next_positive: number;
  next_negative: number;
  peer_next_positive: number;
  peer_next_negative: number;
}

/** What a side whose process was replaced still has of a session. */
export interface Left {
  next_positive: number;
  restored?: number[];
  lost?: [id: number, code: string][];
  unknown?: number[];
  imports?: [id: number, count: number][];
}

/** The fields that `welcome` and `resumed` have in common. */
interface Attaching {
  session_id: string;
  epoch: number;
  resume_token: string;
  resume_key: string;
  last_event_seq: number;
  features?: string[];
  runtime?: { fingerprint?: string; [name: string]: unknown };
}

export interface Welcome extends Attaching {
  type: "session.welcome";
  protocol: number;
  resume_window_sec: number;
  heartbeat_interval_sec: number;
  principal?: string;
}

export interface Resumed extends Attaching {
  type: "session.resumed";
  mode: "warm" | "cold" | "reattach";
  replayed_from: number;
  left?: Left;
  ids?: Ids;
}

export interface Refused {
  type: "session.rejected" | "session.unauthenticated";
  code: string;
  message?: string;
  retryable?: boolean;
  retry_after_ms?: number;
  resume_url?: string;
}

export interface Covers {
  checkpoint: number;
  next_positive: number;
}

/** Every frame that a server may send. Unknown types are ignored unless they contain `"must":true`. */
export type Frame =
  | { type: "session.challenge"; challenge: string }
  | Welcome
  | Resumed
  | Refused
  | { type: "session.token"; resume_token: string; resume_key?: string; covers?: Covers }
  | { type: "session.refresh"; deadline: number; challenge?: string }
  | { type: "session.ack"; last_processed_seq: number }
  | { type: "session.ping"; nonce: string }
  | { type: "session.pong"; ping_nonce: string; last_processed_seq: number }
  | { type: "session.drain"; deadline?: number; retry_after_ms?: number; resume_url?: string }
  | { type: "session.reconcile"; hold: number[]; pull: number[] }
  | { type: "session.skip"; next_positive: number }
  | { type: "session.evicted"; code: string; reason?: string }
  | { type: "session.close"; reason?: string }
  | { type: "session.closed"; reason?: string };

/** The types of the fields that frames have in common. Others are checked where they are used. */
const FIELDS: [type: string, fields: string[]][] = [
  ["string", ["session_id", "challenge", "resume_token", "resume_key", "resume_url", "nonce", "code", "message", "reason"]],
  ["number", ["last_processed_seq", "last_event_seq", "replayed_from", "next_positive", "retry_after_ms", "resume_window_sec",
    "heartbeat_interval_sec"]],
  ["object", ["features", "covers", "left", "ids", "hold", "pull", "runtime"]],
];

/** Reads a frame. Throws if the text is none, or one with a field of another type than a server would send. */
export function readFrame(text: string): Frame {
  const frame = JSON.parse(text) as Record<string, unknown>;
  for (const [type, fields] of FIELDS) {
    for (const field of fields) {
      const value = frame[field];
      if (value === undefined || (typeof value === type && value !== null)) continue;
      throw new SessionError("INVALID_REQUEST", `the field ${field} of a frame of the server is not a ${type}`);
    }
  }
  return frame as unknown as Frame;
}
