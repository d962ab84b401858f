// The state machine of the link on the client: numbering, retransmission, acknowledgments, and heartbeats. It reads no
// clock and opens no connection; `engine.ts` does both. See docs/link.md, "Numbers and acknowledgments".

import { SessionError } from "./errors.js";
import type { Covers } from "./frames.js";
import { Outbox } from "./outbox.js";

/** After how many messages, bytes, and milliseconds an ack is due. */
const ACK_MESSAGES = 32;
const ACK_BYTES = 64 << 10;
export const ACK_AFTER_MS = 100;

export interface Bounds {
  /** The maximum size of messages that wait or are not acknowledged. */
  bytes: number;
  /** Their maximum number. */
  messages: number;
}

export class Link {
  readonly outbox = new Outbox();
  features = new Set<string>();
  isAttached = false;
  /** The server stops: new calls wait for another connection. */
  drains = false;
  /** The number of the server's last message that was handled. */
  processed = 0;
  /** The newest token that is saved where it has to be, and what it covers. */
  covers: Covers | undefined;
  /** When an ack becomes due at the latest. */
  ackBy: number | undefined;

  #retained: string[] = [];
  #retainedBytes = 0;
  /** The number of the first message in `#retained`. */
  #first = 1;
  /** The number of the message to write next on the connection. */
  #nextOut = 1;
  /** The number of the last message that joins several in one. */
  #lastJoint = 0;
  #acknowledged = 0;
  #nextIn = 1;
  #reported = 0;
  #unreportedBytes = 0;
  #report = false;
  #frames: object[] = [];
  #pong: string | undefined;
  #pings = 0;
  #heardAt = 0;
  #pinged = false;
  #acknowledgedAt = 0;

  constructor(readonly bounds: Bounds) {}

  get firstRetained(): number {
    return this.#first;
  }

  /** When the server was last heard. */
  get heardAt(): number {
    return this.#heardAt;
  }

  /** Whether one more message would exceed the bounds, `times` over. */
  isFull(times = 1): boolean {
    const { bytes, messages } = this.bounds;
    return this.#retainedBytes + this.outbox.bytes >= bytes * times
      || this.#retained.length + this.outbox.length >= messages * times;
  }

