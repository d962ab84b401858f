// Drives a session over one connection after another, until it ends. The page's session sends and receives messages
// here; `ledger.ts` follows them and `link.ts` numbers them.

import { SessionError } from "./errors.js";
import { FEATURES, type Credentials, type Frame, type Ids, type Refused, type Resumed, type Welcome, readFrame } from "./frames.js";
import { type Connection, NotLinked, RefusedError, type SocketClass, dial, offer, prove, randomId } from "./handshake.js";
import { Ledger, type Recovered } from "./ledger.js";
import { type Bounds, Link } from "./link.js";

/** The version that servers log. */
const VERSION = "0.1.0";

/** The maximum size of a text with several lines, in bytes. */
const LINES_BYTES = 4_096;

/** How long releases and acks wait for another message to share a text with. */
const LAZY_MS = 4;

/** Bounds of the pause after a failed attempt, which is random and up to half of the time without a connection. */
const PAUSE_MIN_MS = 100;
const PAUSE_MAX_MS = 15_000;

/** The pause before a session is resumed that another holder of its token has taken over. */
const TAKEN_OVER_MS = 250;

/** How long a server may take to answer when the page becomes visible or the network comes back. */
const PROBE_MS = 5_000;

/** The close code of a session that was taken over. */
const TAKEN_OVER = 4409;

/** How often a page whose credentials were refused may try on one connection. */
const AUTHENTICATIONS_MAX = 3;

const INSTANCE = randomId();

/** What the session is doing. */
export type State = "connecting" | "attached" | "detached" | "plain" | "closed" | "lost";

/** A change of the session, as an event. */
export type Change =
  | { type: "attached"; linked: boolean; reattached: boolean }
  | { type: "detached"; reason: string }
  | { type: "resumed" }
  | ({ type: "recovered" } & Recovered)
  | { type: "lost"; error: SessionError };

/** What is needed to continue a session in another page. */
export interface Saved {
  v: 1;
  url: string;
  welcome: Pick<Welcome, "session_id" | "epoch" | "resume_token" | "resume_key" | "features" | "runtime"
    | "resume_window_sec" | "heartbeat_interval_sec">;
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

export class Engine {
  state: State = "connecting";
  readonly link: Link;
  readonly ledger: Ledger;
  #welcome: Saved["welcome"] | undefined;
  #connection: Connection | undefined;
  /** Messages of a plain session that were sent before it had a connection. */
  #queued: string[] = [];
  #url: string;
  #other: string | undefined;
  #flushing = false;
  /** The server has not reconciled yet with a page that reattached. */
  #waits = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Writes releases and acks that found nothing to share a text with. */
  #lazy: ReturnType<typeof setTimeout> | undefined;
  #wakeUp: (() => void) | undefined;
  #drain: { retry_after_ms?: number; resume_url?: string } | undefined;
  readonly #settings: Settings;
  readonly #receiver: Receiver;

  constructor(settings: Settings, receiver: Receiver, saved?: Saved) {
    this.#settings = settings;
    this.#receiver = receiver;
    this.#url = settings.url;
    this.link = new Link(settings.retain);
    this.ledger = new Ledger(this.link.outbox, (message) => receiver.deliver(message));
    if (saved) {
      this.#welcome = saved.welcome;
      for (const [name, id] of saved.kept) this.ledger.kept.set(name, id);
    }
    this.#run(saved).catch((error: unknown) => this.#lose(asSessionError(error)));
  }

  get sessionId(): string | undefined {
    return this.#welcome?.session_id;
  }

  /** Returns what a next page needs, or `null` without a session that can be resumed. */
  saved(): Saved | null {
    if (!this.#welcome || this.#ended) return null;
    return { v: 1, url: this.#settings.url, welcome: this.#welcome, ids: this.ledger.ids, kept: [...this.ledger.kept] };
  }

  get #ended(): boolean {
    return this.state === "closed" || this.state === "lost";
  }

  /** Takes a message of the page's session. Returns its size. */
  send(message: unknown[]): number {
    if (this.#ended) return 0;
    if (this.state === "plain" || this.state === "connecting") {
      const text = JSON.stringify(message);
      if (this.state === "plain") this.#connection?.send(text);
      else this.#hold(text);
      return text.length;
    }
    const before = this.link.outbox.bytes;
    this.#guard(() => {
      this.ledger.send(message, this.link.isFull());
      if (this.link.isFull(2)) throw new SessionError("BUFFER_OVERFLOW", "too many answers wait to be sent to the server");
    });
    this.#flushSoon();
    return Math.max(0, this.link.outbox.bytes - before);
  }

