//! Tests of Bowline as its users see it, in one binary.

mod browser; // the example's page in a browser, as a peer among others
mod chromium; // a browser, driven from here
mod differential; // random values through the official package and back
mod durable; // objects that are made again
mod macros; // what the macros generate, over a real session
#[allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
mod node; // the official JavaScript package on the other side
mod streams_maps; // streams and maps through generated references
mod tidy; // what no compiler checks: imports, manifests, heads, documents
mod tsc; // TypeScript's compiler
mod typescript; // what TypeScript is told of an interface, and what its compiler says to that
mod ui; // what the macros say when they are misused
