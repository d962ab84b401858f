//! How much is allocated while a hostile peer sends a row again and again.

use std::fmt;

use allocation_counter::measure;
use bowline::Limits;

use crate::rows::{Held, Server};

const MIB: f64 = (1 << 20) as f64;

/// What came of a row.
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) sent: usize,
    /// The most bytes that the session counted.
    pub(crate) counted: usize,
    /// The most bytes that were allocated at a time.
    pub(crate) allocated: usize,
    /// The documented bound on `counted`.
    pub(crate) bound: usize,
    pub(crate) is_aborted: bool,
}

/// Sends a row until `most` bytes are sent or the session has ended.
pub(crate) fn hold(row: &Held, limits: &Limits, most: usize) -> Measured {
    let message = (row.message)(limits.message_bytes / 2);
    let (mut sent, mut counted, mut is_aborted) = (0, 0, false);
    let allocated = measure(|| {
        let mut server = Server::new(limits.clone());
        row.once.iter().for_each(|text| server.send(text));
        while server.sent < most && !server.session.is_closed() {
            server.send(&message);
            counted = counted.max(server.session.held_bytes());
        }
        (sent, is_aborted) = (server.sent, server.session.is_closed());
    });
    let allocated = usize::try_from(allocated.bytes_max).unwrap_or_default();
    Measured { name: row.name, sent, counted, allocated, bound: limits.held_bytes, is_aborted }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:34} {:>8.1} {:>8.1} {:>9.1} {:>9.2} {:>7.2}  {}",
            self.name,
            self.sent as f64 / MIB,
            self.counted as f64 / MIB,
            self.allocated as f64 / MIB,
            self.allocated as f64 / self.bound as f64,
            self.allocated as f64 / self.sent as f64,
            if self.is_aborted { "aborted" } else { "rejected" },
        )
    }
}