  /** Holds a message until it is known whether the server has the link. */
  #hold(text: string): void {
    const { messages } = this.#settings.retain;
    if (this.#queued.length >= messages) {
      this.#lose(new SessionError("BUFFER_OVERFLOW", `more than ${messages} messages before the first connection`));
    } else this.#queued.push(text);
  }

  /** Ends the session for good. */
  close(reason = "closed by the page"): void {
    if (this.#ended) return;
    if (this.link.isAttached) {
      this.#flush();
      this.#connection?.send(JSON.stringify({ type: "session.close", reason }));
    }
    this.#end("closed", new SessionError("SESSION_CLOSED", reason), 1000);
  }

  /** Ends the session because the page's session has failed. Its `abort` was sent as its last message. */
  abort(reason: unknown): void {
    this.close(reason instanceof Error ? reason.message : String(reason));
  }

  #lose(error: SessionError): void {
    if (this.#ended) return;
    if (this.link.isAttached) this.#connection?.send(JSON.stringify({ type: "session.close", reason: error.message }));
    this.#end("lost", error, 4400);
    this.#settings.changed({ type: "lost", error });
  }

  #end(state: "closed" | "lost", error: SessionError, code: number): void {
    this.state = state;
    clearTimeout(this.#timer);
    clearTimeout(this.#lazy);
    this.#connection?.close(code, state);
    this.#wakeUp?.();
    this.link.outbox.clear();
    this.#settings.save?.();
    this.#receiver.ended(error);
  }

  /** Runs what a server may have caused to fail. A failure ends the session and nothing else. */
  #guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#lose(asSessionError(error, "INVALID_REQUEST"));
    }
  }

  // Connections

  async #run(saved: Saved | undefined): Promise<void> {
    if (!saved || !await this.#reattach(saved)) await this.#begin();
    while (!this.#ended) {
      const { reason, code } = await this.#attached();
      if (this.#ended) return;
      if (this.state === "plain") throw new SessionError("AGENT_DISCONNECTED", reason);
      this.state = "detached";
      this.link.detach(performance.now());
      clearTimeout(this.#timer);
      this.#settings.changed({ type: "detached", reason });
      await this.#resumeUntil(undefined, code === TAKEN_OVER);
    }
  }

  #endOfConnection: Promise<{ reason: string; code: number }> | undefined;

  async #attached(): Promise<{ reason: string; code: number }> {
    return this.#endOfConnection ?? { reason: "", code: 1006 };
  }

  /** Continues the session of an earlier page. Returns `false` if the server no longer has it. */
  async #reattach(saved: Saved): Promise<boolean> {
    try {
      await this.#resumeUntil(saved, false);
      return true;
    } catch (error) {
      if (!(error instanceof SessionError)) throw error;
      this.#welcome = undefined;
      this.ledger.kept.clear();
      return false;
    }
  }

