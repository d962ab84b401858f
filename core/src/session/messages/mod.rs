//! Messages of both directions: handling those of the peer, evaluating their expressions, and writing
//! those of this side.

mod eval;
mod map;
mod message;
pub(crate) mod write;
