// A client of the shop of tests/processes whose servers are killed: node shop.mjs URL. Books and rings without pause
// until the line `stop`, then reports what each call was told, and which rings the page heard how often.
import { connect } from "../../examples/browser/bowline-client.js";
import { nextLine, report, workers } from "./harness.mjs";

const session = connect(process.argv[2]);
const count = { recovered: 0, resumed: 0 };
for (const type of ["recovered", "resumed"]) session.addEventListener(type, () => { count[type] += 1; });

const told = {};
const heard = {};
let next = 0;
const accounts = await Promise.all([0, 1, 2, 3].map((n) => session.stub.account(`node-${n}`)));
const bell = await session.stub.bell((id) => { heard[id] = (heard[id] ?? 0) + 1; });
const outcome = (call) => call.then((answer) => ({ answer }), (error) => ({ code: error.code ?? `${error}` }));
const booking = workers(4, async (worker) => {
  const id = ++next;
  const { answer, code } = await outcome(accounts[worker].book(id));
  told[`node-${worker} ${id}`] = answer === id ? "ANSWERED" : code ?? `wrong answer ${answer}`;
});
const rung = {};
const ringing = workers(1, async () => {
  const id = ++next;
  rung[id] = (await outcome(bell.ring(id))).code ?? "ANSWERED";
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
