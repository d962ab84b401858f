// The server of the official package for random programs of messages (tests/it/differential/programs.rs).
//
// Each input line is a program: an array of messages as text. Each is answered with one line, which lists for every
// message the messages that the server sent in return, and null once the session has ended.
import { createInterface } from "node:readline";
import { RpcPromise, RpcSession, RpcTarget } from "capnweb";

process.on("unhandledRejection", () => {});

class Counter extends RpcTarget {
  #n;
  constructor(n) { super(); this.#n = n; }
  inc(by) { return (this.#n += typeof by === "number" ? by : 1); }
  get value() { return this.#n; }
  peer() { return new Counter(this.#n + 100); }
}

/** What an application returns of its arguments: references are its own. */
function kept(value) {
  if (typeof value === "function") return value.dup();
  if (Array.isArray(value)) return value.map(kept);
  if (value && Object.getPrototypeOf(value) === Object.prototype)
    return Object.fromEntries(Object.entries(value).map(([name, value]) => [name, kept(value)]));
  return value;
}

class Workshop extends RpcTarget {
  #waiting = new Map();
  #held;
  echo(value) { return kept(value); }
  list(...values) { return kept(values); }
  counter(n) { return new Counter(typeof n === "number" ? n : 0); }
  get tools() { return { deep: { n: 1, list: [1, [2, 3]], none: null }, counter: new Counter(5) }; }
  get gauge() { return new Counter(7); }
  fail(message) { throw Object.assign(new TypeError(String(message)), { code: 7 }); }
  later(name) { return new Promise((resolve, reject) => this.#waiting.set(name, { resolve, reject })); }
  pair(name) { return { n: 1, counter: new RpcPromise(this.later(name)) }; }
  finish(name, value) {
    const waiting = this.#waiting.get(name);
    this.#waiting.delete(name);
    waiting?.resolve(value === "counter" ? new Counter(20) : kept(value));
    return waiting !== undefined;
  }
  fault(name) {
    const waiting = this.#waiting.get(name);
    this.#waiting.delete(name);
    waiting?.reject(new RangeError("broken"));
    return waiting !== undefined;
  }
  async apply(func, value) { return kept(await func(kept(value))); }
  hold(value) { this.#held = kept(value); return true; }
  get held() { return kept(this.#held); }
}

class Transport {
  #waiting; #queue = []; sent = []; over = false;
  send(text) { this.sent.push(text); }
  receive() {
    return new Promise((resolve) => {
      this.#waiting = resolve;
      this.#give();
    });
  }
  abort() { this.over = true; }
  give(text) { this.#queue.push(text); this.#give(); }
  #give() {
    if (this.#waiting === undefined || this.#queue.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting(this.#queue.shift());
  }
}

/** Nothing here waits for time or for a file, so that after some turns nothing can happen any more. */
async function quiet() {
  for (let n = 0; n < 6; n++) await new Promise((resolve) => setImmediate(resolve));
}

async function run(program) {
  const transport = new Transport();
  new RpcSession(transport, new Workshop());
  const steps = [];
  for (const message of program) {
    transport.give(message);
    await quiet();
    steps.push(transport.sent.splice(0));
    if (transport.over) break;
  }
  return steps;
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await run(JSON.parse(line)))}\n`);
}
