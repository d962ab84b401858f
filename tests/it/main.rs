//! Tests of Bowline as its users see it, in one binary.

mod browser; // the example's page in a browser, as a peer among others
mod chromium; // a browser, driven from here
mod macros; // what the macros generate, over a real session
mod node; // TypeScript's compiler and the packages of npm, for tests that need them
mod tidy; // what no compiler checks: imports, manifests, heads, documents
mod typescript; // what TypeScript is told of an interface, and what its compiler says to that
mod ui; // what the macros say when they are misused
