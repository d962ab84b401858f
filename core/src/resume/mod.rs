//! Resume tokens: their format, the keys that sign and seal them, the proof of possession, and the
//! tokens of a session that are valid. docs/token.md describes the layout and the threat model.
//! Times and random bytes are passed in.

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
