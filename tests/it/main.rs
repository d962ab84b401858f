//! Tests of Bowline as its users see it, in one binary.

mod macros; // what the macros generate, over a real session
#[allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
mod node; // the official JavaScript package on the other side
mod tidy; // what no compiler checks: imports, manifests, heads, documents
mod ui; // what the macros say when they are misused
