//! Counting connections, in all and by address. A permit is given back when it is dropped.
//!
//! A ticket of `drain` ends with the answer; whether the answer was written, the connection knows.
//! So a drain waits for connections too, but not for those on which nothing was ever asked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::address::AddressGroup;
use crate::http_limits::HttpLimits;

/// The connections that are open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections {
    open: Arc<Mutex<Open>>,
    closed_one: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    used: usize,
    by_address: HashMap<AddressGroup, usize>,
}

/// One connection; clones are the same one. Travels with a request as an extension, so that a
/// WebSocket counts for as long as its session lasts.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionPermit {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    connections: Connections,
    address: AddressGroup,
    used: AtomicBool,
}

impl Connections {
    /// Counts a connection, unless there are too many.
    pub(crate) fn admit(&self, from: SocketAddr, limits: &HttpLimits) -> Result<ConnectionPermit, &'static str> {
        let address = AddressGroup::from(from);
        let mut open = self.lock();
        if open.all >= limits.connections {
            return Err("too many connections");
        }
        let of_address = open.by_address.entry(address).or_default();
        if *of_address >= limits.connections_per_address {
            return Err("too many connections from this address");
        }
        *of_address += 1;
        open.all += 1;
        let held = Held { connections: self.clone(), address, used: AtomicBool::new(false) };
        Ok(ConnectionPermit { held: Arc::new(held) })
    }

    /// Waits until every connection on which something was asked is closed. Cancel-safe.
    pub(crate) async fn emptied(&self) {
        loop {
            let closed_one = self.closed_one.notified();
            if self.lock().used == 0 {
                return;
            }
            closed_one.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionPermit {
    /// Something was asked on the connection.
    pub(crate) fn mark_used(&self) {
        if !self.held.used.swap(true, Ordering::SeqCst) {
            self.held.connections.lock().used += 1;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.all -= 1;
        open.used -= usize::from(*self.used.get_mut());
        if let Some(of_address) = open.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                open.by_address.remove(&self.address);
            }
        }
        drop(open);
        self.connections.closed_one.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_one_ipv6_network_share_a_bound() {
        let connections = Connections::default();
        let limits = HttpLimits { connections_per_address: 2, ..HttpLimits::default() };
        let admit = |address: &str| connections.admit(address.parse().expect("an address"), &limits);
        let held = [admit("[2001:db8::1]:1000"), admit("[2001:db8::2]:1000")];
        assert!(held.iter().all(Result::is_ok));
        assert!(admit("[2001:db8::3]:1000").is_err());
        assert!(admit("[2001:db8:0:1::3]:1000").is_ok());
        drop(held);
        assert!(admit("[2001:db8::3]:1000").is_ok());
    }
}
