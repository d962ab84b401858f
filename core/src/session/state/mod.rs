//! The state of a session: its tables, the entries in them, and its queues.

pub(crate) mod account;
pub(crate) mod budget;
pub(crate) mod call_log;
mod close_reason;
mod entries;
pub(crate) mod gathers;
pub(crate) mod index;
mod io;
pub(crate) mod maps;
pub(crate) mod outbox;
mod path;
pub(crate) mod promises;
pub(crate) mod recovery;
mod session;
pub(crate) mod table;

pub use close_reason::{CloseCause, CloseReason, ClosedBy};
pub(crate) use entries::{Answer, Counters, Export, Import, ImportState, Rerun, Target, Withheld};
pub use io::{Delivery, Kind, Outcome, Outgoing, Output, Recipe, Ref, SessionStats};
pub use path::{Name, Path, Step};
pub use session::Session;
pub(crate) use table::Table;
