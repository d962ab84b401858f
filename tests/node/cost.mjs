// What the link costs a page: node cost.mjs URL SLOW. The same calls by the bare package `capnweb` and by `bowline-client`,
// in turns, against one server of the garden at URL, and then how long a session takes to resume over SLOW, a proxy before
// that server. Prints a line of JSON.
import { WebSocket } from "ws";
import { connect, newWebSocketRpcSession } from "../../examples/browser/bowline-client.js";
import { report, sleep } from "./harness.mjs";

const [url, slow] = process.argv.slice(2);
const calls = 4_000;
const traffic = { texts: 0, bytes: 0 };

class Counting extends WebSocket {
  constructor(...args) {
    super(...args);
    this.on("message", (text) => this.count(text.length));
  }
  send(text) {
    this.count(Buffer.byteLength(text));
    super.send(text);
  }
  count(bytes) {
    traffic.texts += 1;
    traffic.bytes += bytes;
  }
}

async function inFlight(bed, count) {
  const began = performance.now();
  await Promise.all(Array.from({ length: count }, async () => {
    for (let n = 0; n < calls / count; n++) await bed.water(1);
  }));
  return calls / (performance.now() - began) * 1_000;
}

const open = {
  bare: () => { const garden = newWebSocketRpcSession(new Counting(url)); return [garden, () => garden[Symbol.dispose]()]; },
  linked: () => { const session = connect(url, { WebSocket: Counting }); return [session.stub, () => session.close()]; },
};
const costs = {};
for (const [name, count] of [["one at a time", 1], ["64 in flight", 64]]) {
  for (const round of [0, 1, 2, 3]) {
    for (const kind of ["bare", "linked"]) {
      const [garden, close] = open[kind]();
      const bed = await garden.plant("rose", 0);
      const before = { ...traffic };
      const cpu = process.cpuUsage();
      const perSecond = await inFlight(bed, count);
      const { user, system } = process.cpuUsage(cpu);
      await sleep(150);
      close();
      // The first round warms up.
      if (round === 0) continue;
      const cost = (costs[name] ??= {})[kind] ??= { perSecond: 0, cpuMicros: Infinity, bytes: 0, texts: 0 };
      cost.perSecond = Math.max(cost.perSecond, Math.round(perSecond));
      cost.cpuMicros = Math.min(cost.cpuMicros, Math.round((user + system) / calls));
      cost.bytes = Math.round((traffic.bytes - before.bytes) / calls * 10) / 10;
      cost.texts = Math.round((traffic.texts - before.texts) / calls * 100) / 100;
    }
  }
}
/** Returns the shortest time from the end of a connection to `resumed`, in milliseconds. */
async function resume() {
  let socket;
  const session = connect(slow, { WebSocket: class extends WebSocket {
    constructor(...args) { super(...args); socket = this; }
  } });
  await session.ready;
  let shortest = Infinity;
  for (let round = 0; round < 5; round++) {
    await session.stub.echo(round);
    const resumed = new Promise((resumed) => session.addEventListener("resumed", resumed, { once: true }));
    const began = performance.now();
    socket._socket.destroy();
    await resumed;
    shortest = Math.min(shortest, performance.now() - began);
  }
  session.close();
  return Math.round(shortest);
}

costs.resumeMs = await resume();
report(costs);
