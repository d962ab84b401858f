//! What lets a client have its session back: the token, the keys that make it, the proof that
//! it is in the right hands, and which token of a session counts.
//!
//! docs/token.md states the layout and the threat model. Times and random bytes are passed in.

mod claims;
mod error;
mod keys;
mod owner;
mod proof;
mod seal;
mod token;

pub use claims::{Claims, Sturdy, TokenPolicy, app_hash, principal_hash, snapshot_sum};
pub use error::TokenError;
pub use keys::{Key, KeyError, KeyRing};
pub use owner::{Jti, Owner, TOKENS_MAX};
pub use proof::{prove, resume_key};
pub use seal::NONCE_BYTES;
pub use token::{Kept, Minted};
