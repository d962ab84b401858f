//! Tests of the package `bowline` as applications use it, in one binary.

mod browser; // the page of examples/browser, as a client among others
mod chromium; // a headless browser
mod differential; // random values and programs, compared with the official package
mod durable; // durable objects
mod errors; // texts and causes of the public errors
mod firefox; // another headless browser
mod js; // the npm package of js/, and what is built from it
mod macros; // generated code, over a real session
#[allow(clippy::unwrap_used, reason = "a failed unwrap reports where a test failed")]
mod node; // the official JavaScript package on the other side
mod streams_maps; // streams and maps through generated references
mod tidy; // what no compiler checks: imports, manifests, file headers, documents
mod tsc; // TypeScript's compiler
mod typescript; // declarations of an interface, checked by TypeScript's compiler
mod ui; // compiler messages for misused macros
