// Valid and nearly valid values, sent through a Bowline server (tests/it/node/relay.rs) from a handwritten client to
// an official one: node relay.mjs URL SEED. Each is sent as an argument and as a result, and is either decoded by the
// server's application or forwarded without decoding. The session of the official client must survive all of them;
// only the call that carries a value may fail, or the session of its sender.
import assert from "node:assert/strict";
import { once } from "node:events";
import { RpcSession, RpcTarget, WebSocketTransport } from "capnweb";
import { WebSocket } from "ws";

globalThis.WebSocket ??= WebSocket;
process.on("unhandledRejection", () => {});
process.removeAllListeners("warning");
process.on("warning", () => {});

const url = process.argv[2].replace(/^http/, "ws");
let state = Number(process.argv[3]) >>> 0;
function below(n) { // mulberry32
  state = (state + 0x6d2b79f5) >>> 0;
  let t = state;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) % n;
}
const pick = (list) => list[below(list.length)];

/** A handwritten client. `READABLE` in a value stands for a pipe that the client opens and closes. */
class Hand {
  static async open() {
    const hand = new Hand();
    hand.ws = new WebSocket(url, { perMessageDeflate: false });
    await once(hand.ws, "open");
    hand.next = 1;
    hand.waiting = new Map();
    hand.ended = new Promise((resolve) => hand.ws.on("close", () => resolve("ended")));
    hand.ws.on("message", (data) => hand.#hear(JSON.parse(String(data))));
    assert.equal(await hand.call(0, ["join"], ["a", ["export", -1]]), "resolve");
    return hand;
  }
  tells = "null";
  #hear([tag, ...rest]) {
    if (tag === "resolve" || tag === "reject") this.waiting.get(rest[0])?.(tag);
    if (tag === "pull") this.#tell(rest[0]);
  }
  #tell(id) {
    const { text, after } = this.#filled(this.tells);
    this.ws.send(`["resolve",${id},${text}]`);
    after();
  }
  #filled(text) {
    if (!text.includes("READABLE")) return { text, after: () => {} };
    const pipe = this.next++;
    this.ws.send('["pipe"]');
    return {
      text: text.replaceAll("READABLE", `["readable",${pipe}]`),
      after: () => {
        this.ws.send(`["stream",["pipeline",${pipe},["write"],[["bytes","aGk"]]]]`);
        this.ws.send(`["stream",["pipeline",${pipe},["close"],[]]]`);
        this.ws.send(`["release",${pipe},1]`);
        this.next += 2;
      },
    };
  }
  /** Makes a call and returns "resolve", "reject", or "ended". */
  async call(on, path, args) {
    const { text, after } = this.#filled(typeof args === "string" ? args : JSON.stringify(args));
    const id = this.next++;
    const settled = new Promise((resolve) => this.waiting.set(id, resolve));
    this.ws.send(`["push",["pipeline",${on},${JSON.stringify(path)},${text}]]`);
    this.ws.send(`["pull",${id}]`);
    after();
    const outcome = await Promise.race([settled, this.ended]);
    this.waiting.delete(id);
    if (outcome !== "ended") this.ws.send(`["release",${id},1]`);
    return outcome;
  }
}

const WORDS = {
  cache: ["default", "no-store", "only-if-cached", "never", "", null, 5],
  credentials: ["omit", "same-origin", "include", "all", null],
  duplex: ["half", "half", "full", null],
  encodeResponseBody: ["automatic", "manual", "x"],
  integrity: ["", "sha256-x", 5, null],
  keepalive: [true, false, 1, "x"],
  mode: ["cors", "no-cors", "same-origin", "navigate", "websocket", null],
  redirect: ["follow", "error", "manual", "x", null],
  referrer: ["", "about:client", "https://r/", "/r", "::", "client", null, 5],
  referrerPolicy: ["", "origin", "unsafe-url", "no", null],
  signal: [null, 1, {}, false],
  window: [null, 5, "client"],
  priority: ["high", "x"],
  cf: [{ a: [1] }, "x", 5, null],
  dispatcher: [{}, 5],
  method: ["GET", "get", "POST", "put", "HEAD", "OPTIONS", "PATCH", "patch", "TRACE", "connect", "Track", "a b", "", "é", 5, null],
  headers: [[], [["a", "1"]], [["Set-Cookie", "a"], ["set-cookie", "b"]], [["a b", "1"]], [["a", "x\ny"]], [["a", " \r\n"]], [["a", "Ā"]],
    [["a", "\u0000"]], [["", "1"]], [["é", "1"]], [["a"]], [["a", 1]], [[]], ["ab"], {}, null, 5, [["host", "x"], ["content-length", "9"]], [["a", "\u0001é"]]],
};
const STATUS = [200, 204, 205, 304, 404, 599, 600, 199, 101, 99, 200.5, "404", null, -1, 65736, true];
const TEXTS = ["", "OK", "é", "a\tb", "a\nb", "Ā", "\u007f", 5, null];
const BODIES = ["null", '""', '"text"', '["bytes","aGk"]', '["bytes","aGk","Uint8Array"]', '["bytes","aGk","DataView"]', '["undefined"]', "READABLE",
  '["export",-1]', '["pipeline",0]', '[["x"]]', "{}", "5", "false", '["blob","t/t",READABLE]'];
