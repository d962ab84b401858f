// The package of js/ against a server of the garden of tests/it/node/garden.rs, over connections that fail:
//   node cuts.mjs everywhere URL   each scenario once for every message after which its connection can be cut
//   node cuts.mjs plain URL        the scenarios without cuts, for servers without the link
//   node cuts.mjs load URL         calls in both directions without pause until the line `stop`
//   node cuts.mjs reload URL       pages that are replaced and keep references
//   node cuts.mjs full URL         more calls than may wait, without a connection
// Prints a line of JSON at the end.
import assert from "node:assert/strict";
import { WebSocket } from "ws";
import { ResumableWebSocket, RpcTarget, connect, newWebSocketRpcSession } from "../../examples/browser/bowline-client.js";
import { nextLine, report, sleep, workers } from "./harness.mjs";

const [mode, url] = process.argv.slice(2);

class Visitor extends RpcTarget {
  seen = [];
  get name() { return "Ann"; }
  see(what) { return this.seen.push(what); }
}

/** Each returns what it has observed, which does not depend on cuts. `run` is different in each run. */
const scenarios = {
  async values(garden) {
    const values = [undefined, null, -1.5, "růže 🌹\n", 12n, new Date(5), new Uint8Array([0, 255]), { list: [[1n], [[]]] }];
    return Promise.all(values.map((value) => garden.echo(value)));
  },
  async pipelines(garden) {
    const bed = garden.slowlyPlanted("rose", 3).neighbour("lily");
    const watered = bed.water(bed.water(3));
    const seen = [await bed.name, await watered, await garden.place.at[1]];
    bed[Symbol.dispose]();
    return seen;
  },
  async failures(garden) {
    const errors = await Promise.allSettled([garden.dig(1), garden.dig(3), garden.dig(3).flower.smell()]);
    return errors.map(({ reason }) => [reason.name, reason.message, reason.tool]);
  },
  async promises(garden) {
    return (await garden.promised("oak", 3)).bed.name;
  },
  async callbacks(garden) {
    const days = [];
    const squares = await garden.eachDay(4, (day) => (days.push(day), day * day));
    return [days, squares];
  },
  async visitors(garden, run) {
    const visitor = new Visitor();
    const gate = `gate ${run}`;
    const said = [await garden.welcome(gate, visitor), await garden.show(gate, "a rose"), await garden.show(gate, [[1]])];
    const proxy = garden.visitor(gate);
    said.push(await proxy.name, await proxy.see("a bee"), await garden.close(gate));
    proxy[Symbol.dispose]();
    return [said, visitor.seen];
  },
  async lists(garden) {
    return garden.echo(["a", "b"]).map((kind) => garden.plant(kind, 1).name);
  },
  async lifetimes(garden, run) {
    const kind = `fern ${run}`;
    const bed = await garden.plant(kind, 2);
    const before = await garden.bedsOf(kind);
    bed[Symbol.dispose]();
    let after = 1;
    for (let tries = 0; tries < 200 && after > 0; tries++) after = await garden.bedsOf(kind);
    return [before, after];
  },
};

/** Returns a class of WebSockets of which the first is cut after `after` messages of either side. */
function cutting(after) {
  const counted = { messages: 0, dials: 0 };
  const Cutting = class extends WebSocket {
    constructor(...args) {
      super(...args);
      counted.dials += 1;
      this.on("message", () => this.count());
    }
    send(text) {
      super.send(text);
      this.count();
    }
    count() {
      counted.messages += 1;
      if (counted.messages === after) this._socket?.destroy();
    }
  };
  return [Cutting, counted];
}

async function everywhere() {
  const cuts = {};
  let run = 0;
  for (const [name, scenario] of Object.entries(scenarios)) {
    let expected;
    for (let after = 0; ; after++) {
      const [Cutting, counted] = cutting(after);
      const session = connect(url, { WebSocket: Cutting, backoff: () => 1 });
      const seen = await scenario(session.stub, ++run);
      expected ??= seen;
      assert.deepEqual(seen, expected, `${name}, cut after ${after} messages`);
      session.close();
      if (after > 0 && counted.messages < after) break;
      cuts[name] = after;
    }
  }
  return cuts;
}

