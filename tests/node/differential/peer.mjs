// The official package's side of the differential test (tests/it/differential/mod.rs).
//
// Reads lines and answers each with one line (`make`: with one line for each value):
//   read <wire text>      how the package reads it: {"is", "wire"}, or {"error"}
//   make <seed> <count>   values of its own: {"wire", "arrives", "returns", "met"}, see `expected`
// A description (`is`, …) names every type and every bit; the Rust side writes the same.
import { readFileSync } from "node:fs";
import { deserialize, serialize } from "capnweb";
import { describe } from "./describe.mjs";
import { values } from "./values.mjs";

function read(text) {
  try {
    const value = deserialize(text);
    return { is: describe(value, order), wire: serialize(value) };
  } catch (error) {
    return { error: String(error.message) };
  }
}

const [arriving, returning] = JSON.parse(process.argv[2]);
const order = new Set(returning.filter((id) => id === "error-property-order"));
const both = new Set([...arriving, ...returning]);
const met = new Set();

/** What a value must be once it has arrived, and once it is back; and the differences without which
 *  it would be another when it has arrived, but for those that an earlier value has shown. */
function expected(value) {
  const arrives = describe(value, new Set(arriving));
  const matters = arriving.filter((id) => {
    if (met.has(id)) return false;
    return describe(value, new Set(arriving.filter((other) => other !== id))) !== arrives;
  });
  matters.forEach((id) => met.add(id));
  return { arrives, returns: describe(value, both), met: matters };
}

const out = [];
for (const line of readFileSync(0, "utf8").split("\n").slice(0, -1)) {
  const space = line.indexOf(" ");
  const rest = line.slice(space + 1);
  if (line.slice(0, space) === "make") {
    const [seed, count] = rest.split(" ").map(Number);
    for (const value of values(seed, count)) {
      out.push(JSON.stringify({ wire: serialize(value), ...expected(value) }));
    }
  } else {
    out.push(JSON.stringify(read(rest)));
  }
}
process.stdout.write(out.map((line) => `${line}\n`).join(""));
