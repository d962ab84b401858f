//! The state of a session: its tables, the entries in them, and its queues.

pub(crate) mod account;
pub(crate) mod budget;
pub(crate) mod call_log;
mod entries;
pub(crate) mod gathers;
pub(crate) mod index;
mod io;
pub(crate) mod maps;
pub(crate) mod outbox;
mod path;
pub(crate) mod promises;
mod session;
pub(crate) mod table;

pub(crate) use entries::{Answer, Counters, Export, Import, ImportState, Rerun, Target, Withheld};
pub use io::{Closed, ClosedBy, Delivery, Kind, Outcome, Outgoing, Output, Recipe, Ref, Stats};
pub use path::{Name, Path, Step};
pub use session::Session;
pub(crate) use table::Table;
