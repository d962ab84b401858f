// A client of the shop of tests/processes whose servers are killed: node shop.mjs URL. Books and rings without pause
// until the line `stop`, then reports what each call was told, and which rings the page heard how often.
import { connect } from "../../examples/browser/bowline-client.js";
import { nextLine, report, sleep, workers } from "./harness.mjs";

const session = connect(process.argv[2]);
const count = { recovered: 0, resumed: 0 };
for (const type of ["recovered", "resumed"]) session.addEventListener(type, () => { count[type] += 1; });

// Without a session, calls fail at once, and the tasks below would never let the process read its input.
session.addEventListener("lost", ({ detail: { error } }) => {
  console.error(`the session was lost: ${error.code} ${error.message}`);
  process.exit(1);
});

/** Repeats a call of unknown outcome that may run twice. */
const again = (call) => call().catch(() => again(call));
const told = {};
const heard = {};
let next = 0;
const accounts = await Promise.all([0, 1, 2, 3].map((n) => again(() => session.stub.account(`node-${n}`))));
const ring = () => session.stub.bell((id) => { heard[id] = (heard[id] ?? 0) + 1; });
let bell = await again(ring);
const outcome = (call) => call.then((answer) => ({ answer }), (error) => ({ code: error.code ?? `${error}` }));
const booking = workers(4, async (worker) => {
  const id = ++next;
  const { answer, code } = await outcome(accounts[worker].book(id));
  // The server may be killed before it has stored the account.
  if (code === "CAPABILITY_LOST") {
    const { answer: account } = await outcome(session.stub.account(`node-${worker}`));
    accounts[worker] = account ?? accounts[worker];
    return sleep(1);
  }
  told[`node-${worker} ${id}`] = answer === id ? "ANSWERED" : code ?? `wrong answer ${answer}`;
});
const rung = {};
const ringing = workers(1, async () => {
  const id = ++next;
  const { code = "ANSWERED" } = await outcome(bell.ring(id));
  if (code !== "CAPABILITY_LOST") return void (rung[id] = code);
  bell = (await outcome(ring())).answer ?? bell;
  return sleep(1);
});

console.log(session.id);
for (let line; (line = await nextLine()) !== "stop";) {
  if (line === "progress") {
    const answered = Object.values(told).filter((code) => code === "ANSWERED").length;
    console.log(JSON.stringify({ answered, recovered: count.recovered, state: session.state }));
  }
}
await booking.stop();
await ringing.stop();
report({ told, rung, heard, ...count });
