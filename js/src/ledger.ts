// Follows the messages of a session, so that the link knows what each side holds of the other when a process is
// replaced. The session itself is that of the package `capnweb`, whose tables are private; everything that is needed of
// them can be read from the messages. See docs/browsers.md, "How recovery works under the official package".
//
// Ids in the ledger are those on the wire. They differ from those of the page's session after a reload, because its
// session counts from the beginning; `toPage` and `toWire` differ by constants then.

import { SessionError, codedError } from "./errors.js";
import { type Visitor, visit } from "./expressions.js";
import type { Ids, Left } from "./frames.js";
import { EMPTY_PUSH, type Item, Outbox } from "./outbox.js";

/** The maximum number of entries of each table. */
const ENTRIES_MAX = 100_000;

/** The member of the root object at which the ledger itself answers; see `Ledger.local`. */
export const LOCAL = "bowline:kept";

type Message = unknown[];

/** An object or a result of the server that the page holds. */
interface Import {
  kind: "call" | "object" | "promise" | "stream";
  /** References of the page. */
  count: number;
  pulled: boolean;
  settled: boolean;
  /** The target of a call that the server may not have received. */
  on: number;
  /** What else the call refers to, and the page's objects among its arguments, once for each mention. */
  uses: number[];
  gives: number[];
}

/** An object or a result of the page that the server holds. */
interface Export {
  count: number;
  /** The session removes the entry with its answer. */
  transient: boolean;
  /** The answer of a promise that was sent, until the promise is released. */
  answer?: { text: string; gives: boolean };
}

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

export class Ledger {
  /** References that outlive the page, by name. */
  readonly kept = new Map<string, number>();
  #imports = new Map<number, Import>();
  #exports = new Map<number, Export>();
  #ids: Ids = { next_positive: 1, next_negative: -1, peer_next_positive: 1, peer_next_negative: -1 };
  /** What is added to ids of the page's session: of its calls, of the server's calls, and of its own objects. */
  #calls = 0;
  #answers = 0;
  #objects = 0;
  /** Results of the page's session that stand for kept references. */
  #aliases = new Map<number, number>();

  /** `deliver` receives messages for the page's session. */
  constructor(readonly outbox: Outbox, readonly deliver: (message: Message) => void) {}

  /** The next ids of both sides. */
  get ids(): Ids {
    return { ...this.#ids };
  }

  // Messages of the page

  /** Follows a message of the page's session, and queues what the server gets of it. `isFull` refuses new calls. */
  send(message: Message, isFull: boolean): void {
    const [word, id] = message as [string, number];
    switch (word) {
      case "push":
        if (this.#local(message) || (isFull && this.#refuse())) return;
        return this.#isReachable(message[1]) ? this.#sendCall(message, "call") : this.#fail(message, "CAPABILITY_LOST");
      case "stream":
        return this.#isReachable(message[1]) ? this.#sendCall(message, "stream") : this.#fail(message, "STREAM_INTERRUPTED");
      case "pipe":
        return this.#sendCall(message, "stream");
      case "pull":
        return this.#sendPull(id > 0 ? id + this.#calls : id);
      case "release":
        return this.#sendRelease(id > 0 ? id + this.#calls : id, message);
      case "resolve":
      case "reject":
        return this.#sendAnswer(message);
      default:
        this.#queue(message, 0);
    }
  }

  #queue(message: Message, id: number, word = message[0] as string): void {
    this.outbox.add(word, id, JSON.stringify(message));
  }

  #sendCall(message: Message, kind: "call" | "stream"): void {
    const id = this.#ids.next_positive++;
    const entry: Import = { kind, count: 1, pulled: kind === "stream", settled: false, on: 0, uses: [], gives: [] };
    let isTarget = true;
    visit(message[1], {
      sender: (own) => this.#give(own, entry.gives),
      receiver: (theirs) => {
        const wire = this.#toWire(theirs);
        if (isTarget) entry.on = wire;
        else entry.uses.push(wire);
        isTarget = false;
        return wire;
      },
    });
    // A chunk of a stream, unlike the stream itself, is removed by its answer.
    if (message[0] === "stream") entry.count = 0;
    this.#insert(this.#imports, id, entry);
    this.#queue(message, id);
  }