  /** Attaches a connection after which the server's messages continue. Throws if the numbers do not fit together. */
  attach(now: number, lastEvent: number, replayedFrom: number | undefined, features: Set<string>): void {
    const from = replayedFrom ?? this.processed;
    if (!(lastEvent + 1 >= this.#first && lastEvent < this.#first + this.#retained.length)) {
      throw new SessionError("RESUME_GAP", `message ${lastEvent} was never sent or is no longer retained`);
    }
    if (!(from <= this.processed)) {
      throw new SessionError("RESUME_GAP", `the server continues after ${from}, but only ${this.processed} arrived`);
    }
    if (this.#lastJoint > lastEvent && !features.has("calls")) {
      throw new SessionError("RESUME_GAP", `message ${this.#lastJoint} joins several, which the server does not support`);
    }
    this.#nextOut = lastEvent + 1;
    this.#acknowledged = lastEvent;
    this.#free();
    this.#nextIn = from + 1;
    this.features = features;
    this.detach(now);
    this.isAttached = true;
    this.drains = false;
    this.#report = true;
  }

  /** Forgets the connection and what is only about it. */
  detach(now: number): void {
    this.isAttached = false;
    this.#frames = [];
    this.#pong = undefined;
    this.#pinged = false;
    this.#heardAt = this.#acknowledgedAt = now;
    this.ackBy = undefined;
    this.#report = false;
  }

  /** Resets the numbers of both directions, for a server process that was replaced. */
  beginAnew(): void {
    this.#retained = [];
    this.#retainedBytes = 0;
    this.#first = this.#nextOut = this.#nextIn = 1;
    this.#lastJoint = this.#acknowledged = this.processed = this.#reported = this.#unreportedBytes = 0;
    this.covers = undefined;
  }

  /** Counts a message of the server. Returns `false` if it is a retransmission of one that was handled. */
  count(now: number, bytes: number): boolean {
    const number = this.#nextIn++;
    if (number <= this.processed) return false;
    this.processed = number;
    this.#unreportedBytes += bytes;
    if (number - this.#reported >= ACK_MESSAGES || this.#unreportedBytes >= ACK_BYTES) this.#report = true;
    else this.ackBy ??= now + ACK_AFTER_MS;
    return true;
  }

  /** Handles an acknowledgment. */
  acknowledge(now: number, number: number): void {
    if (!Number.isInteger(number) || number >= this.#first + this.#retained.length) {
      throw new SessionError("RESUME_GAP", `message ${number} was never sent`);
    }
    if (number > this.#acknowledged) {
      this.#acknowledged = number;
      this.#acknowledgedAt = now;
      this.#free();
    }
  }

  /** Drops what was acknowledged and written. The server counts messages, so none may be left out of a connection. */
  #free(): void {
    const until = Math.min(this.#acknowledged, this.#nextOut - 1) + 1;
    for (const text of this.#retained.splice(0, Math.max(0, until - this.#first))) this.#retainedBytes -= text.length;
    this.#first = Math.max(this.#first, until);
  }

  /** Queues a frame before all messages. */
  queue(frame: object): void {
    this.#frames.push(frame);
  }

  /** Records that the newest token is saved, so that the server may drop older checkpoints. */
  report(covers: Covers): void {
    this.covers = covers;
    this.#report = true;
  }

  hear(now: number): void {
    this.#heardAt = now;
    this.#pinged = false;
  }

  answerPing(nonce: string): void {
    this.#pong = nonce;
  }

  /** Sends a ping, unless one is unanswered. */
  ping(now: number): void {
    if (this.#pinged || !this.features.has("heartbeat")) return;
    this.#pinged = true;
    this.#frames.push({ type: "session.ping", nonce: `${++this.#pings}`, sent_at: Math.floor(now) });
  }

  /**
   * Handles a timer that fired at `now`, and was due at `due`. Returns when to call again, or `null` if the server is
   * dead. A timer that fires late was throttled, or the machine slept: the silence is not the server's, so the server
   * gets the whole time to answer a ping.
   */
  tick(now: number, due: number, heartbeatMs: number): number | null {
    if (this.ackBy !== undefined && this.ackBy <= now) this.#report = true;
    if (!this.features.has("heartbeat")) return now + heartbeatMs;
    if (this.#pinged && now - due > heartbeatMs / 4) this.#heardAt = now - heartbeatMs;
    const silence = now - this.#heardAt;
    if (this.#pinged && silence >= heartbeatMs * 2) return null;
    if (this.isFull() && now - this.#acknowledgedAt >= heartbeatMs * 2) return null;
    if (silence >= heartbeatMs) {
      if (!this.#pinged) this.#heardAt = now - heartbeatMs;
      this.ping(now);
    }
    return this.#heardAt + heartbeatMs * (this.#pinged ? 2 : 1);
  }

  /** Whether something waits to be written that the server or the page waits for. Acks and releases may wait. */
  get isUrgent(): boolean {
    return this.#frames.length > 0 || this.#pong !== undefined || !this.outbox.onlyReleases
      || this.processed - this.#reported >= 8 * ACK_MESSAGES || this.#unreportedBytes >= 8 * ACK_BYTES;
  }

  /** Whether anything else waits. */
  get isLazy(): boolean {
    return this.#report || this.outbox.length > 0;
  }

  /** Returns the next texts to write: frames, an ack, retransmissions, then new messages. */
  take(now: number): string[] {
    if (!this.isAttached) return [];
    const texts = this.#frames.splice(0).map((frame) => JSON.stringify(frame));
    if (this.#pong !== undefined) {
      const [ping_nonce, received_at] = [this.#pong, Math.floor(now)];
      texts.push(JSON.stringify({ type: "session.pong", ping_nonce, received_at, last_processed_seq: this.processed }));
      this.#pong = undefined;
      this.#reportedAll();
    }
    if (this.#report || (this.ackBy !== undefined && this.ackBy <= now)) {
      const checkpoint = this.covers?.checkpoint;
      texts.push(JSON.stringify({ type: "session.ack", last_processed_seq: this.processed, checkpoint }));
      this.#reportedAll();
    }
    texts.push(...this.#retained.slice(this.#nextOut - this.#first));
    this.#nextOut = this.#first + this.#retained.length;
    this.#free();
    this.#takeNew(texts);
    return texts;
  }

  #takeNew(texts: string[]): void {
    const calls = this.features.has("calls");
    const holdsBack = this.drains && this.features.has("durable");
    const { bytes, messages } = this.bounds;
    while (this.outbox.length > 0 && this.#retainedBytes < bytes && this.#retained.length < messages) {
      const waits = holdsBack && this.outbox.callNext;
      for (const text of waits ? this.outbox.takeAnswers() : this.outbox.take(calls)) {
        this.#retained.push(text);
        this.#retainedBytes += text.length;
        if (text.startsWith("+") || /^\["release",-?\d+,1,/.test(text)) this.#lastJoint = this.#nextOut;
        this.#nextOut += 1;
        texts.push(text);
      }
      if (waits) return;
    }
  }

  #reportedAll(): void {
    this.#report = false;
    this.ackBy = undefined;
    this.#reported = this.processed;
    this.#unreportedBytes = 0;
  }
}
