//! Tests of Bowline as its users see it, in one binary.

mod differential; // random values through the official package and back
mod macros; // what the macros generate, over a real session
mod ui; // what the macros say when they are misused