async function plain() {
  const states = [];
  for (const open of [
    () => { const session = connect(url); return [session.stub, () => session.state, () => session.close()]; },
    () => {
      const socket = new ResumableWebSocket(url);
      return [newWebSocketRpcSession(socket), () => socket.state, () => socket.close()];
    },
  ]) {
    const [garden, state, close] = open();
    for (const [name, scenario] of Object.entries(scenarios)) {
      const expected = await scenario(newWebSocketRpcSession(url), `${name} official ${states.length}`);
      assert.deepEqual(await scenario(garden, `${name} ${states.length}`), expected, name);
    }
    states.push(state());
    close();
  }
  return states;
}

async function load() {
  const session = connect(url, { backoff: () => 1 });
  const garden = session.stub;
  const beds = await Promise.all([0, 1, 2, 3].map((n) => garden.plant(`bed ${n}`, 0)));
  const counts = { calls: 0, callbacks: 0, resumed: 0 };
  session.addEventListener("resumed", () => { counts.resumed += 1; });
  const levels = [0, 0, 0, 0];
  const watering = workers(4, async (n) => {
    levels[n] += 1;
    counts.calls += 1;
    assert.equal(await beds[n].water(1), levels[n]);
  });
  const asking = workers(2, async () => {
    let next = 0;
    const answers = await garden.eachDay(20, (day) => {
      assert.equal(day, next++);
      counts.callbacks += 1;
      return day;
    });
    assert.deepEqual(answers, [...Array(20).keys()]);
  });
  console.log(session.id);
  while (await nextLine() !== "stop") console.log(JSON.stringify({ ...counts, state: session.state }));
  await Promise.all([watering.stop(), asking.stop()]);
  return counts;
}

/** An object in place of `sessionStorage`. */
class Store extends Map {
  getItem(key) { return this.get(key) ?? null; }
  setItem(key, value) { this.set(key, value); }
  removeItem(key) { this.delete(key); }
}

async function reload() {
  const storage = new Store();
  const sockets = [];
  class Mortal extends WebSocket {
    constructor(...args) { super(...args); sockets.push(this); }
  }
  const rounds = [];
  for (let page = 0; page < 4; page++) {
    let ended = false;
    const session = connect(url, { storage, WebSocket: class extends Mortal {
      constructor(...args) { if (ended) throw new Error("the page is gone"); super(...args); }
    } });
    // Calls that are made before the session is reattached wait for it.
    const early = session.stub.echo(page);
    const { reattached } = await session.ready;
    const bed = session.kept("bed") ?? await session.stub.plant("fern", 0);
    if (page === 0) await session.keep("bed", bed);
    // Calls on a reference that was kept need not wait for anything.
    const level = await bed.water(1);
    const days = await session.stub.eachDay(3, (day) => day + page);
    const visitor = new Visitor();
    await session.stub.welcome("page", visitor);
    rounds.push([reattached, await early, level, days, await session.stub.show("page", page), session.kept("rose") === undefined]);
    if (page === 2) await assert.rejects(session.keep("promise", session.stub.plant("rose")), TypeError);
    if (page === 3) {
      session.unkeep("bed");
      session.close();
      assert.equal(storage.size, 0);
    }
    ended = true;
    for (const socket of sockets.splice(0)) socket._socket?.destroy();
  }
  return rounds;
}

async function full() {
  let isDown = false;
  const session = connect(url, { retain: { messages: 64 }, backoff: () => 5, WebSocket: class extends WebSocket {
    constructor(...args) {
      super(isDown ? "ws://127.0.0.1:1" : args[0], args[1]);
      last = this;
    }
  } });
  let last;
  const bed = await session.stub.plant("fern", 0);
  isDown = true;
  last._socket.destroy();
  while (session.state !== "detached") await sleep(1);
  const calls = Array.from({ length: 5_000 }, () => bed.water(1).then(() => "answered", (error) => error.code));
  await sleep(20);
  isDown = false;
  const told = {};
  for (const outcome of await Promise.all(calls)) told[outcome] = (told[outcome] ?? 0) + 1;
  // The ids of both sides are still in step, once acknowledgments have made room.
  for (;;) {
    await sleep(50);
    const level = await bed.water(0).catch((error) => error.code);
    if (level !== "BUFFER_OVERFLOW") return { told, level, echo: await session.stub.echo("well") };
  }
}

report(await { everywhere, plain, load, reload, full }[mode]());
