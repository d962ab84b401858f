// A server of the official package for a Bowline client. It serves the garden of tests/it/node/garden.rs over
// WebSocket and HTTP batch. Prints its URL once it listens, and exits when its standard input is closed.
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { RpcPromise, RpcSession, RpcTarget, WebSocketTransport, nodeHttpBatchRpcResponse } from "capnweb";
import { WebSocket, WebSocketServer } from "ws";

globalThis.WebSocket ??= WebSocket;
process.on("unhandledRejection", () => {});

const beds = new Map(), gates = new Map();
const count = (kind, by) => beds.set(kind, (beds.get(kind) ?? 0) + by);

class Bed extends RpcTarget {
  #kind; #level;
  constructor(kind, level = 0) { super(); this.#kind = kind; this.#level = level; count(kind, 1); }
  water(litres) { return (this.#level += litres); }
  get name() { return this.#kind; }
  neighbour(kind) { return new Bed(kind); }
  [Symbol.dispose]() { count(this.#kind, -1); }
}

function kept(value) {
  if (typeof value === "function") return value.dup();
  if (Array.isArray(value)) return value.map(kept);
  if (value && Object.getPrototypeOf(value) === Object.prototype) return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, kept(v)]));
  return value;
}

class Garden extends RpcTarget {
  plant(kind, level) { return new Bed(kind, level ?? 0); }
  async slowlyPlanted(kind, ms) { await sleep(ms); return new Bed(kind); }
  promised(kind, ms) { return { bed: new RpcPromise(sleep(ms).then(() => new Bed(kind))) }; }
  get place() { return { name: "Brno", at: [49.2, 16.6] }; }
  echo(value) { return kept(value); }
  dig(depth) {
    if (depth === 1) throw Object.assign(new Error("the spade broke", { cause: new Error("rust") }), { tool: "spade" });
    throw new RangeError(`${depth} m is too deep`);
  }
  async eachDay(days, tell) {
    const told = [];
    for (let day = 0; day < days; day++) told.push(await tell(day));
    return told;
  }
  async welcome(gate, visitor) {
    const old = gates.get(gate);
    gates.set(gate, visitor.dup());
    old?.[Symbol.dispose]();
    return `Welcome, ${await visitor.name}`;
  }
  async show(gate, what) { return await gates.get(gate).see(what); }
  visitor(gate) { return gates.get(gate).dup(); }
  close(gate) { gates.get(gate)?.[Symbol.dispose](); return gates.delete(gate); }
  bedsOf(kind) { return beds.get(kind) ?? 0; }
}

const server = http.createServer((request, response) => {
  nodeHttpBatchRpcResponse(request, response, new Garden()).catch((error) => response.writeHead(400).end(String(error)));
});
new WebSocketServer({ server }).on("connection", (ws) => new RpcSession(new WebSocketTransport(ws), new Garden()));
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
process.stdin.resume().on("end", () => process.exit(0));
