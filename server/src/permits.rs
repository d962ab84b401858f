//! Counting connections, in all and by address. A permit is given back when it is dropped.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::http_limits::HttpLimits;

/// The connections that are open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections {
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One connection; clones are the same one. Travels with a request as an extension, so that a
/// WebSocket counts for as long as its session lasts.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionPermit {
    _held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    connections: Connections,
    address: IpAddr,
}

impl Connections {
    /// Counts a connection, unless there are too many.
    pub(crate) fn admit(&self, from: SocketAddr, limits: &HttpLimits) -> Result<ConnectionPermit, &'static str> {
        // An IPv4 peer of a dual-stack socket is the same peer.
        let address = from.ip().to_canonical();
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
        Ok(ConnectionPermit { _held: Arc::new(Held { connections: self.clone(), address }) })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.all -= 1;
        if let Some(of_address) = open.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}
