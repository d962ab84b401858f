//! Tests of Bowline as its users see it, in one binary.

mod macros; // what the macros generate, over a real session
mod tidy; // what no compiler checks: imports, manifests, heads, documents
mod ui; // what the macros say when they are misused