  /** Opens the session. */
  async #begin(): Promise<void> {
    const { WebSocket, connectTimeoutMs, credentials } = this.#settings;
    const [hello_id, began] = [randomId(), performance.now()];
    for (let attempt = 1; !this.#ended; attempt++) {
      try {
        const { connection, challenge } = await dial(WebSocket, this.#url, connectTimeoutMs);
        if (this.#ended) return connection.close();
        if (challenge === undefined) return this.#beginPlain(connection);
        const auth = (await credentials()) ?? { scheme: "none" };
        const client = { kind: "bowline-js", version: VERSION, instance: INSTANCE };
        const hello = { type: "session.hello", protocol: [1], features: FEATURES, client, hello_id, auth };
        const welcome = await this.#admitted(connection, hello, challenge);
        return this.#beginLinked(connection, welcome);
      } catch (error) {
        const said = error instanceof RefusedError && error.refused.retryable ? error.refused : undefined;
        const isFinal = error instanceof SessionError && !said;
        if (isFinal || performance.now() - began >= connectTimeoutMs) throw asSessionError(error);
        await this.#pause(attempt, performance.now() - began, said?.retry_after_ms ?? 0);
      }
    }
  }

  #beginPlain(connection: Connection): void {
    this.state = "plain";
    this.#attach(connection, (text) => {
      const message: unknown = JSON.parse(text);
      if (!Array.isArray(message)) throw new SessionError("INVALID_REQUEST", "the server sent something other than a message");
      this.#receiver.deliver(message);
    });
    for (const text of this.#queued.splice(0)) connection.send(text);
    this.#settings.changed({ type: "attached", linked: false, reattached: false });
  }

  #beginLinked(connection: Connection, welcome: Welcome): void {
    if (this.#ended) return connection.close();
    this.#welcome = welcome;
    this.link.attach(performance.now(), welcome.last_event_seq ?? 0, undefined, featuresOf(welcome.features));
    this.#begun(connection, { type: "attached", linked: true, reattached: false });
  }

  #begun(connection: Connection, change: Change): void {
    this.state = "attached";
    // Messages that the page has sent before its first connection take the way of all others now.
    for (const text of this.#queued.splice(0)) this.send(JSON.parse(text));
    this.#attach(connection, (text) => this.#receive(text));
    this.#settings.save?.();
    this.#settings.changed(change);
    this.#tickAt(performance.now() + this.#heartbeatMs);
    this.#flush();
  }

  #attach(connection: Connection, receive: (text: string) => void): void {
    this.#connection = connection;
    this.#endOfConnection = new Promise((ended) => connection.listen(
      (text) => { if (connection === this.#connection) this.#guard(() => receive(text)); },
      (reason, code) => ended({ reason, code }),
    ));
  }

  /** Sends a hello, and further credentials if those are refused. */
  async #admitted(connection: Connection, hello: object, challenge: string): Promise<Welcome> {
    connection.send(JSON.stringify(hello));
    for (let attempt = 1; ; attempt++) {
      const frame = await connection.frame(this.#settings.connectTimeoutMs);
      if (frame.type === "session.welcome") return frame;
      if (frame.type === "session.rejected") throw refused(connection, frame);
      if (frame.type !== "session.unauthenticated") throw outOfPlace(connection);
      const again = attempt < AUTHENTICATIONS_MAX ? await this.#settings.credentials(challenge) : undefined;
      if (again?.token === undefined) throw refused(connection, frame);
      connection.send(JSON.stringify({ type: "session.authenticate", response: again.token }));
    }
  }

  /** Tries to resume until that succeeds, the server refuses finally, or the resume window ends. */
  async #resumeUntil(saved: Saved | undefined, takenOver: boolean): Promise<void> {
    const began = performance.now();
    const windowMs = (this.#welcome?.resume_window_sec ?? 0) * 1_000;
    const drain = this.#drain;
    this.#drain = undefined;
    if (drain?.resume_url) this.#goTo(drain.resume_url);
    // The new owner must get its first messages through.
    if (takenOver) await this.#sleep(TAKEN_OVER_MS);
    else if (drain?.retry_after_ms) await this.#sleep(Math.min(windowMs, drain.retry_after_ms + Math.random() * PAUSE_MIN_MS));
    let last: unknown;
    for (let attempt = 1; !this.#ended; attempt++) {
      let afterMs = 0;
      try {
        return await this.#resume(saved);
      } catch (error) {
        last = error;
        if (error instanceof RefusedError) {
          const { retryable, code, retry_after_ms, resume_url } = error.refused;
          if (takenOver && code === "RESUME_TOKEN_REPLAYED") {
            throw new SessionError("SESSION_TAKEN_OVER", "another holder of the resume token took over the session");
          }
          if (!retryable && code !== "RATE_LIMITED") throw error;
          if (resume_url) this.#goTo(resume_url);
          afterMs = retry_after_ms ?? 0;
        } else if (error instanceof SessionError) throw error;
        else if (this.#other) [this.#url, this.#other] = [this.#other, this.#url];
      }
      const detachedMs = performance.now() - began;
      if (detachedMs >= windowMs) break;
      await this.#pause(attempt, detachedMs, Math.min(afterMs, windowMs - detachedMs));
    }
    if (!this.#ended) {
      if (last instanceof RefusedError) throw last;
      throw new SessionError("RESUME_WINDOW_EXPIRED", `the server could not be reached within ${windowMs / 1_000} s`);
    }
  }

  async #resume(saved: Saved | undefined): Promise<void> {
    const { WebSocket, connectTimeoutMs, credentials } = this.#settings;
    const { connection, challenge } = await offer(WebSocket, this.#url, connectTimeoutMs);
    const welcome = this.#welcome;
    if (this.#ended || challenge === undefined || !welcome) {
      connection.close();
      throw new NotLinked("the server does not speak the link protocol");
    }
    try {
      const auth = await credentials();
      const isDurable = featuresOf(welcome.features).has("durable");
      const { processed, firstRetained } = this.link;
      const token = welcome.resume_token;
      connection.send(JSON.stringify({
        type: "session.resume", protocol: [1], features: FEATURES, resume_token: token,
        last_event_seq: saved ? 0 : processed, first_retained_seq: saved ? 0 : firstRetained,
        proof: await prove(welcome.resume_key, challenge, token, saved ? 0 : processed),
        auth: auth?.scheme === "none" ? undefined : auth,
        accept: saved ? ["reattach"] : isDurable ? ["warm", "cold"] : undefined,
        left: saved && this.ledger.reattaching(saved.ids),
        ids: saved || isDurable ? this.ledger.ids : undefined,
      }));
      const frame = await connection.frame(connectTimeoutMs);
      if (frame.type === "session.rejected") throw refused(connection, frame);
      if (frame.type !== "session.resumed") throw outOfPlace(connection);
      if (this.#ended) return connection.close();
      try {
        this.#resumed(connection, frame);
      } catch (error) {
        throw asSessionError(error, "INVALID_REQUEST");
      }
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** Attaches the session as the server says, if it is the same server as before. */
  #resumed(connection: Connection, resumed: Resumed): void {
    const before = this.#welcome?.runtime?.fingerprint;
    if (before !== undefined && resumed.runtime?.fingerprint !== before) {
      throw new SessionError("WRONG_RUNTIME", "the fingerprint of the server differs from that of the server that opened the session");
    }
    const { resume_token, resume_key, epoch, mode, left } = resumed;
    const features = resumed.features ?? this.#welcome?.features;
    Object.assign(this.#welcome ?? {}, { resume_token, resume_key, epoch }, features && { features });
    const now = performance.now();
    let change: Change = { type: "resumed" };
    if (mode === "cold" && left) {
      this.link.beginAnew();
      this.link.attach(now, 0, undefined, featuresOf(features));
      change = { type: "recovered", ...this.ledger.recover(left) };
    } else if (mode === "reattach" && resumed.ids) {
      this.link.beginAnew();
      this.link.attach(now, 0, undefined, featuresOf(features));
      this.ledger.reattach(resumed.ids, left);
      this.#waits = true;
      change = { type: "attached", linked: true, reattached: true };
    } else if (mode === "warm") {
      this.link.attach(now, resumed.last_event_seq, resumed.replayed_from, featuresOf(features));
    } else throw new SessionError("INVALID_REQUEST", `the server resumed the session in the mode ${mode}, which was not requested`);
    this.#begun(connection, change);
  }

  /** Dials `url` from now on. An encrypted connection is never replaced by an unencrypted one. */
  #goTo(url: string): void {
    if (!URL.canParse(url) || (this.#url.startsWith("wss:") && !url.startsWith("wss:"))) return;
    this.#other = url === this.#settings.url ? undefined : this.#settings.url;
    this.#url = url;
  }

  async #pause(attempt: number, detachedMs: number, afterMs: number): Promise<void> {
    const most = Math.min(Math.max(detachedMs / 2, PAUSE_MIN_MS), PAUSE_MAX_MS);
    const { backoff } = this.#settings;
    await this.#sleep(afterMs + (backoff ? backoff(attempt, detachedMs) : Math.random() * most));
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((wake) => {
      const timer = setTimeout(wake, ms);
      this.#wakeUp = () => (clearTimeout(timer), wake());
    });
  }

  /** Dials at once if the session is detached, and otherwise checks that its connection is alive. */
  nudge(): void {
    this.#wakeUp?.();
    if (!this.link.isAttached) return;
    const [connection, before] = [this.#connection, this.link.heardAt];
    this.link.ping(performance.now());
    this.#flush();
    setTimeout(() => {
      const isSilent = this.link.isAttached && connection === this.#connection && this.link.heardAt === before;
      if (isSilent) connection?.close(4408, "the server is silent");
    }, PROBE_MS);
  }

  // Texts

  #receive(text: string): void {
    const now = performance.now();
    this.link.hear(now);
    const lines = this.link.features.has("lines") && text.includes("\n") ? text.split("\n") : [text];
    for (const line of lines) {
      if (this.#ended) return;
      if (/^\s*\{/.test(line)) this.#frame(line, now);
      else if (line !== "" && this.link.count(now, line.length)) this.ledger.receive(line);
    }
    this.#flushSoon();
  }

  #frame(text: string, now: number): void {
    const frame = readFrame(text);
    switch (frame.type) {
      case "session.ack":
        return this.link.acknowledge(now, frame.last_processed_seq);
      case "session.pong":
        return this.link.acknowledge(now, frame.last_processed_seq);
      case "session.ping":
        return this.link.answerPing(frame.nonce);
      case "session.token":
        return this.#token(frame);
      case "session.refresh":
        return void this.#refresh(frame.challenge);
      case "session.drain":
        if (this.link.features.has("durable") && !this.link.drains) this.link.queue({ type: "session.drain" });
        this.link.drains = true;
        this.#drain = frame;
        return;
      case "session.reconcile":
        // A page that was reloaded has given the server nothing yet.
        if (this.link.count(now, text.length)) this.#waits = false;
        return;
      case "session.skip":
        if (this.link.count(now, text.length)) this.ledger.skip(frame.next_positive);
        return;
      case "session.evicted":
        throw new SessionError(frame.code, frame.reason ?? "the server ended the session");
      case "session.close":
      case "session.closed":
        throw new SessionError("SESSION_CLOSED", frame.reason ?? "the server closed the session");
      default:
        if ("must" in frame) throw new SessionError("INVALID_REQUEST", "the server sent an unknown frame that must not be ignored");
    }
  }

  #token({ resume_token, resume_key, covers }: Extract<Frame, { type: "session.token" }>): void {
    if (!this.#welcome) return;
    this.#welcome.resume_token = resume_token;
    if (resume_key !== undefined) this.#welcome.resume_key = resume_key;
    this.#settings.save?.();
    if (covers) this.link.report(covers);
  }

  async #refresh(challenge: string | undefined): Promise<void> {
    const connection = this.#connection;
    const answer = await Promise.resolve(this.#settings.credentials(challenge)).catch(() => undefined);
    if (answer?.token === undefined || connection !== this.#connection || !this.link.isAttached) return;
    this.link.queue({ type: "session.authenticate", response: answer.token });
    this.#flush();
  }

  /** Writes what waits after the messages that the page is about to send in the same turn. */
  #flushSoon(): void {
    if (this.#flushing || !this.link.isAttached) return;
    if (!this.link.isUrgent) {
      if (this.link.isLazy) this.#lazy ??= setTimeout(() => this.#flush(), LAZY_MS);
      return;
    }
    this.#flushing = true;
    // A call is pulled one microtask after it was made, when it is awaited; two more wait for code behind that.
    queueMicrotask(() => queueMicrotask(() => queueMicrotask(() => {
      this.#flushing = false;
      this.#flush();
    })));
  }

  #flush(): void {
    clearTimeout(this.#lazy);
    this.#lazy = undefined;
    if (this.#waits || !this.link.isAttached) return;
    const now = performance.now();
    const texts = this.link.take(now);
    const joins = this.link.features.has("lines");
    let joined = "";
    for (const text of texts) {
      const line = joins && text.length < LINES_BYTES ? text : undefined;
      if (line !== undefined && joined !== "" && utf8Length(joined) + utf8Length(line) < LINES_BYTES) joined += `\n${line}`;
      else {
        if (joined !== "") this.#connection?.send(joined);
        joined = text;
      }
    }
    if (joined !== "") this.#connection?.send(joined);
    if (this.link.ackBy !== undefined && this.link.ackBy < this.#due) this.#tickAt(this.link.ackBy);
  }

  // Time

  #due = 0;

  get #heartbeatMs(): number {
    return (this.#welcome?.heartbeat_interval_sec || 20) * 1_000;
  }

  #tickAt(due: number): void {
    this.#due = due;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tick(), Math.max(0, due - performance.now()));
  }

  #tick(): void {
    if (!this.link.isAttached) return;
    const now = performance.now();
    const next = this.link.tick(now, this.#due, this.#heartbeatMs);
    if (next === null) return this.#connection?.close(4408, "the server is silent");
    this.#tickAt(next);
    this.#flush();
  }
}

function featuresOf(names: string[] | undefined): Set<string> {
  return new Set(FEATURES.filter((feature) => names?.includes(feature)));
}

function utf8Length(text: string): number {
  let length = text.length;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit > 0x7f) length += unit > 0x7ff ? 2 : 1;
  }
  return length;
}

function refused(connection: Connection, frame: Refused): RefusedError {
  connection.close();
  return new RefusedError(frame);
}

function outOfPlace(connection: Connection): SessionError {
  connection.close();
  return new SessionError("INVALID_REQUEST", "the server sent a frame that is not allowed during the handshake");
}

function asSessionError(error: unknown, code = "AGENT_DISCONNECTED"): SessionError {
  if (error instanceof SessionError) return error;
  return new SessionError(code, error instanceof Error ? error.message : String(error));
}
