// Servers that send random texts to the package of js/: node hostile.mjs SEED RUNS. Each session has to end when its
// server refuses to resume it, nothing may be thrown outside of it, and timers have to go on. Prints a line of JSON.
import { once } from "node:events";
import { WebSocketServer } from "ws";
import { connect } from "../../examples/browser/bowline-client.js";
import { report, sleep } from "./harness.mjs";

const [seed, runs] = process.argv.slice(2).map(Number);

/** A generator of random numbers: mulberry32. */
function generator(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What a server may send, from `random`. */
function texts(random) {
  const below = (n) => Math.floor(random() * n);
  const one = (...of) => of[below(of.length)];
  const number = () => one(0, 1, -1, 2, -2, 3, below(50), -below(50), 2 ** 53, -(2 ** 53), 1.5, 1e300);
  const scalar = () => one(number(), "x", "", null, true, "__proto__", [], {});
  const word = () => one("export", "import", "promise", "pipeline", "remap", "readable", "writable", "error", "bytes", "date",
    "bigint", "undefined", "request", "response", "blob", "headers", "url", "x");
  const expression = (depth) => depth === 0 ? scalar() : one(
    scalar(), [[expression(depth - 1)]], [word(), number(), expression(depth - 1)],
    [word(), number(), [one("f", 0, "__proto__")], [expression(depth - 1)]], [word(), expression(depth - 1)],
    ["error", "Error", "m", null, { code: expression(depth - 1) }], { a: expression(depth - 1), constructor: scalar() },
  );
  const nested = () => `${'[['.repeat(20_000)}1${']]'.repeat(20_000)}`;
  const message = () => one(
    [one("push", "stream"), expression(3)], ["pipe"], ["pull", number()], ["release", number(), number()],
    ["release", number(), number(), number()], [one("resolve", "reject"), number(), expression(3)], ["abort", expression(1)],
    expression(2),
  );
  const type = () => `session.${one("ack", "pong", "ping", "token", "refresh", "drain", "reconcile", "skip", "evicted",
    "close", "closed", "welcome", "resumed", "hello", "objects", "unknown")}`;
  const frame = () => ({
    type: type(), last_processed_seq: number(), nonce: scalar(), ping_nonce: "1", resume_token: scalar(), resume_key: scalar(),
    covers: one(undefined, { checkpoint: number(), next_positive: number() }, scalar()), next_positive: number(),
    hold: one([], [number()], scalar()), pull: [], code: scalar(), reason: scalar(), resume_url: scalar(),
    retry_after_ms: one(undefined, 1, "x"), must: one(undefined, undefined, true),
  });
  const left = () => ({
    next_positive: number(), restored: one([], [number(), number()], scalar()), lost: one([], [[number(), "X"]], scalar()),
    unknown: one([], [number()]), imports: one([], [[number(), number()]], scalar()),
  });
  const resumed = () => ({
    type: "session.resumed", session_id: "s_1", mode: one("warm", "cold", "reattach", "x"), epoch: number(),
    resume_token: one("t", scalar()), resume_key: one("k", scalar()), last_event_seq: number(), replayed_from: number(),
    left: one(undefined, left(), scalar()), features: one(undefined, ["durable", "lines", "calls"], scalar()),
    ids: one(undefined, { next_positive: 1, next_negative: -1, peer_next_positive: 1, peer_next_negative: -1 }),
  });
  const line = () => one(message, message, frame)();
  const text = () => one(
    () => JSON.stringify(line()), () => JSON.stringify(line()), () => `+${JSON.stringify(message())}`,
    () => `${JSON.stringify(line())}\n${JSON.stringify(line())}`, () => JSON.stringify(line()).slice(0, below(40)),
    () => one("", " ", "\n", "{", "[", "+", "null", nested()),
  )();
  return { text, resumed, below };
}

const server = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: (offered) => [...offered].at(-1) });
await once(server, "listening");
const counts = { sent: 0, resumed: 0, lost: 0, closed: 0, longest: 0 };

async function run(seed) {
  const random = generator(seed);
  const { text, resumed, below } = texts(random);
  let dials = 0;
  const serve = (ws) => {
    const send = (text) => (counts.sent += 1, ws.send(text));
    send(JSON.stringify({ type: "session.challenge", challenge: "c" }));
    ws.on("error", () => {});
    ws.once("message", () => {
      dials += 1;
      const features = ["ack", "heartbeat", "durable", "refresh", "drain", "lines", "calls"].filter(() => below(4) > 0);
      if (dials === 1) {
        send(JSON.stringify({ type: "session.welcome", session_id: "s_1", protocol: 1, features, epoch: 1, resume_token: "t",
          resume_key: "k", resume_window_sec: 300, heartbeat_interval_sec: 20 }));
      } else if (dials < 4) {
        counts.resumed += 1;
        send(JSON.stringify(resumed()));
      } else {
        send(JSON.stringify({ type: "session.rejected", code: "RESUME_WINDOW_EXPIRED", message: "over" }));
      }
      for (let n = below(dials === 1 ? 3 : 12); n > 0; n--) send(text());
      setTimeout(() => ws.terminate(), 5);
    });
  };
  server.on("connection", serve);
  const session = connect(`ws://127.0.0.1:${server.address().port}`, { backoff: () => 0 });
  const ignore = () => {};
  const calls = [session.stub.a(1), session.stub.b((x) => x), session.stub.c().d(session.stub.e()), session.stub.f(new Blob(["x"]))];
  for (const call of calls) call.then(ignore, ignore);
  const began = performance.now();
  const ended = await Promise.race([session.closed, sleep(8_000)]);
  if (!ended) throw new Error(`the session of seed ${seed} did not end: ${session.state}`);
  counts[session.state] += 1;
  counts.longest = Math.max(counts.longest, Math.round(performance.now() - began));
  server.off("connection", serve);
}

for (let n = 0; n < runs; n++) await run(seed + n);
report(counts);
