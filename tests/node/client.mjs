// The official client against a Bowline server that serves the garden of tests/it/node/garden.rs: node client.mjs
// URL. Prints a line for each case, and exits with code 1 if one fails.
import assert from "node:assert/strict";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { RpcSession, RpcTarget, WebSocketTransport, newHttpBatchRpcSession } from "capnweb";
import { WebSocket } from "ws";

globalThis.WebSocket ??= WebSocket;
process.on("unhandledRejection", () => {});   // some cases cut off calls on purpose

const url = process.argv[2];
const eq = assert.deepStrictEqual;

async function socket() {
  const ws = new WebSocket(url.replace(/^http/, "ws"), { perMessageDeflate: false });
  await once(ws, "open");
  return ws;
}
async function session() {
  const ws = await socket();
  const rpc = new RpcSession(new WebSocketTransport(ws));
  return { ws, rpc, garden: rpc.getRemoteMain() };
}
/** Sends raw frames, and returns the frames that arrive within 100 ms or before the connection closes. */
async function exchange(...frames) {
  const ws = await socket();
  const got = [];
  ws.on("message", (data) => got.push(String(data)));
  const closed = once(ws, "close");
  for (const frame of frames) ws.send(typeof frame === "string" || Buffer.isBuffer(frame) ? frame : JSON.stringify(frame));
  const code = await Promise.race([closed.then(([c]) => c), sleep(100)]);
  ws.terminate();
  return { got, code };
}
async function eventually(ask, want) {
  let got;
  for (let i = 0; i < 200; i++) {
    if ((got = await ask()) === want) return;
    await sleep(10);
  }
  eq(got, want);
}
const fails = (promise, name, message) => assert.rejects(async () => await promise, { name, message });
/** Describes bytes by kind and content (Node's Buffer is a Uint8Array), and errors without their stacks. */
function plain(value) {
  if (ArrayBuffer.isView(value)) {
    const kind = Buffer.isBuffer(value) ? "Uint8Array" : value.constructor.name;
    return { kind, hex: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex") };
  }
  if (value instanceof Error) return { ...value, name: value.name, message: value.message, cause: plain(value.cause) };
  return Array.isArray(value) ? value.map(plain) : value;
}
const call = (id, path, ...args) => ["push", ["pipeline", id, path, ...args]];

class Visitor extends RpcTarget {
  seen = []; left = false;
  constructor(name) { super(); Object.defineProperty(this, "who", { value: name }); }
  get name() { return this.who; }
  see(what) { this.seen.push(what); return this.seen.length; }
  [Symbol.dispose]() { this.left = true; }
}

const VALUES = {
  "nothing": [null, undefined, [null, [undefined]], { a: undefined }],
  "numbers": [0, -1.5, 1e21, 2 ** 53 - 1, NaN, -Infinity, 5e-324],
  "bigints": [0n, -7n, 10n ** 60n],
  "texts": ["", "\u0000\"\\\u2028", "růže 🌹", "x".repeat(100_000)],
  "times": [new Date(0), new Date(-1), new Date(8.64e15)],
  "bytes": [new Uint8Array(), new Uint8Array([0, 255]), new Int16Array([-1, 256]), new Float64Array([0.1])],
  "lists and objects": [[], [[]], [[[1]]], ["date", 5], [["export", 1]], {}, { z: { y: [{ x: 1n }] }, a: 2 }],
  "addresses": [new URL("https://example.com/a?b#c")],
  "errors": [new RangeError("far", { cause: new TypeError("near") }), Object.assign(new Error("e"), { code: 5n })],
};

const cases = {
  "a session ends as it began": async ({ garden, rpc }) => {
    for (let i = 0; i < 10; i++) {
      const bed = garden.plant("leek", i);
      eq(await bed.water(1), i + 1);
      bed[Symbol.dispose]();
    }
    await eventually(() => JSON.stringify(rpc.getStats()), '{"imports":1,"exports":1}');
  },
  "missing and additional arguments": async ({ garden }) => {
    eq(await garden.plant("kale").water(2), 2);
    eq(await garden.plant("kale", undefined, "more").water(2), 2);
    await fails(garden.plant(), "TypeError", /args\[0\]/);
  },
  "session variables": async ({ garden }) => {
    const vars = await garden.memory;
    eq(await vars.getVariable("theme"), "dark");
    await vars.setVariable("when", { first: new Date(7), list: [1, "two", null] });
    eq(await vars.getVariable("when"), { first: new Date(7), list: [1, "two", null] });
    eq(await Promise.all([vars.hasVariable("when"), vars.hasVariable("why"), vars.getVariable("why")]), [true, false, undefined]);
    eq(await vars.listVariables(), ["lost", "theme", "when"]);
    await fails(vars.setVariable("x".repeat(257), 1), "RangeError", /at most 256/);
    await fails(vars.setVariable("list", Array(1001).fill(0)), "RangeError", /at most 1000/);
    await fails(vars.setVariable("object", Object.fromEntries(Array.from({ length: 101 }, (_, i) => [i, i]))), "RangeError", /at most 100/);
    await fails(vars.setVariable("a\tb", 1), "TypeError", /control character/);
    await fails(vars.setVariable("f", () => 1), "TypeError", /durable/);
    await assert.rejects(async () => await vars.getVariable("lost"), { name: "Error", code: "RESTORER_UNKNOWN" });
    eq(await Promise.all([vars.deleteVariable("when"), vars.deleteVariable("when")]), [true, false]);
    const other = await session();
    eq(await other.garden.memory.listVariables(), ["lost", "theme"]);
    await vars.clearAllVariables();
    eq(await Promise.all([vars.listVariables(), other.garden.memory.hasVariable("theme")]), [[], true]);
    other.ws.terminate();
  },
  "properties, and properties of properties": async ({ garden }) => {
    eq(await garden.place, { name: "Brno", at: [49.2, 16.6] });
    eq(await Promise.all([garden.place.name, garden.place.at, garden.place.none]), ["Brno", [49.2, 16.6], undefined]);
    await fails(garden.place.none.more, "TypeError", /undefined/);
    await fails(garden.place.name(), "TypeError", "'place.name' is not a function.");
    const { got } = await exchange(call(0, ["toString"], []), ["pull", 1], call(0, ["valueOf"]), ["pull", 2]);
    eq(got.sort(), [`["reject",1,["error","TypeError","'toString' is not a function."]]`, '["resolve",2,["undefined"]]']);
  },
  "a chain of calls needs no awaiting": async ({ garden }) => {
    const bed = garden.slowlyPlanted("rose", 30).neighbour("lily").neighbour("iris");
    eq(await Promise.all([bed.name, bed.water(bed.water(3)), garden.echo({ deep: [bed.name] })]), ["iris", 6, { deep: ["iris"] }]);
  },
  "errors have class, message, properties, and cause, and no stack": async ({ garden }) => {
    await fails(garden.dig(3), "RangeError", "3 m is too deep");
    const error = await garden.dig(1).catch((e) => e);
    eq([error.name, error.message, error.code, error.tool, error.cause.message], ["Error", "the spade broke", "Broken", "spade", "rust"]);
    await fails(garden.dig(3).flower.smell(), "RangeError", "3 m is too deep");
    const { got } = await exchange(call(0, ["dig"], [3]), ["pull", 1]);
    eq(got, ['["reject",1,["error","RangeError","3 m is too deep",null,{"code":"TooDeep"}]]']);
  },
  "a panic fails one call": async ({ garden }) => {
    await fails(garden.dig(-1), "Error", "internal error");
    eq(await garden.echo(1), 1);
  },
  "callbacks run in order, nest, and may fail": async ({ garden }) => {
    const days = [];
    eq(await garden.eachDay(4, async (day) => { days.push(day); return await garden.echo(day * day); }), [0, 1, 4, 9]);
    eq(days, [0, 1, 2, 3]);
    await fails(garden.eachDay(2, () => { throw new SyntaxError("rain"); }), "SyntaxError", "rain");
    await fails(garden.eachDay(1, (day) => day.no.such), "TypeError", /undefined/);
  },
  "an object of the client lives as long as the server holds it": async ({ garden }) => {
    const guest = new Visitor("Ann"), other = new Visitor("Bob");
    eq(await garden.welcome("gate", guest), "Welcome, Ann");
    await sleep(30);
    eq([guest.left, await garden.show("gate", "rose"), await garden.show("gate", "lily")], [false, 1, 2]);
    eq(guest.seen, ["rose", "lily"]);
    await garden.welcome("gate", other);
    await eventually(() => guest.left, true);
    await garden.close("gate");
    await eventually(() => other.left, true);
  },
  "an object passed through the server arrives as itself": async ({ garden }) => {
    const guest = new Visitor("Cat");
    const back = await garden.echo({ list: [guest] });
    await back.list[0].see("itself");
    eq([guest.seen, guest.left], [["itself"], false]);
    back[Symbol.dispose]();
    await eventually(() => guest.left, true);
  },
  "one session calls another through the server": async ({ garden }) => {
    const guest = new Visitor("Dan"), third = await session();
    await garden.welcome("bridge", guest);
    const proxy = await third.garden.visitor("bridge");
    const seen = await Promise.all(Array.from({ length: 40 }, (_, i) => proxy.see(i)));
    eq([seen.at(-1), guest.seen, await proxy.name], [40, Array.from({ length: 40 }, (_, i) => i), "Dan"]);
    await fails(third.garden.visitor("nowhere"), "RangeError", "no visitor is at this gate");
    third.ws.terminate();
    eq(await garden.show("bridge", "still"), 41);
  },
  "objects live until their last reference is released": async ({ garden }) => {
    const kind = `count-${Math.random()}`;
    const beds = [await garden.plant(kind), garden.plant(kind)];
    beds.push(await beds[1].neighbour(kind), beds[0].dup());
    eq(await garden.bedsOf(kind), 3);
    beds.forEach((bed) => bed[Symbol.dispose]());
    await eventually(() => garden.bedsOf(kind), 0);
  },
  "objects of a session are dropped however it ends": async ({ garden }) => {
    for (const end of [(ws) => ws.close(), (ws) => ws.terminate(), (ws) => ws.send("no JSON"), (ws) => ws.send('["abort",1]')]) {
      const kind = `end-${Math.random()}`, other = await session();
      const held = [await other.garden.plant(kind), other.garden.slowlyPlanted(kind, 40), await other.garden.plant(kind)];
      eq([await garden.bedsOf(kind), held.length], [2, 3]);
      end(other.ws);
      await sleep(60);
      await eventually(() => garden.bedsOf(kind), 0);
    }
  },
  "calls arrive in the order in which they were sent": async ({ garden }) => {
    const bed = garden.slowlyPlanted("oak", 20);
    const levels = await Promise.all(Array.from({ length: 200 }, () => bed.water(1)));
    eq(levels, Array.from({ length: 200 }, (_, i) => i + 1));
  },
  "a batch": async () => {
    const garden = newHttpBatchRpcSession(url);
    const bed = garden.plant("oak", 5);
    const results = await Promise.allSettled([bed.water(garden.echo(2)), garden.dig(3), garden.place.at[0], bed.nope()]);
    eq(results.map((r) => (r.status === "fulfilled" ? r.value : r.reason.message)), [7, "3 m is too deep", undefined, "'nope' is not a function."]);
    eq((await fetch(url, { method: "PUT" })).status, 405);
    eq(await (await fetch(url, { method: "POST", body: "" })).text(), "");
    const many = newHttpBatchRpcSession(url);
    eq((await Promise.all(Array.from({ length: 400 }, (_, i) => many.echo(i)))).length, 400);
  },
  "an invalid message ends its session with one abort and code 3000": async () => {
    for (const bad of ["", "{", "7", "[]", '["what"]', '["pull",3]', '["push",[1,2]]', '["push",["pipeline",9]]', Buffer.from("[]")]) {
      const { got, code } = await exchange(bad, '["pull",1]');
      eq([got.length, got[0].slice(0, 17), code], [1, '["abort",["error"', 3000]);
    }
    eq(await exchange('["abort",["error","Error","bye"]]'), { got: [], code: 3000 });
  },
  "frames are those of the protocol": async () => {
    const { got } = await exchange(call(0, ["plant"], ["fern", 1]), call(1, ["water"], [2]), ["pull", 2], ["pull", 1], ["push", ["import", 0, ["place", "at", 1]]], ["pull", 3]);
    eq(got.sort(), ['["resolve",1,["export",-1]]', '["resolve",2,3]', '["resolve",3,16.6]']);
  },
  "a large value in each direction": async ({ garden }) => {
    const large = "z".repeat(3 << 20);
    assert.ok((await garden.echo(large)) === large);
  },
};
for (const [kind, values] of Object.entries(VALUES)) {
  cases[`${kind} come back unchanged`] = async ({ garden }) => {
    for (const value of values) eq(plain(await garden.echo(value)), plain(value));
    eq(plain((await garden.echo({ values: [values] })).values), plain([values]));
    eq(plain(await garden.eachDay(values.length, (day) => values[day])), plain(values));
  };
}

let failed = 0;
for (const [name, run] of Object.entries(cases)) {
  const own = await session();
  try {
    await Promise.race([run(own), sleep(10_000).then(() => { throw new Error("timed out"); })]);
    console.log(`ok   ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAIL ${name}\n${String(error?.stack ?? error).replace(/^/gm, "     ")}`);
  }
  own.ws.terminate();
}
console.log(`${Object.keys(cases).length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