  /**
   * Whether the server has everything of its own that an expression refers to. The page's session reads what it is told
   * later: meanwhile it may refer to what was lost with a process of the server.
   */
  #isReachable(value: unknown): boolean {
    let isReachable = true;
    visit(value, {
      sender: (own) => own,
      receiver: (theirs) => {
        const id = this.#toWire(theirs);
        if (id !== 0 && !this.#imports.has(id)) isReachable = false;
        return theirs;
      },
    });
    return isReachable;
  }

  /** Rejects a call that cannot be sent, and takes back the objects among its arguments. */
  #fail(message: Message, code: string): void {
    this.#disown(message[1]);
    const id = this.#answerHere(["reject", 0, codedError(code)]);
    if (message[0] === "push") return;
    // The session does not release the answer of a chunk.
    this.#imports.delete(id);
    this.#queue(["release", id, 1], id);
  }

  #sendPull(id: number): void {
    const entry = this.#imports.get(id);
    // A call that was answered here is not pulled from the server.
    if (!entry || entry.settled) return;
    entry.pulled = true;
    this.#queue(["pull", id], id);
  }

  #sendRelease(id: number, message: Message): void {
    const entry = this.#imports.get(id);
    if (!entry) return;
    entry.count -= Number(message[2]);
    this.#aliases.delete(id);
    if (entry.count > 0) return this.#queue(["release", id, message[2]], id, "releases");
    if (this.#keeps(id)) return;
    this.#imports.delete(id);
    this.#queue(["release", id, message[2]], id, message[2] === 1 ? "release" : "releases");
  }

  #sendAnswer(message: Message): void {
    const page = Number(message[1]);
    const id = message[1] = page > 0 ? page + this.#answers : page + this.#objects;
    const entry = this.#exports.get(id);
    // The server has lost the call, and has been told nothing of what the answer would give it.
    if (!entry) return this.#disown(message[2]);
    if (!this.#isReachable(message[2])) {
      this.#disown(message[2]);
      message = ["reject", id, codedError("CAPABILITY_LOST")];
    }
    const gives: number[] = [];
    let plain = true;
    visit(message[2], {
      sender: (own) => this.#give(own, gives),
      receiver: (theirs) => (plain = false, this.#toWire(theirs)),
    });
    const text = JSON.stringify(message);
    if (entry.transient) this.#exports.delete(id);
    else if (id < 0) entry.answer = { text, gives: gives.length > 0 };
    this.outbox.add(String(message[0]), id, text, plain && gives.length === 0);
  }

  /** Takes back the objects in an expression that is not sent. */
  #disown(value: unknown): void {
    visit(value, {
      sender: (own) => (this.deliver(["release", own, 1]), own),
      receiver: (theirs) => theirs,
    });
  }

  /** Counts a mention of an object of the page. */
  #give(page: number, gives: number[]): number {
    const id = page + this.#objects;
    gives.push(id);
    const entry = this.#exports.get(id);
    if (entry) entry.count += 1;
    else this.#insert(this.#exports, id, { count: 1, transient: false });
    if (id <= this.#ids.next_negative) this.#ids.next_negative = id - 1;
    return id;
  }

  #toWire(page: number): number {
    if (page <= 0) return page;
    return this.#aliases.get(page + this.#calls) ?? page + this.#calls;
  }

  /** Refuses a call. The server gets a push of nothing, so that the ids of both sides stay in step. */
  #refuse(): boolean {
    const message = "too much waits to be sent to the server; wait until the session is attached, or raise `retain`";
    this.#answerHere(["reject", 0, codedError("BUFFER_OVERFLOW", message)]);
    return true;
  }

  /** Answers a call without the server: `answer` gets the id of the call. */
  #answerHere(answer: Message): number {
    const id = this.#ids.next_positive++;
    this.outbox.add("empty", id, EMPTY_PUSH);
    this.#insert(this.#imports, id, {
      kind: "call", count: 1, pulled: false, settled: true, on: 0, uses: [], gives: [],
    });
    answer[1] = id - this.#calls;
    // The session adds the call to its table only after it has sent the message.
    queueMicrotask(() => this.deliver(answer));
    return id;
  }

  /**
   * Answers calls of `LOCAL`, with which `Session.keep` and `Session.kept` translate between stubs and ids: the only
   * way to do that with the public interface of the package.
   */
  #local(message: Message): boolean {
    const call = message[1];
    if (!Array.isArray(call) || call[0] !== "pipeline" || call[1] !== 0 || call[2]?.[0] !== LOCAL) return false;
    const [name, what] = call[3] as [string, unknown];
    if (what === undefined) {
      const id = this.kept.get(name) ?? 0;
      const entry = this.#imports.get(id);
      // The session counts one reference, however often it receives the id.
      if (entry) entry.count = 1;
      this.#aliases.set(this.#answerHere(["resolve", 0, entry ? ["export", id] : null]), id);
      return true;
    }
    const id = Array.isArray(what) && what[0] === "import" ? Number(what[1]) : 0;
    const isObject = id < 0 && this.#imports.get(id)?.kind === "object";
    if (isObject) this.kept.set(name, id);
    const problem = ["error", "TypeError", "only an object of the server can be kept; await its promise first"];
    this.#answerHere(isObject ? ["resolve", 0, null] : ["reject", 0, problem]);
    return true;
  }

  /** Whether a reference of this id is kept by name. */
  #keeps(id: number): boolean {
    for (const kept of this.kept.values()) if (kept === id) return true;
    return false;
  }

  /** Stops keeping a reference by name. */
  unkeep(name: string): void {
    const id = this.kept.get(name);
    this.kept.delete(name);
    const entry = id === undefined ? undefined : this.#imports.get(id);
    if (id === undefined || !entry || entry.count > 0 || this.#keeps(id)) return;
    this.#imports.delete(id);
    this.#queue(["release", id, 1], id);
  }

  // Messages of the server

  /** Follows a message of the server, and delivers it to the page's session. */
  receive(text: string): void {
    const isJoint = text.startsWith("+");
    const message: unknown = JSON.parse(isJoint ? text.slice(1) : text);
    if (!Array.isArray(message)) throw new SessionError("INVALID_REQUEST", "the server sent neither a message nor a frame");
    const [word, id] = message as [unknown, number];
    if (word === "release" && message.length > 3) return this.#receiveReleases(message);
    const visitor = this.#receiving;
    switch (word) {
      case "push":
      case "stream":
      case "pipe":
        visit(message[1], visitor);
        this.#insert(this.#exports, this.#ids.peer_next_positive++, { count: 1, transient: word === "stream" });
        break;
      case "pull":
        message[1] = this.#toPage(id);
        break;
      case "release":
        this.#released(id, Number(message[2]));
        message[1] = this.#toPage(id);
        break;
      case "resolve":
      case "reject":
        visit(message[2], visitor);
        this.#settle(id);
        if (id > 0) message[1] = id - this.#calls;
        break;
    }
    this.deliver(message);
    if (isJoint && word === "push") this.deliver(["pull", this.#toPage(this.#ids.peer_next_positive - 1)]);
  }

  readonly #receiving: Visitor = {
    sender: (id, word) => {
      const entry = this.#imports.get(id);
      if (entry) entry.count += 1;
      else {
        const kind = word === "export" ? "object" : word === "promise" ? "promise" : "stream";
        const pulled = kind === "promise";
        this.#insert(this.#imports, id, { kind, count: 1, pulled, settled: false, on: 0, uses: [], gives: [] });
      }
      if (id <= this.#ids.peer_next_negative) this.#ids.peer_next_negative = id - 1;
      return id;
    },
    receiver: (id) => this.#toPage(id),
  };

  #toPage(id: number): number {
    return id > 0 ? id - this.#answers : id < 0 ? id - this.#objects : 0;
  }

  #receiveReleases(message: Message): void {
    const [, first, count, last] = message as [string, number, number, number];
    if (!(last >= first && last - first < ENTRIES_MAX)) {
      throw new SessionError("INVALID_REQUEST", `the server released the entries ${first} to ${last}`);
    }
    for (let id = first; id <= last; id++) {
      this.#released(id, count);
      this.deliver(["release", this.#toPage(id), count]);
    }
  }

  #released(id: number, count: number): void {
    const entry = this.#exports.get(id);
    if (entry && (entry.count -= count) <= 0) this.#exports.delete(id);
  }

  /** Records that a result has arrived. A chunk of a stream has no further messages. */
  #settle(id: number): void {
    const entry = this.#imports.get(id);
    if (!entry) return;
    entry.settled = true;
    if (entry.count <= 0) this.#imports.delete(id);
  }

  #insert<E>(table: Map<number, E>, id: number, entry: E): void {
    if (table.size >= ENTRIES_MAX) {
      throw new SessionError("BUFFER_OVERFLOW", `a session may have at most ${ENTRIES_MAX} references in each direction`);
    }
    table.set(id, entry);
  }

  // Processes that were replaced

  /**
   * Reconciles the page with a server that was recovered and still has `left`. Replaces the queued messages, and
   * rejects what is lost. The rules are those of core/src/session/reconcile.rs.
   */
  recover(left: Left): Recovered {
    const restored = new Set(left.restored);
    const unknown = new Set(left.unknown);
    const lost = new Map(left.lost);
    const held = new Map(left.imports);
    for (const [id, count] of held) this.#check(id, count);
    const queued = this.outbox.clear();
    const became: Recovered = { resent: 0, unknown: 0, notAttempted: 0, lost: 0 };
    const resent = this.#decide(left.next_positive, queued, restored, unknown, became);
    const hold: number[] = [];
    const pull: number[] = [];
    for (const [id, entry] of [...this.#imports]) {
      if (entry.settled) {
        // Its release may be on its way; the server does not know the entry any more.
        this.#imports.delete(id);
      } else if (resent.has(id)) {
        continue;
      } else if (entry.kind === "stream") {
        this.#break(id, "STREAM_INTERRUPTED", became);
      } else if (restored.has(id)) {
        hold.push(id);
        entry.count = Math.min(entry.count, 1);
        if (entry.pulled && id > 0) pull.push(id);
      } else {
        this.#break(id, lost.get(id) ?? (id > 0 ? "CALL_OUTCOME_UNKNOWN" : "CAPABILITY_LOST"), became);
      }
    }
    const borrowed = this.#borrowed(resent, hold);
    this.#frame({ type: "session.reconcile", hold: [...hold, ...borrowed].sort((a, b) => a - b), pull });
    this.#sendAgain(left.next_positive, resent);
    for (const id of borrowed) this.#queue(["release", id, 1], id);
    this.#settleExports(held, resent);
    return became;
  }

  #check(id: number, count: number): void {
    if (id === 0 || (id < 0 && (this.#exports.get(id)?.count ?? 0) >= count)) return;
    throw new SessionError("RESUME_GAP", `the server holds ${id}, which was never sent to it or was released`);
  }

  /** Decides which queued calls are sent again, and rejects the others that the server has not received. */
  #decide(next: number, queued: Item[], restored: Set<number>, unknown: Set<number>, became: Recovered): Map<number, Item> {
    const waiting = new Map<number, Item>();
    for (const item of queued) if (item.word === "push") waiting.set(item.id, item);
    const resent = new Map<number, Item>();
    // Targets of calls that may have run: later calls on them must not run.
    const blocked = new Set<number>();
    for (const [id, entry] of [...this.#imports].sort(([a], [b]) => a - b)) {
      if (id <= 0 || entry.kind !== "call" || entry.settled) continue;
      if (id < next) {
        if (unknown.has(id)) blocked.add(entry.on);
        continue;
      }
      const item = waiting.get(id);
      const reachable = (of: number) => of === 0 || resent.has(of) || (restored.has(of) && !unknown.has(of));
      if (item && [entry.on, ...entry.uses].every(reachable) && !blocked.has(entry.on)) {
        resent.set(id, item);
        became.resent += 1;
      } else if (item) {
        this.#break(id, "CALL_NOT_ATTEMPTED", became);
      } else {
        blocked.add(entry.on);
        this.#break(id, "CALL_OUTCOME_UNKNOWN", became);
      }
    }
    return resent;
  }

  /** Rejects a result or an object. The session releases it; that is not sent. */
  #break(id: number, code: string, became: Recovered): void {
    this.#imports.delete(id);
    for (const [name, kept] of this.kept) if (kept === id) this.kept.delete(name);
    if (code === "CALL_OUTCOME_UNKNOWN") became.unknown += 1;
    else if (code === "CALL_NOT_ATTEMPTED") became.notAttempted += 1;
    else became.lost += 1;
    this.deliver(["reject", id > 0 ? id - this.#calls : id, codedError(code)]);
  }

  /** Returns what queued calls refer to and the page has released meanwhile. */
  #borrowed(resent: Map<number, Item>, hold: number[]): Set<number> {
    const held = new Set(hold);
    const borrowed = new Set<number>();
    for (const id of resent.keys()) {
      const entry = this.#imports.get(id);
      for (const of of entry ? [entry.on, ...entry.uses] : []) {
        if (of !== 0 && !resent.has(of) && !held.has(of)) borrowed.add(of);
      }
    }
    return borrowed;
  }

  #frame(frame: object): void {
    this.outbox.add("frame", 0, JSON.stringify(frame));
  }

  /** Queues the calls under their old ids, and skips those between them. */
  #sendAgain(next: number, resent: Map<number, Item>): void {
    for (const [id, item] of resent) {
      if (id !== next) this.#frame({ type: "session.skip", next_positive: id });
      next = id + 1;
      this.outbox.add("push", id, item.text);
      if (this.#imports.get(id)?.pulled) this.outbox.add("pull", id, `["pull",${id}]`);
    }
    const after = this.#ids.next_positive;
    if (next !== after) this.#frame({ type: "session.skip", next_positive: after });
  }

  /** Sets the counts of the page's objects to what the server has, plus what is sent again. */
  #settleExports(held: Map<number, number>, resent: Map<number, Item>): void {
    const counts = new Map(held);
    for (const id of resent.keys()) {
      for (const given of this.#imports.get(id)?.gives ?? []) counts.set(given, (counts.get(given) ?? 0) + 1);
    }
    for (const [id, entry] of [...this.#exports]) {
      const count = id < 0 ? counts.get(id) ?? 0 : 0;
      const excess = entry.count - count;
      if (excess > 0 && !entry.transient) this.deliver(["release", this.#toPage(id), excess]);
      entry.count = count;
      if (count === 0) this.#exports.delete(id);
      else if (entry.answer) this.#answerAgain(id, entry.answer);
    }
  }

  /** Answers a promise again. An answer with objects that the server has lost cannot be repeated. */
  #answerAgain(id: number, answer: { text: string; gives: boolean }): void {
    if (answer.gives) this.#queue(["reject", id, codedError("CAPABILITY_LOST")], id);
    else this.outbox.add("resolve", id, answer.text);
  }

  /** What this page has of a session that an earlier page has saved: the references that were kept. */
  reattaching(ids: Ids): Left {
    this.#ids = { ...ids };
    const imports = [...new Set(this.kept.values())].map((id): [number, number] => [id, 1]);
    return { next_positive: ids.peer_next_positive, imports };
  }

  /** Continues the session of an earlier page with a new session of the package, whose ids begin at 1. */
  reattach(assigned: Ids, left: Left | undefined): void {
    const ids = this.#ids;
    ids.next_positive = Math.max(ids.next_positive, assigned.peer_next_positive);
    ids.next_negative = Math.min(ids.next_negative, assigned.peer_next_negative);
    ids.peer_next_negative = Math.min(ids.peer_next_negative, assigned.next_negative);
    this.#calls = ids.next_positive - 1;
    this.#objects = ids.next_negative + 1;
    this.#answers = ids.peer_next_positive - 1;
    const gone = new Map(left?.lost);
    for (const [name, id] of this.kept) {
      if (gone.has(id)) this.kept.delete(name);
      else this.#imports.set(id, {
        kind: "object", count: 0, pulled: false, settled: false, on: 0, uses: [], gives: [],
      });
    }
  }

  /** Skips ids of the server's calls, before the page has received any. */
  skip(next: number): void {
    if (!(next >= this.#ids.peer_next_positive) || this.#exports.size > 0) {
      throw new SessionError("INVALID_REQUEST", `the server cannot skip to call ${next}`);
    }
    this.#answers += next - this.#ids.peer_next_positive;
    this.#ids.peer_next_positive = next;
  }
}