const HOSTS = ["a", "A.com", "1.2.3", "256.1.1.1", "[::1]", "[::1", "a b", "xn--", "xn--a", "bücher.de", "xn--bcher-kva.de", "\u1c8a.com", "\u{2f868}", "\u3164", "a\u00ad",
  "1א", "日本", "%41", "%zz", "", "a..b", "u@h", "u:p@h", "h:99999", "x|y", "\u{1cc00}", "ẞ.de", "᠆", "a.1", "٣"];
const SCHEMES = ["https://", "http:", "file://", "foo://", "javascript:", "data:", "/", "", "ws:\\\\", " https:/", "blob:https://"];

function url_() {
  return JSON.stringify(pick(SCHEMES) + pick(HOSTS) + pick(["", "/", "/a b", "?q#f", "/%zz", "/\u0000", " "]));
}
function members(from, max) {
  const init = {};
  for (let n = below(max + 1); n > 0; n--) {
    const name = pick(Object.keys(from));
    init[name] = pick(from[name]);
  }
  return Object.entries(init).map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`);
}
const objects = (list) => pick([`{${list.join(",")}}`, `{${list.join(",")}}`, `{${list.join(",")}}`, pick(["[]", "[[1]]", "null", "5"])]);

function special() {
  switch (below(12)) {
    case 0: case 1: case 2: {
      const init = members(WORDS, 4);
      if (below(3) === 0) init.push(`"body":${pick(BODIES)}`);
      return `["request",${below(3) ? '"https://ex.com/"' : url_()},${objects(init)}]`;
    }
    case 3: case 4: {
      const init = members({ status: STATUS, statusText: TEXTS, headers: WORDS.headers, webSocket: [null, 1, {}], cf: WORDS.cf, encodeBody: ["manual", "x"] }, 3);
      return `["response",${pick(BODIES)},${objects(init)}]`;
    }
    case 5: return `["headers",${JSON.stringify(pick(WORDS.headers))}]`;
    case 6: case 7: return `["url",${url_()}]`;
    case 8: return `["date",${pick([0, 8.64e15, -8.64e15 - 1, 1.5, "1e300", "1e400", "null", '"x"', "-0"])}]`;
    case 9: {
      const kinds = ["ArrayBuffer", "DataView", "Int8Array", "Uint8Array", "Uint8ClampedArray", "Int16Array", "Int32Array", "BigInt64Array", "Float32Array", "Float64Array", "Nope", ""];
      const data = pick(["", "AA", "AAA", "AAAA", "AAAAAAAAAAA", "-_-_", "AA==", "AA=", "A", "A A", "!!", "AAB"]);
      return `["bytes",${JSON.stringify(data)}${below(2) ? `,${JSON.stringify(pick(kinds))}` : ""}]`;
    }
    case 10: return `["bigint",${JSON.stringify(pick(["0", "-12", "007", "", "-", "+5", " 7 ", "0x1F", "1.5", "9".repeat(16384), "9".repeat(16385), "x"]))}]`;
    default: {
      const props = pick(['{"a":1}', '{"stack":["nope"]}', '{"name":5,"message":["export"]}', '{"cause":["error","Error","c"]}', '{"errors":5}', "null", "[]", '{"__proto__":1,"toString":2}']);
      return `["error",${JSON.stringify(pick(["Error", "TypeError", "AggregateError", "Mine", "__proto__", "", "toString"]))},"m",${pick(["null", '"at x"', "5", '["x"]'])},${props}]`;
    }
  }
}

class Target extends RpcTarget {
  seen = 0;
  see(what) { this.seen++; return typeof what; }
}

const target = new Target();
const ws = new WebSocket(url, { perMessageDeflate: false });
await once(ws, "open");
const relay = new RpcSession(new WebSocketTransport(ws)).getRemoteMain();
let broken;
relay.onRpcBroken((error) => (broken = error));
await relay.join("b", target);

let hand = await Hand.open();
const outcomes = { resolve: 0, reject: 0, ended: 0 };
const settled = (promise) => Promise.race([promise.then((value) => { value?.[Symbol.dispose]?.(); return "resolve"; }, () => "reject"), hand.ended]);
const ways = {
  "as an argument": (value) => hand.call(0, ["show"], `["b",${value}]`),
  "as an argument that is forwarded without decoding": async (value) => {
    const peer = hand.next;
    hand.next++;
    hand.ws.send('["push",["pipeline",0,["peer"],["b"]]]');
    const outcome = await hand.call(peer, ["see"], `[${value}]`);
    if (outcome !== "ended") hand.ws.send(`["release",${peer},1]`);
    return outcome;
  },
  "as a result": (value) => { hand.tells = value; return settled(relay.ask("a")); },
  "as a result that is forwarded without decoding": (value) => { hand.tells = value; return settled(relay.peer("a").tell()); },
};

for (let n = 0; n < 1000; n++) {
  const inner = special();
  const value = pick([inner, inner, `[[1,${inner}]]`, `{"a":${inner},"b":[[]]}`, `["error","Error","m",null,{"p":${inner}}]`]);
  for (const [way, send] of Object.entries(ways)) {
    const outcome = await send(value);
    outcomes[outcome]++;
    if (outcome === "ended") hand = await Hand.open();
    if (broken === undefined && outcome !== "resolve") await relay.ping();
    assert.equal(broken, undefined, `seed ${process.argv[3]}: ${value} ${way} ended the session of the receiver: ${broken}`);
  }
}
assert.ok(outcomes.resolve > 500 && outcomes.reject > 500, JSON.stringify(outcomes));
assert.ok(target.seen > 300, `${target.seen} values were seen`);
console.log(JSON.stringify(outcomes));
process.exit(0);
