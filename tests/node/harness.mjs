// What the scripts that test the package of js/ share.
import { createInterface } from "node:readline";
import { WebSocket } from "ws";

globalThis.WebSocket ??= WebSocket;

/** The lines of the standard input. `next` returns the next one, or `undefined` at the end. */
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
export const nextLine = async () => (await lines.next()).value;

/** Ends the process with its report, one line of JSON. */
export function report(result) {
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}

/** Runs `work` in `count` tasks until `stop` is called, and waits for all of them. */
export function workers(count, work) {
  let running = true;
  const tasks = Array.from({ length: count }, async (_, worker) => {
    while (running) await work(worker);
  });
  return { stop: () => (running = false, Promise.all(tasks)) };
}

export const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

process.on("unhandledRejection", (error) => {
  console.error("unhandled rejection", error);
  process.exit(1);
});
