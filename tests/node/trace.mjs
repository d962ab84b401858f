// The history of tests/it/node/trace.rs by the package of js/: node trace.mjs URL. Each line of the standard input is a
// step, which is answered by a line: empty, or the outcomes of the calls for the step `answers`.
import { connect } from "../../examples/browser/bowline-client.js";
import { nextLine } from "./harness.mjs";

const { stub } = connect(process.argv[2], { credentials: () => ({ scheme: "bearer", token: "secret" }), backoff: () => 1 });
let counter;
let calls = [];
const call = (promise, show = String) => void calls.push(promise.then(show, (error) => error.code ?? `${error}`));
const steps = {
  counter: () => { counter = stub.counter(); call(counter, () => "held"); },
  next: () => call(counter.next()),
  pipeline: () => { const other = stub.counter(); call(other.next()); other[Symbol.dispose](); },
  ask: () => call(stub.ask((n) => n * 2)),
};

for (let step; (step = await nextLine());) {
  if (step === "answers") console.log((await Promise.all(calls.splice(0))).join(" "));
  else console.log(steps[step]() ?? "");
}
process.exit(0);
