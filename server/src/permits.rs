//! Counts connections, in all and by address. Dropping a permit releases it.
//!
//! A ticket of `drain` is released with the answer to a request, and only the connection knows when
//! the answer was written. So a drain waits for connections, too, except for those that never had a
//! request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::address::AddressGroup;
use crate::http_limits::HttpLimits;
use crate::places::{GiveWay, Place, Places};

const TOO_MANY_OF_ADDRESS: &str = "too many connections from this address";

/// The open connections.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    open: Arc<Mutex<Open>>,
    closed_one: Arc<Notify>,
    /// A connection without a request can be displaced by one of an address that has fewer.
    places: Places,
}

#[derive(Debug, Default)]
struct Open {
    used: usize,
    by_address: HashMap<AddressGroup, usize>,
}

/// A connection. Clones are the same one. It travels with the request as an extension, so that a
/// WebSocket is counted as long as its session lasts.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionPermit {
    held: Arc<CountedConnection>,
}

#[derive(Debug)]
struct CountedConnection {
    connections: Connections,
    place: Place,
    /// `None` if the connection is a proxy's.
    share: Option<Share>,
    used: AtomicBool,
}

/// One connection in the count of an address.
#[derive(Debug)]
struct Share {
    open: Arc<Mutex<Open>>,
    address: AddressGroup,
}

/// Counts a request on a proxy's connection for the client's address.
#[derive(Debug)]
pub(crate) struct ClientPermit {
    _share: Option<Share>,
}

/// The permits of a request; empty if the service is mounted in another server.
#[derive(Debug, Default)]
pub(crate) struct Permits {
    pub(crate) connection: Option<ConnectionPermit>,
    pub(crate) _client: Option<ClientPermit>,
}

/// The server is working for the client. Until this is dropped, the connection cannot be displaced.
#[derive(Debug)]
pub(crate) struct Busy<'a>(&'a Place);

impl Default for Connections {
    fn default() -> Self {
        let places = Places::new(GiveWay::Silent);
        Self { open: Arc::default(), closed_one: Arc::default(), places }
    }
}

impl Connections {
    /// Counts a connection, unless there are too many. `from` is `None` if it is a proxy's, whose
    /// clients have many addresses.
    pub(crate) fn admit(
        &self,
        from: Option<AddressGroup>,
        limits: &HttpLimits,
    ) -> Result<ConnectionPermit, &'static str> {
        let share = from.map(|from| self.share(from, limits)).transpose()?;
        let place = self.places.take(from, limits.connections).map_err(|_full| "too many connections")?;
        let held = CountedConnection { connections: self.clone(), place, share, used: AtomicBool::new(false) };
        Ok(ConnectionPermit { held: Arc::new(held) })
    }

    /// Waits until every connection that had a request is closed. Cancel-safe.
    pub(crate) async fn emptied(&self) {
        loop {
            let closed_one = self.closed_one.notified();
            if self.lock().used == 0 {
                return;
            }
            closed_one.await;
        }
    }

    fn share(&self, address: AddressGroup, limits: &HttpLimits) -> Result<Share, &'static str> {
        let mut open = self.lock();
        let of_address = open.by_address.entry(address).or_default();
        if *of_address >= limits.connections_per_address {
            return Err(TOO_MANY_OF_ADDRESS);
        }
        *of_address += 1;
        Ok(Share { open: Arc::clone(&self.open), address })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionPermit {
    /// Records that the connection had a request.
    pub(crate) fn mark_used(&self) {
        if !self.held.used.swap(true, Ordering::SeqCst) {
            self.held.connections.lock().used += 1;
        }
    }

    /// Counts a request for the address of its client if the connection is a proxy's.
    pub(crate) fn serve(
        &self,
        client: Option<AddressGroup>,
        limits: &HttpLimits,
    ) -> Result<ClientPermit, &'static str> {
        let client = client.filter(|_| self.held.share.is_none());
        if client.is_some() {
            self.held.place.set_from(client);
        }
        let share = client.map(|client| self.held.connections.share(client, limits)).transpose()?;
        Ok(ClientPermit { _share: share })
    }

    /// Keeps the connection from being displaced until the guard is dropped.
    pub(crate) fn busy(&self) -> Busy<'_> {
        self.held.place.set_busy();
        Busy(&self.held.place)
    }

    /// Keeps the connection from being displaced until it is closed.
    pub(crate) fn settle(&self) {
        self.held.place.settle();
    }

    /// Waits until the connection is displaced. Cancel-safe.
    pub(crate) async fn displaced(&self) {
        self.held.place.displaced().await;
    }
}

impl Permits {
    /// See [`ConnectionPermit::busy`].
    pub(crate) fn busy(&self) -> Option<Busy<'_>> {
        self.connection.as_ref().map(ConnectionPermit::busy)
    }

    /// See [`ConnectionPermit::settle`].
    pub(crate) fn settle(&self) {
        if let Some(connection) = &self.connection {
            connection.settle();
        }
    }

    /// See [`ConnectionPermit::displaced`].
    pub(crate) async fn displaced(&self) {
        match &self.connection {
            Some(connection) => connection.displaced().await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.set_silent();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_address) = open.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.used -= usize::from(*self.used.get_mut());
        drop(open);
        self.connections.closed_one.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn group(address: &str) -> Option<AddressGroup> {
        Some(address.parse::<SocketAddr>().expect("an address").into())
    }

    #[test]
    fn connections_of_one_ipv6_network_share_a_limit() {
        let connections = Connections::default();
        let limits = HttpLimits { connections_per_address: 2, ..HttpLimits::default() };
        let admit = |address: &str| connections.admit(group(address), &limits);
        let held = [admit("[2001:db8::1]:1000"), admit("[2001:db8::2]:1000")];
        assert!(held.iter().all(Result::is_ok));
        assert!(admit("[2001:db8::3]:1000").is_err());
        assert!(admit("[2001:db8:0:1::3]:1000").is_ok());
        drop(held);
        assert!(admit("[2001:db8::3]:1000").is_ok());
    }

    #[test]
    fn clients_behind_a_proxy_are_counted_by_their_own_addresses() {
        let connections = Connections::default();
        let limits = HttpLimits { connections_per_address: 1, ..HttpLimits::default() };
        let of_proxy: Vec<_> = (0..3).map(|_| connections.admit(None, &limits).expect("a proxy's")).collect();
        let first = of_proxy[0].serve(group("192.0.2.1:1000"), &limits).expect("the first of its address");
        assert!(of_proxy[1].serve(group("192.0.2.1:2000"), &limits).is_err());
        assert!(of_proxy[2].serve(group("192.0.2.2:1000"), &limits).is_ok());
        drop(first);
        assert!(of_proxy[1].serve(group("192.0.2.1:2000"), &limits).is_ok());
        // A client that is connected directly cannot change its address by a header.
        let direct = connections.admit(group("192.0.2.3:1000"), &limits).expect("the first of its address");
        let served = [direct.serve(group("192.0.2.4:1000"), &limits), direct.serve(group("192.0.2.4:1000"), &limits)];
        assert!(served.iter().all(Result::is_ok), "neither counts for that address");
    }
}
