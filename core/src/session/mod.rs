//! The session machine: plain data, text in and text out.
mod io;
pub use io::*;
