// node alone.mjs client KIND --work w9 --secs N: measures the codec of capnweb alone, as p-alone does for Bowline.
import { RpcSession, RpcTarget, deserialize, serialize } from "capnweb";

const kind = process.argv[3];
const opt = {};
for (let i = 4; i < process.argv.length; i += 2) opt[process.argv[i].replace(/^--/, "")] = process.argv[i + 1];
const within = 1000 * (opt.secs ?? 1);
const middle = (v) => v.sort((a, b) => a - b)[v.length >> 1];
const out = (param, ns) => console.log(JSON.stringify({ peer: kind, work: "w9", param, ns, rate: 1e9 / ns }));

// Returns the nanoseconds of one step, as the median over runs of 10 ms. If `each` is more than 1, `step` is awaited
// and makes that many steps.
async function measure(step, each = 1) {
  const pieces = [];
  for (const began = performance.now(); performance.now() - began < within;) {
    const piece = performance.now();
    let steps = 0;
    while (performance.now() - piece < 10) {
      if (each > 1) { await step(); steps += each; } else { for (let i = 0; i < 16; i++) step(); steps += 16; }
    }
    pieces.push(((performance.now() - piece) * 1e6) / steps);
  }
  return middle(pieces);
}

const order = {
  id: 4711, customer: "A customer of some standing", paid: true, total: 1234.5,
  lines: Array.from({ length: 18 }, (_, n) => ({ sku: `sku-${String(n).padStart(8, "0")}`, quantity: n + 1, price: n + 0.25 })),
};
const string = "The quick brown fox jumps over the lazy dog. ".repeat(1500).slice(0, 64 << 10);
const data = (value) => {
  const text = serialize(value);
  return () => serialize(deserialize(text));
};

// A transport without a connection, which counts the replies of its session.
class Api extends RpcTarget { add(a, b) { return a + b; } }
const AT_ONCE = 64;
class Transport {
  waiting = []; wake = null; answers = 0; done = null;
  send(text) { if (text.startsWith('["resolve"') && ++this.answers === AT_ONCE) this.done(); }
  receive() {
    if (this.waiting.length) return Promise.resolve(this.waiting.shift());
    return new Promise((ok) => { this.wake = ok; });
  }
  say(text) {
    if (this.wake) { const wake = this.wake; this.wake = null; wake(text); } else this.waiting.push(text);
  }
}
const transport = new Transport();
const session = new RpcSession(transport, new Api());
let number = 0;
async function calls() {
  const first = number + 1;
  transport.answers = 0;
  const answered = new Promise((ok) => { transport.done = ok; });
  for (let i = 0; i < AT_ONCE; i++) {
    transport.say('["push",["pipeline",0,["add"],[1,2]]]');
    transport.say(`["pull",${++number}]`);
  }
  await answered;
  for (let n = first; n <= number; n++) transport.say(`["release",${n},1]`);
}

// The arguments are an array, which the wire encodes inside of another array.
out("arguments", await measure(() => { const [a, b] = deserialize("[[1,2]]"); return serialize(a + b); }));
out("call", await measure(calls, AT_ONCE));
out("object-1k", await measure(data(order)));
out("string-64k", await measure(data(string)));
process.exit(session ? 0 : 1);
